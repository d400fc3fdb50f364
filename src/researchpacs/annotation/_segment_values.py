"""Arrays that users give as masks, fractions or labels, parsed to the smallest type; anything else is refused."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from researchpacs.errors import InvalidInputError

__all__ = ["LONGEST_LABEL", "STEPS", "as_fractions", "as_labels", "as_mask", "as_numbers"]

LONGEST_LABEL = 64
"""Characters of a Segment Label (VR LO)."""
STEPS = 255
"""Maximum Fractional Value that is written."""
_LARGEST_NUMBER = 65_535


def as_mask(values: NDArray[Any], name: str) -> NDArray[np.bool_]:
    """Take booleans, or 0 and 1."""
    if values.dtype == np.bool_:
        return values
    _require_numbers(values, name)
    found = values != 0
    if (values[found] != 1).any():
        raise InvalidInputError(
            f"the mask of {name!r} has values beside 0 and 1; compare it with a threshold, use kind='FRACTIONAL' for "
            "fractions, or from_labels() for several segments"
        )
    return np.asarray(found)


def as_fractions(values: NDArray[Any], name: str) -> tuple[NDArray[np.uint8], bool]:
    """Take 0 to 1 as steps of `STEPS`, and tell whether any was rounded by more than its own precision."""
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(STEPS), False
    _require_numbers(values, name)
    if values.size and not (float(values.min()) >= 0 and float(values.max()) <= 1):
        raise InvalidInputError(f"the fractions of {name!r} are beyond 0 to 1; scale them")
    stored = np.empty(values.shape, np.uint8)
    is_rounded = False
    for plane, out in zip(values, stored, strict=True):  # one at a time: what is between takes memory
        scaled = plane * float(STEPS)
        np.rint(scaled, out=scaled)
        out[...] = scaled
        is_rounded |= bool(np.abs(scaled / STEPS - plane).max(initial=0) > 1e-6)
    return stored, is_rounded


def as_labels(values: NDArray[Any], numbers: Sequence[int]) -> NDArray[Any]:
    """Take whole numbers, all of which are named."""
    _require_numbers(values, "the labels")
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        raise InvalidInputError("labels are whole numbers; these are fractions: were they interpolated?")
    if values.size and not (float(values.min()) >= 0 and float(values.max()) <= _LARGEST_NUMBER):
        raise InvalidInputError(f"labels are 0 to {_LARGEST_NUMBER}")
    stored = values.astype(np.uint8 if max(numbers) < 256 and values.max(initial=0) < 256 else np.uint16)
    counts = np.bincount(stored.ravel(), minlength=1)
    counts[0] = 0
    unnamed = sorted(set(np.flatnonzero(counts).tolist()) - set(numbers))
    if unnamed:
        shown = ", ".join(map(str, unnamed[:10]))
        raise InvalidInputError(f"the array has labels without a name: {shown}; name them, or set them to 0")
    return stored


def as_numbers(names: Mapping[int, Any]) -> list[int]:
    """Parse the numbers that are named, in order."""
    if not isinstance(names, Mapping) or not names:
        raise InvalidInputError("names= is a dict from number to label, such as {1: 'nodule'}")
    numbers = [number for number in names if isinstance(number, int | np.integer) and not isinstance(number, bool)]
    if len(numbers) < len(names) or not all(1 <= number <= _LARGEST_NUMBER for number in numbers):
        raise InvalidInputError(f"names= has numbers from 1 to {_LARGEST_NUMBER} as keys; 0 is what belongs to none")
    return sorted(int(number) for number in numbers)


def _require_numbers(values: NDArray[Any], name: str) -> None:
    if values.dtype.kind not in "biuf":
        raise InvalidInputError(f"{name} is of type {values.dtype}; expected booleans or numbers")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InvalidInputError(f"{name} has values that are not finite")
