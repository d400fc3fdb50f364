"""Irregular stacks onto regular grids: gaps filled between neighbours, tilted slices moved upright.

Everything works on numpy and on dask arrays alike, and on leading dimensions too. What is invented is marked.
"""

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from researchpacs.dicom.geometry import is_on_grid
from researchpacs.volume.coordinates import as_volume
from researchpacs.volume.plan import Plan

__all__ = ["repaired"]

Floats = NDArray[np.float64]

_AIR_HU = -1000
_SAME = 1e-6


def repaired(planned: Plan, data: Any) -> xr.DataArray:
    """Put slices that are on a line, though not evenly or not along their normal, onto a grid with right angles.

    Slices off the grid are interpolated linearly between their neighbours. Tilted ones are moved in their own plane,
    interpolated linearly too; the planes grow so that every one of them stays whole, and what was never seen gets
    padding: air for CT, else zero.

    Returns
    -------
    vol
        As of a uniform series; ``vol.attrs["history"]`` says what was done. Where slices were interpolated along z, the
        boolean coordinate ``interpolated`` along z says which.
    """
    affine = np.array(planned.affine_lps)
    history = list(planned.attrs["history"])  # type: ignore[call-overload]
    interpolated = None
    axis = len(planned.dimensions)
    if planned.offsets_mm is not None:
        step = float(np.linalg.norm(affine[:3, 0]))
        data, interpolated = _evened(data, np.array(planned.offsets_mm), step, axis)
        history.append(f"repaired: {int(interpolated.sum())} of {len(interpolated)} slices interpolated along z")
    attrs = dict(planned.attrs)
    if "gantry_tilt" in str(history[0]):
        padding = _AIR_HU if attrs.get("Modality") == "CT" and attrs.get("units") == "HU" else 0
        data, affine, angle = _upright(data, affine, axis, padding)
        history.append(f"repaired: gantry tilt of {angle:.2f} degrees taken out by a shear, padded with {padding}")
    attrs["history"] = tuple(history)
    vol = as_volume(data, affine, planned.frame_of_reference_uid, attrs=attrs, leading=planned.dimensions)
    return vol if interpolated is None else vol.assign_coords(interpolated=("z", interpolated))


def _evened(data: Any, offsets: Floats, step: float, axis: int) -> tuple[Any, NDArray[np.bool_]]:
    """Interpolate slices at `offsets` mm to multiples of `step`; whether each is invented."""
    at = offsets / step
    count = round(float(at[-1])) + 1
    planes, invented = [], []
    for k in range(count):
        nearest = int(np.abs(at - k).argmin())
        # A slice within the tolerance of a grid position is at it, as in every uniform volume.
        exact = is_on_grid(float(abs(at[nearest] - k) * step), step)
        below = min(max(int(np.searchsorted(at, k, side="right")) - 1, 0), len(at) - 2)
        weight = 0.0 if exact else float((k - at[below]) / (at[below + 1] - at[below]))
        first, second = (nearest, nearest) if exact else (below, below + 1)
        planes.append(_mixed(_take(data, first, axis), _take(data, second, axis), weight))
        invented.append(not exact)
    return _stacked(planes, axis), np.array(invented)


def _upright(data: Any, affine: Floats, axis: int, padding: float) -> tuple[Any, Floats, float]:
    """Shear a tilted stack: its slices stay where they are, the grid gets right angles."""
    step, down, right = affine[:3, :3].T
    normal = np.cross(right, down)
    normal *= np.sign(normal @ step) / np.linalg.norm(normal)
    angle = float(np.degrees(np.arccos(min(1.0, abs(step @ normal) / float(np.linalg.norm(step))))))
    sideways = step - (step @ normal) * normal
    # How many rows and columns further each slice begins than the one before.
    shift = np.array([sideways @ down / (down @ down), sideways @ right / (right @ right)])
    count = data.shape[axis]
    shifts = np.arange(count)[:, None] * shift
    low, high = np.floor(shifts.min(axis=0) + _SAME), np.ceil(shifts.max(axis=0) - _SAME)
    grown = (high - low).astype(int)
    planes = [_moved(_take(data, k, axis), shifts[k] - low, grown, axis, padding) for k in range(count)]
    upright = affine.copy()
    upright[:3, 0] = (step @ normal) * normal
    upright[:3, 3] += down * low[0] + right * low[1]
    return _stacked(planes, axis), upright, angle


def _moved(plane: Any, shift: Floats, grown: NDArray[np.int64], axis: int, padding: float) -> Any:
    """Move a plane by rows and columns, (2,), in a frame that has grown by so many."""
    moved = plane
    for k in range(2):
        whole = int(np.floor(shift[k] + _SAME))
        part = float(shift[k] - whole) if abs(shift[k] - round(float(shift[k]))) > _SAME else 0.0
        before = _padded(moved, axis + k, whole, int(grown[k]) - whole, padding)
        if part:
            moved = _mixed(before, _padded(moved, axis + k, whole + 1, int(grown[k]) - whole - 1, padding), part)
        else:
            moved = before
    return moved


def _padded(plane: Any, axis: int, before: int, after: int, padding: float) -> Any:
    xp = da if isinstance(plane, da.Array) else np
    widths = [(0, 0)] * plane.ndim
    widths[axis] = (before, after)
    return xp.pad(plane, widths, constant_values=padding)


def _mixed(first: Any, second: Any, weight: float) -> Any:
    """Interpolate between two arrays in their own type; integers are rounded."""
    if not weight:
        return first
    mixed = first * (1 - weight) + second * weight
    return mixed.round().astype(first.dtype) if first.dtype.kind in "iu" else mixed.astype(first.dtype)


def _take(data: Any, k: int, axis: int) -> Any:
    return data[(slice(None),) * axis + (k,)]


def _stacked(planes: list[Any], axis: int) -> Any:
    return da.stack(planes, axis) if isinstance(planes[0], da.Array) else np.stack(planes, axis)
