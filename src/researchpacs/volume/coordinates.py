"""Arrays with coordinates in mm along z, y, x: how a volume gets its geometry, and how it is read back.

Axes are (z, y, x) = (slice, row, column) of the array, not anatomy. Nothing but coordinates carries geometry: affine,
spacing and directions are derived from them at each call, so they hold after slicing, striding and flipping.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from researchpacs.dicom.stacks import Dimension
from researchpacs.errors import GeometryError
from researchpacs.volume.frame import AXES, FRAME, PatientFrame, frame_of
from researchpacs.volume.index import AxisIndex, even_step

__all__ = ["DIGITS", "affine_lps", "as_volume", "dims_of", "indexed", "named", "restore", "steps"]

DIGITS = 4
"""Coordinates in mm are rounded to this: at most 8.7e-5 mm off, and equal again after a float32 NIfTI."""


def as_volume(
    data: Any,
    affine_lps: ArrayLike,
    frame_of_reference_uid: str,
    *,
    attrs: Mapping[Any, Any] | None = None,
    spacing_z_known: bool = True,
    offsets_mm: Sequence[float] | None = None,
    leading: Sequence[Dimension] = (),
) -> xr.DataArray:
    """Give an array its place in the patient.

    Parameters
    ----------
    data
        (slices, rows, columns), numpy or dask; leading dimensions before, colour behind.
    affine_lps
        (4, 4): voxel index (z, y, x, 1) to LPS mm; any invertible one, also left-handed or sheared.
    frame_of_reference_uid
        The Frame of Reference the positions are in.
    attrs
        Attributes of the result.
    spacing_z_known
        False for a single slice: the length of the affine's z column then means nothing and is not kept.
    offsets_mm
        Of uneven slices, along z from the first one: such a volume has no affine.
    leading
        What the leading dimensions are.

    Returns
    -------
    vol
        Dimensions (leading..., z, y, x), of colour followed by ``rgb``; coordinates in mm that ascend, a scalar
        coordinate ``frame``.

    Raises
    ------
    GeometryError
        The affine is not finite or not invertible.
    """
    affine = np.asarray(affine_lps, np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-12:
        raise GeometryError("a volume needs a finite, invertible (4, 4) affine from voxel index (z, y, x) to LPS mm")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    frame = PatientFrame.of(affine[:3, :3] / lengths, frame_of_reference_uid)
    # D^-1 p, not D^T p: only the inverse holds for a tilt and for cosines as rounded in headers.
    first = np.linalg.solve(frame.matrix, affine[:3, 3])
    coords: dict[Hashable, Any] = {FRAME: frame.coordinate()} | named(leading)
    for axis, start, length, count in zip(AXES, first, lengths, data.shape[len(leading) :], strict=False):
        along = length * np.arange(count) if axis != "z" or offsets_mm is None else np.array(offsets_mm)
        coords[axis] = (axis, np.round(start + along, DIGITS) + 0.0, {"units": "mm"})
    vol = xr.DataArray(data, dims=dims_of(data.ndim, leading), coords=coords, attrs=attrs)
    vol.name = None  # xarray would take that of a dask array
    known: list[float | None] = [float(length) for length in lengths]
    if not spacing_z_known or offsets_mm is not None:
        known[0] = None
    return indexed(vol, frame, dict(zip(AXES, known, strict=True)))


def dims_of(count: int, leading: Sequence[Dimension] = ()) -> tuple[str, ...]:
    """Name the dimensions of an array of voxels that has so many."""
    names = (*(dimension.name for dimension in leading), *AXES)
    return (*names, "rgb") if count > len(names) else names


def named(leading: Sequence[Dimension]) -> dict[Hashable, Any]:
    """Give the coordinates of leading dimensions."""
    return {one.name: (one.name, np.array(one.values), {"units": one.units} if one.units else {}) for one in leading}


def restore(vol: xr.DataArray) -> xr.DataArray:
    """Set the indexes of z, y, x again, after they were lost to a file, `interp`, `coarsen`, `pad` or `assign_coords`.

    Without them geometry still reads right, but arithmetic no longer refuses another grid. Attributes that a file holds
    in another form, such as a list of one, get the form that they had.

    Parameters
    ----------
    vol
        An array with the scalar coordinate ``frame`` and coordinates in mm.

    Returns
    -------
    vol
        The same data.

    Raises
    ------
    GeometryError
        The coordinate ``frame`` is missing or was edited.
    """
    told = {name: _as_tuple(vol.attrs[name]) for name in ("history", "padding") if name in vol.attrs}
    return indexed(vol.assign_attrs(told) if told else vol, frame_of(vol), {})


def steps(vol: xr.DataArray) -> NDArray[np.float64]:
    """Read the signed steps in mm along z, y, x, (3,); negative where an axis was flipped.

    Raises
    ------
    GeometryError
        An axis is gone, uneven, or a single slice without a known spacing.
    """
    return np.array([_step(vol, axis) for axis in AXES])


def affine_lps(vol: xr.DataArray) -> NDArray[np.float64]:
    """Derive the (4, 4) affine from voxel index (z, y, x, 1) to LPS mm from the coordinates.

    Raises
    ------
    GeometryError
        As `steps` and `frame_of`.
    """
    directions = frame_of(vol).matrix
    along = steps(vol)
    first = np.array([float(vol[axis].values[0]) for axis in AXES])
    affine = np.eye(4)
    affine[:3, :3] = directions * along
    affine[:3, 3] = directions @ first
    return affine


def indexed(vol: xr.DataArray, frame: PatientFrame, known_steps: Mapping[str, float | None]) -> xr.DataArray:
    """Set the indexes that are missing along z, y and x; `known_steps` are mm, for axes of one plane."""
    for axis in AXES:
        if axis not in vol.dims or axis not in vol.coords or isinstance(vol.xindexes.get(axis), AxisIndex):
            continue
        if axis in vol.xindexes:
            vol = vol.drop_indexes(axis)
        vol = vol.set_xindex(axis, AxisIndex, frame=frame, step=known_steps.get(axis))
    return vol


def _step(vol: xr.DataArray, axis: str) -> float:
    if axis not in vol.dims or axis not in vol.coords or not vol.sizes[axis]:
        raise GeometryError(
            f"the array has no extent along {axis!r} (its dimensions are {tuple(vol.dims)}), so it has no affine; "
            f"select a plane as a list, such as vol.isel({axis}=[5]), to keep the axis"
        )
    index = vol.xindexes.get(axis)
    step = index.step if isinstance(index, AxisIndex) else even_step(vol[axis].values)
    if step is None:
        found = "one plane of unknown spacing" if vol.sizes[axis] == 1 else "positions that are not evenly spaced"
        raise GeometryError(f"the array has {found} along {axis!r}, so it has no affine")
    return step


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """NetCDF gives an array, or of one text the text; Zarr a list."""
    return (value,) if isinstance(value, str) else tuple(np.asarray(value).tolist())
