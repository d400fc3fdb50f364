"""A volume on its way into DICOM: values of any type, in the order (slice, row, column), and their place."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from researchpacs.errors import InvalidInputError

__all__ = ["Stored", "Voxels", "quantise"]

_STEPS = 65535
_SMALLEST, _GREATEST = -32768, 32767


@dataclass(frozen=True, eq=False)
class Voxels:
    """Values and where they are."""

    values: NDArray[Any]
    """(slices, rows, columns), integers or floats: ``slope * values + intercept`` is meant."""
    affine_lps: NDArray[np.float64]
    """(4, 4): voxel index (z, y, x, 1) to LPS mm."""
    origin: str
    """What they came from, for the Derivation Description: ``"a NIfTI file"``."""
    slope: float = 1.0
    intercept: float = 0.0
    spacing_z_known: bool = True
    """False for a single slice of which only the plane is known."""
    frame_of_reference_uid: str = ""
    """Empty where the source does not tell."""
    modality: str = ""
    in_patient: bool = True
    """False for coordinates of a template, such as MNI: no patient was ever there."""
    units: str = ""
    """Of the values that are meant, such as ``"g/ml"``; empty where the source does not tell."""
    is_rescaled: bool = True
    """False for values as they are stored in other images, before their slope and intercept."""
    of_like: bool = False
    """Whether the grid is that of the series in ``like=``, voxel for voxel."""


@dataclass(frozen=True, eq=False)
class Stored:
    """What Pixel Data can hold: 16 bits, and the line to the values that are meant (PS3.3 C.11.1)."""

    values: NDArray[Any]
    """(slices, rows, columns), int16 or uint16."""
    slope: str
    intercept: str
    error: float
    """Greatest distance from what is meant, measured over all voxels; 0.0 where nothing was lost."""


def quantise(voxels: Voxels) -> Stored:
    """Store values in 16 bits: exactly where that can be, else in even steps as small as possible, zero staying zero.

    Integers keep their values, and the slope of their file. What spans at most 65,535 whole steps is shifted. All else,
    floats above all, is rounded to one of 65,536 (of signed values, up to as many) even steps.

    Raises
    ------
    InvalidInputError
        Values that are no real numbers, or not finite.
    """
    values = voxels.values
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    if not values.size:
        raise InvalidInputError("an array without voxels")
    if values.dtype.kind not in "iuf":
        raise InvalidInputError(f"voxels of type {values.dtype} are no real numbers; convert one component")
    _require_finite(values, voxels.slope, voxels.intercept)
    low, high = values.min(), values.max()
    if values.dtype.kind in "iu" or (float(high) - float(low) <= _STEPS and _are_whole(values)):
        whole = _whole(values, int(low), int(high), voxels)
        if whole is not None:
            return whole
    return _in_steps(
        replace(voxels, values=values), *sorted(float(end) * voxels.slope + voxels.intercept for end in (low, high))
    )


def _require_finite(values: NDArray[Any], slope: float, intercept: float) -> None:
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope):
        raise InvalidInputError("the slope or the intercept of the file's values is zero or not a finite number")
    if values.dtype.kind == "f":
        odd = values.size - int(np.count_nonzero(np.isfinite(values)))
        if odd:
            raise InvalidInputError(
                f"{odd:,} of {values.size:,} voxels are NaN or infinite, which DICOM images cannot hold; "
                "replace them first, as with numpy.nan_to_num"
            )


def _whole(values: NDArray[Any], low: int, high: int, voxels: Voxels) -> Stored | None:
    """Store whole numbers as they are, or shifted; None where 16 bits do not hold them."""
    shift = 0
    if low >= _SMALLEST and high <= _GREATEST:
        kind = "<i2"
    elif low >= 0 and high <= _STEPS:
        kind = "<u2"
    elif high - low <= _STEPS:
        kind, shift = "<u2", low
    else:
        return None
    stored = values.astype(kind, copy=False) if not shift else (values - values.dtype.type(low)).astype(kind)
    slope, intercept = _decimal(voxels.slope), _decimal(voxels.intercept + voxels.slope * shift)
    ends = np.array([low, high], np.float64)
    told = (ends - shift) * float(slope) + float(intercept)
    error = float(np.abs(told - (ends * voxels.slope + voxels.intercept)).max())
    # The last digit of a decimal string of 16 characters is no loss that anybody could see.
    negligible = error <= 1e-9 * max(1e-300, float(np.abs(told).max()))
    return Stored(stored, slope, intercept, 0.0 if negligible else error)


def _in_steps(voxels: Voxels, low: float, high: float) -> Stored:
    # The difference of two finite numbers may be none, and the smallest numbers have no steps between them.
    if not math.isfinite(high - low) or max(abs(low), abs(high)) < 1e-30 or max(abs(low), abs(high)) > 1e30:
        raise InvalidInputError("the values are too great or too small for 16 bits and a slope; scale them first")
    if min(abs(low), abs(high)) > high - low and low * high > 0:
        kind, offset, span = "<u2", float(_decimal(low)), (high - low) / _STEPS
    elif low < 0:
        kind, offset, span = "<i2", 0.0, max(high / _GREATEST, low / _SMALLEST)
    else:
        kind, offset, span = "<u2", 0.0, high / _STEPS
    slope = f"{span * (1 + 1e-8):.9g}" if span else "1"
    limits = np.iinfo(kind)
    stored, error = np.empty(voxels.values.shape, kind), 0.0
    for raw, plane in zip(voxels.values, stored, strict=True):  # by slices, for the sake of memory
        meant = raw.astype(np.float64) * voxels.slope + voxels.intercept
        plane[...] = np.clip(np.rint((meant - offset) / float(slope)), limits.min, limits.max)
        error = max(error, float(np.abs(plane * float(slope) + offset - meant).max()))
    return Stored(stored, slope, _decimal(offset), error)


def _are_whole(values: NDArray[Any]) -> bool:
    return all(np.array_equal(plane, np.rint(plane)) for plane in values)


def _decimal(value: float) -> str:
    """Write a number in the 16 characters of a decimal string (PS3.5 6.2)."""
    from pydicom.valuerep import format_number_as_ds

    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else format_number_as_ds(float(value))
