"""What a user draws on a volume, brought to the volume's own order: coordinates that ascend along z, y and x."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from researchpacs.annotation.masks import spatial
from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.volume.frame import AXES, FRAME, frame_of
from researchpacs.volume.index import TOLERANCE_MM

__all__ = ["grid_of", "history_of", "series_of", "values_on"]


def grid_of(like: Any) -> xr.DataArray:
    """Take the grid of a volume without its values.

    Returns
    -------
    grid
        False everywhere without taking memory; dimensions (z, y, x), coordinates ascend.

    Raises
    ------
    InvalidInputError
        It is no volume.
    GeometryError
        It has no patient frame, or lacks an axis.
    """
    if not isinstance(like, xr.DataArray):
        raise InvalidInputError(
            f"like= is a volume as open_volume and read_volume return it, not a {type(like).__name__}"
        )
    frame_of(like)
    missing = [axis for axis in AXES if axis not in like.dims or axis not in like.coords]
    if missing:
        raise GeometryError(f"the volume has no extent along {', '.join(missing)}; keep the axis: vol.isel(z=[5])")
    keep = [*AXES, FRAME]
    vol = like.isel(dict.fromkeys((name for name in like.dims if name not in AXES), 0), drop=True)
    sizes = tuple(vol.sizes[axis] for axis in AXES)
    empty = xr.DataArray(
        np.broadcast_to(np.False_, sizes), dims=AXES, coords=vol.coords.to_dataset()[keep].coords, attrs=like.attrs
    )
    return _ascending(empty)


def values_on(mask: Any, like: xr.DataArray | None, grid: xr.DataArray) -> NDArray[Any]:
    """Bring the values of a mask onto a grid.

    Parameters
    ----------
    mask
        A DataArray on the grid of `like` or a part of it, or an array of the shape of `like`.
    like
        The volume as the user gave it, whose order an array without coordinates has.
    grid
        The grid of `like`.

    Returns
    -------
    values
        (z, y, x) as `grid`.

    Raises
    ------
    GeometryError
        Another shape, another Frame of Reference, another grid.
    """
    if isinstance(mask, xr.DataArray) and FRAME in mask.coords:
        return _placed(mask, grid)
    if like is None:
        raise GeometryError("the mask does not know where it is in the patient; pass like=, the volume it was made of")
    values = np.asarray(mask)
    shape = tuple(like.sizes[axis] for axis in AXES)
    if values.shape != shape:
        raise GeometryError(
            f"the mask has the shape {values.shape}, the volume {shape}; they must be the same (z, y, x)"
        )
    named = spatial(like.isel(dict.fromkeys((name for name in like.dims if name not in AXES), 0), drop=True))
    return np.asarray(_ascending(named.copy(deep=False, data=values)).values)


def series_of(vol: xr.DataArray) -> str:
    """SeriesInstanceUID of what was drawn on.

    Raises
    ------
    GeometryError
        The volume comes from no series.
    """
    uid: str = vol.dicom.series
    return uid


def history_of(mask: Any) -> tuple[str, ...]:
    """What was done to a mask, as far as it says; that its volume was opened is nothing."""
    history = mask.attrs.get("history", ()) if isinstance(mask, xr.DataArray) else ()
    lines = [str(one) for one in ((history,) if isinstance(history, str) else history)]
    return tuple(line for line in lines if not line.startswith("opened:"))


def _ascending(vol: xr.DataArray) -> xr.DataArray:
    for axis in AXES:
        values = vol[axis].values
        if len(values) > 1 and values[-1] < values[0]:
            vol = vol.isel({axis: slice(None, None, -1)})
        if (np.diff(vol[axis].values) <= 0).any():
            raise GeometryError(f"coordinates along {axis!r} repeat or are in no order")
    return vol


def _placed(mask: xr.DataArray, grid: xr.DataArray) -> NDArray[Any]:
    if set(mask.dims) != set(AXES):
        raise GeometryError(f"the mask has dimensions {tuple(mask.dims)}; expected z, y and x")
    if frame_of(mask).key != frame_of(grid).key:
        raise GeometryError("the mask is in another patient frame than the volume; resample or register it first")
    part = _ascending(mask.transpose(*AXES))
    places = [_found(part[axis].values, grid[axis].values, axis) for axis in AXES]
    if all(len(place) == grid.sizes[axis] for place, axis in zip(places, AXES, strict=True)):
        return np.asarray(part.values)
    values = np.zeros(grid.shape, part.dtype)
    values[np.ix_(*places)] = part.values
    return values


def _found(wanted: NDArray[np.float64], values: NDArray[np.float64], axis: str) -> NDArray[np.intp]:
    places: NDArray[np.intp] = np.abs(values[None, :] - wanted[:, None]).argmin(axis=1)
    if (np.abs(values[places] - wanted) > TOLERANCE_MM).any() or (np.diff(places) != 1).any():
        raise GeometryError(
            f"the mask has another grid than the volume along {axis!r}; resample it onto the volume first, with "
            "researchpacs.reconstruct.resample(mask, like=vol)"
        )
    return places
