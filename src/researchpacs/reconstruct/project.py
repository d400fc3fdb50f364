"""Project a volume along one of its axes: all of it to one image, or a sliding slab."""

from typing import Literal

import dask.array as da
import xarray as xr

from researchpacs.errors import InvalidInputError
from researchpacs.reconstruct._reduce import How, as_how, mean_type, reduced, slid
from researchpacs.volume import Dicom
from researchpacs.volume.arguments import as_number
from researchpacs.volume.padding import without_padding

__all__ = ["project"]


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
        Lazy volumes stay lazy. Without thickness the dimension `along` is gone. With it the coordinates are those of
        `vol`. ``"mean"`` gives float32 (float64 for float64), the others keep the type.

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
    how = as_how(how)
    reach = None
    if thickness is not None:
        if as_number(thickness, "thickness") <= 0:
            raise InvalidInputError(f"thickness={thickness!r}: expected mm as a positive number, or None")
        reach = max(0, round((thickness / dicom.spacing["zyx".index(along)] - 1) / 2))
    seen = without_padding(vol) if "padding" in vol.attrs else vol
    projected = _whole(seen, along, how) if reach is None else _slab(seen, along, how, reach)
    if "padding" in vol.attrs and vol.dtype.kind != "f":
        projected = projected.fillna(vol.attrs["padding"][0])
    slab = "" if reach is None else f", slab of {2 * reach + 1} planes"
    done = f"projected: {how} along {along}{slab}"
    projected = projected.astype(mean_type(vol.dtype) if how == "mean" else vol.dtype, copy=False)
    return projected.assign_attrs({**vol.attrs, "history": (*vol.attrs.get("history", ()), done)})


def _whole(vol: xr.DataArray, along: str, how: How) -> xr.DataArray:
    axis = vol.get_axis_num(along)
    assert isinstance(axis, int)
    return vol.isel({along: 0}, drop=True).copy(data=reduced(vol.data, axis, how))


def _slab(vol: xr.DataArray, along: str, how: How, reach: int) -> xr.DataArray:
    axis = vol.get_axis_num(along)
    assert isinstance(axis, int)
    dtype = mean_type(vol.dtype) if how == "mean" else vol.dtype
    if not isinstance(vol.data, da.Array):
        return vol.copy(data=slid(vol.values, axis, reach, how))
    depth = min(reach, vol.sizes[along] - 1)
    data = da.overlap.map_overlap(
        slid, vol.data, depth={axis: depth}, boundary="none", dtype=dtype, meta=vol.data._meta.astype(dtype), axis=axis,
        reach=reach, how=how,
    )  # fmt: skip
    return vol.copy(data=data)
