"""What is known of the stacks of a volume, or of frames one by one, beside what their dimension counts: coordinates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from researchpacs.dicom.attributes import HeaderLike, numbers_of
from researchpacs.dicom.stacks import Dimension
from researchpacs.model import Frame

__all__ = ["Label", "frame_labels", "labelled", "stack_labels"]

Floats = NDArray[np.float64]

_SAME = 1e-3
"""Of ms and of unit vectors: last digits that vary from slice to slice."""

_LONGEST_MS = 1e9
"""Between frames of a cine."""


@dataclass(frozen=True, slots=True)
class Label:
    """Numbers along some dimensions of a volume."""

    name: str
    dims: tuple[str, ...]
    values: tuple[float, ...]
    """In the order of `dims`, the last one fastest; NaN where a value is not known."""
    units: str
    """Empty for a number without."""


_READ: Mapping[str, tuple[Callable[[Frame], float | None], str]] = {
    "echo_time": (lambda frame: frame.traits.echo_time_ms, "ms"),
    "gradient_x": (lambda frame: frame.traits.gradient[0] if frame.traits.gradient else None, "1"),
    "gradient_y": (lambda frame: frame.traits.gradient[1] if frame.traits.gradient else None, "1"),
    "gradient_z": (lambda frame: frame.traits.gradient[2] if frame.traits.gradient else None, "1"),
    "trigger_time": (lambda frame: frame.timing.trigger_ms, "ms"),
}
_COUNTED = {"echo": "echo_time", "phase": "trigger_time"}
"""Dimensions whose own values say the same."""


def stack_labels(frames: Sequence[Frame], dimensions: Sequence[Dimension], slices: int) -> tuple[Label, ...]:
    """Find what all slices of each stack share, and stacks differ in.

    Parameters
    ----------
    frames
        Of a volume, in the order of (dimensions..., slices).
    dimensions
        Its leading dimensions; none gives no labels.
    slices
        Frames of one stack.

    Returns
    -------
    labels
        ``gradient_x``, ``gradient_y``, ``gradient_z`` (a unit vector, LPS), ``trigger_time`` and ``echo_time`` in ms;
        each along the one dimension that it varies with, else along all.
    """
    sizes = tuple(len(dimension.values) for dimension in dimensions)
    if not sizes:
        return ()
    skipped = {_COUNTED[one.name] for one in dimensions if one.name in _COUNTED}
    found = []
    for name, (read, units) in _READ.items():
        values = _values(frames, read).reshape(*sizes, slices)
        if name in skipped or np.isnan(values).all() or not _are_same(values, values[..., :1]):
            continue
        label = _along(name, values[..., 0], dimensions, units)
        if label is not None:
            found.append(label)
    return tuple(found)


def frame_labels(frames: Sequence[Frame], header: HeaderLike) -> tuple[Label, ...]:
    """Find when frames were taken that stand one behind the other.

    Parameters
    ----------
    frames
        Of a series, in their order.
    header
        Attributes that its instances have in common.

    Returns
    -------
    labels
        Along ``z``, which becomes ``frame``: ``time`` in s after the first frame, ``trigger_time`` in ms.
    """
    found = []
    acquired = _values(frames, lambda frame: frame.timing.acquired_us)
    if not np.isnan(acquired).any() and np.ptp(acquired) > 0:
        found.append(_plain("time", (acquired - acquired.min()) / 1e6, "s"))
    elif len({frame.sop_uid for frame in frames}) == 1 and len(frames) > 1:
        cine = _cine_s(header, [frame.index for frame in frames])
        found += [] if cine is None else [_plain("time", cine, "s")]
    triggers = _values(frames, _READ["trigger_time"][0])
    if not np.isnan(triggers).any() and np.ptp(triggers) > 0:
        found.append(_plain("trigger_time", triggers, "ms"))
    return tuple(found)


def labelled(vol: xr.DataArray, labels: Sequence[Label]) -> xr.DataArray:
    """Give a volume its labels as coordinates."""
    return vol.assign_coords({
        one.name: (
            one.dims,
            np.array(one.values).reshape([vol.sizes[dim] for dim in one.dims]),
            {"units": one.units},
        )
        for one in labels
    })  # fmt: skip


def _values(frames: Sequence[Frame], read: Callable[[Frame], float | None]) -> Floats:
    return np.array([np.nan if (value := read(frame)) is None else value for frame in frames], np.float64)


def _are_same(values: Floats, others: Floats) -> bool:
    return bool(np.isclose(values, others, rtol=0, atol=_SAME, equal_nan=True).all())


def _along(name: str, values: Floats, dimensions: Sequence[Dimension], units: str) -> Label | None:
    """Lay values, (dimensions...), along the one that they vary with; None for one value of all."""
    varies = [k for k in range(values.ndim) if not _are_same(values, np.take(values, [0], axis=k))]
    if not varies:
        return None
    dims = tuple(dimension.name for dimension in dimensions)
    if len(varies) == 1:
        (axis,) = varies
        values, dims = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)[:, 0], (dims[axis],)
    return Label(name, dims, tuple(values.ravel().tolist()), units)


def _plain(name: str, values: Floats, units: str) -> Label:
    return Label(name, ("z",), tuple(values.tolist()), units)


def _cine_s(header: HeaderLike, indices: Sequence[int]) -> Floats | None:
    """Seconds from the first frame of a cine to others (PS3.3 C.7.6.5): Frame Time, or Frame Time Vector."""
    steps = numbers_of(header, "FrameTimeVector")
    if steps is None or len(steps) <= max(indices):
        step = numbers_of(header, "FrameTime", 1)
        if step is None:
            return None
        steps = step * (max(indices) + 1)
    if max(map(abs, steps)) > _LONGEST_MS:
        return None
    # The first number is before the first frame.
    times = np.cumsum([0.0, *steps[1:]])
    if not all(later > earlier for earlier, later in pairwise(times.tolist())):
        return None
    seconds: Floats = (times[list(indices)] / 1000).round(6)
    return seconds
