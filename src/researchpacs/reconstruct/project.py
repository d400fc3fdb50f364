"""Project a volume along one of its axes: all of it to one image, or a sliding slab."""

from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from researchpacs.errors import InvalidInputError
from researchpacs.volume import Dicom
from researchpacs.volume.arguments import as_number
from researchpacs.volume.padding import without_padding

__all__ = ["project"]

How = Literal["max", "min", "mean"]


def project(
    vol: xr.DataArray, *, along: Literal["z", "y", "x"], how: How = "max", thickness: float | None = None
) -> xr.DataArray:
    """Project a volume along an axis of the array.

    Parameters
    ----------
    vol
        Dimensions z, y, x. Its padding is left out where a line holds anything else.
    along
        ``"z"`` slices, ``"y"`` rows, ``"x"`` columns; `reformat` first for a direction of the patient.
    how
        ``"max"`` (MIP), ``"min"`` or ``"mean"``.
    thickness
        None: one image through all of the volume. Else mm of a slab that slides along the axis; it holds the odd
        number of planes whose thickness is nearest, and is cut at the border of the volume.

    Returns
    -------
    projection
        Without thickness the dimension `along` is gone, and dask arrays stay lazy. With it the coordinates are those
        of `vol`. ``"mean"`` gives float32 (float64 for float64), the others keep the type.

    Raises
    ------
    InvalidInputError
        Another axis or way, or a thickness that is no positive number.
    GeometryError
        A slab is asked for along an axis without a spacing.
    """
    dicom = Dicom(vol)
    if along not in ("z", "y", "x") or along not in vol.dims:
        raise InvalidInputError(f"along={along!r}: expected one of 'z', 'y', 'x'; the array has {tuple(vol.dims)}")
    if how not in ("max", "min", "mean"):
        raise InvalidInputError(f"how={how!r}: expected 'max', 'min' or 'mean'")
    if "padding" in vol.attrs:
        seen = project(without_padding(vol).drop_attrs(deep=False), along=along, how=how, thickness=thickness)
        return _repadded(seen, vol, how).assign_attrs(
            {**vol.attrs, "history": (*vol.attrs.get("history", ()), *seen.attrs["history"])}
        )
    if thickness is None:
        projected = _whole(vol, along, how)
        return _noted(projected, vol, f"projected: {how} along {along}")
    if as_number(thickness, "thickness") <= 0:
        raise InvalidInputError(f"thickness={thickness!r}: expected mm as a positive number, or None")
    reach = _reach(thickness, dicom.spacing["zyx".index(along)])
    data = np.moveaxis(np.asarray(vol.values), vol.get_axis_num(along), 0)
    slab = _sliding_mean(data, reach) if how == "mean" else _sliding_extreme(data, reach, how)
    projected = vol.copy(data=np.moveaxis(slab, 0, vol.get_axis_num(along)))
    return _noted(projected, vol, f"projected: {how} along {along}, slab of {2 * reach + 1} planes")


def _whole(vol: xr.DataArray, along: str, how: How) -> xr.DataArray:
    if how == "mean":
        return vol.mean(along, dtype=np.float64, keep_attrs=True).astype(_mean_type(vol.dtype), keep_attrs=True)
    return vol.max(along, keep_attrs=True) if how == "max" else vol.min(along, keep_attrs=True)


def _repadded(projected: xr.DataArray, vol: xr.DataArray, how: How) -> xr.DataArray:
    """Put the padding back where a line held nothing else, and give extremes their type; NaN stays what it was."""
    if vol.dtype.kind == "f":
        return projected.astype(vol.dtype)
    return projected.fillna(vol.attrs["padding"][0]).astype(_mean_type(vol.dtype) if how == "mean" else vol.dtype)


def _noted(projected: xr.DataArray, vol: xr.DataArray, done: str) -> xr.DataArray:
    return projected.assign_attrs(history=(*vol.attrs.get("history", ()), done))


def _mean_type(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    return np.float64 if dtype == np.float64 else np.float32


def _reach(thickness: float, spacing: float) -> int:
    """Planes on each side of the middle one."""
    return max(0, round((thickness / spacing - 1) / 2))


def _sliding_extreme(data: NDArray[Any], reach: int, how: How) -> NDArray[Any]:
    """Largest or smallest over planes k - reach to k + reach, in steps that double the window."""
    pick = np.fmax if how == "max" else np.fmin  # which pass over NaN, as xarray does
    reach = min(reach, len(data) - 1)
    # `best[k]` covers planes k to k + width - 1, cut at the end.
    best, width, wanted = data.copy(), 1, 2 * reach + 1
    while width < wanted:
        shift = min(width, wanted - width)
        # In ascending order of planes each is combined with a later one that is still of the old width.
        best[: len(best) - shift] = pick(best[: len(best) - shift], best[shift:])
        width += shift
    # A window around k starts at k - reach; at the beginning it is cut, and grows plane by plane.
    slab = np.empty_like(data)
    slab[reach:] = best[: len(data) - reach]
    start = pick.reduce(data[: reach + 1], axis=0)
    for k in range(reach):
        slab[k] = start
        if k + reach + 1 < len(data):
            start = pick(start, data[k + reach + 1])
    return slab


def _sliding_mean(data: NDArray[Any], reach: int) -> NDArray[Any]:
    """Mean over planes k - reach to k + reach; no running sum, which an infinite or huge value would spoil for good."""
    slab = np.full(data.shape, np.nan, _mean_type(data.dtype))
    for k in range(len(data)):
        planes = data[max(0, k - reach) : k + reach + 1]
        if data.dtype.kind == "f":
            known = np.count_nonzero(~np.isnan(planes), axis=0)
            np.divide(np.nansum(planes, axis=0, dtype=np.float64), known, out=slab[k], where=known > 0)
        else:
            slab[k] = planes.mean(axis=0, dtype=np.float64)
    return slab
