"""Values of a volume on another grid, through SimpleITK."""

from typing import Literal

import numpy as np
import SimpleITK
import xarray as xr
from numpy.typing import NDArray

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.volume import Dicom, as_volume
from researchpacs.volume.padding import padding_of

__all__ = ["reformat", "resample"]

Spacing = float | tuple[float, float, float]
Plane = Literal["axial", "coronal", "sagittal"]

AXES_OF_PLANE: dict[str, tuple[tuple[int, int, int], ...]] = {
    "axial": ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    "coronal": ((0, 1, 0), (0, 0, -1), (1, 0, 0)),
    "sagittal": ((-1, 0, 0), (0, 0, -1), (0, 1, 0)),
}
"""LPS directions of increasing z, y, x index: rows go back or down, columns left or back, slices along row x column."""

LARGEST_VOXELS = 2**31


def resample(
    vol: xr.DataArray,
    *,
    spacing: Spacing | None = None,
    like: xr.DataArray | None = None,
    interpolation: Literal["linear", "nearest"] = "linear",
    fill: float | None = None,
) -> xr.DataArray:
    """Resample a volume to another spacing, or onto the grid of another volume.

    Parameters
    ----------
    vol
        Dimensions z, y, x. Its padding is never mixed with what was seen.
    spacing
        mm between voxel centres: one number, or (z, y, x). Directions stay; the grid is centred in the volume and no
        voxel centre lies outside of it. Nothing is smoothed before it is made coarser.
    like
        A volume in the same Frame of Reference; the result has its very coordinates.
    interpolation
        ``"nearest"`` for masks and labels.
    fill
        The value outside of `vol`, by default the smallest value in it.

    Returns
    -------
    vol
        Type as `vol`, integers rounded; attributes as `vol`, coordinates of the new grid.

    Raises
    ------
    InvalidInputError
        Not exactly one of spacing and like, or a spacing that is no positive number.
    GeometryError
        `vol` or `like` has no affine, or their Frames of Reference differ.
    """
    if like is not None and spacing is None:
        return _onto(vol, like, interpolation, fill)
    if like is not None or spacing is None:
        raise InvalidInputError("resample needs either spacing= or like=")
    wanted = _as_spacing(spacing)
    done = f"resampled: {interpolation}, spacing {' x '.join(f'{v:g}' for v in wanted)} mm"
    return _on_grid(vol, _centred(vol, wanted), interpolation, fill, done)


def reformat(
    vol: xr.DataArray,
    plane: Plane,
    *,
    spacing: Spacing | None = None,
    interpolation: Literal["linear", "nearest"] = "linear",
    fill: float | None = None,
) -> xr.DataArray:
    """Lay planes of the patient, not of the scanner, through a volume.

    Planes are along the LPS axes, also where the acquisition is oblique, and cover all of the volume.

    Parameters
    ----------
    vol
        Dimensions z, y, x.
    plane
        ``"axial"``: slices go up, rows back, columns left (orientation ``"SPL"``). ``"coronal"``: slices go back, rows
        down, columns left (``"PIL"``). ``"sagittal"``: slices go right, rows down, columns back (``"RIP"``).
    spacing
        mm between voxel centres of the result: one number, or (z, y, x); by default the smallest spacing of `vol`.
    interpolation
        ``"nearest"`` for masks and labels.
    fill
        The value outside of `vol`, by default the smallest value in it.

    Returns
    -------
    vol
        A volume with its own geometry: ``isel(z=k)`` is a plane as it is looked at.

    Raises
    ------
    InvalidInputError
        Another plane, or a spacing that is no positive number.
    GeometryError
        `vol` has no affine.
    """
    if plane not in AXES_OF_PLANE:
        raise InvalidInputError(f"plane={plane!r}: expected 'axial', 'coronal' or 'sagittal'")
    dicom = Dicom(vol)
    smallest = min(dicom.spacing)
    wanted = _as_spacing(smallest if spacing is None else spacing)
    directions = np.array(AXES_OF_PLANE[plane], float).T
    # Voxels have extent: the box holds their outer corners, half a voxel beyond the centres.
    ends = [(-0.5, vol.sizes[axis] - 0.5) for axis in ("z", "y", "x")]
    corners = dicom.to_lps(np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1).T) @ directions
    low, high = corners.min(axis=0), corners.max(axis=0)
    grid = _laid_out(high - low, wanted, directions @ (low + high) / 2, directions)
    return _on_grid(vol, grid, interpolation, fill, f"reformatted: {plane}, {interpolation}")


Grid = tuple[NDArray[np.intp], NDArray[np.float64]]
"""Voxels along z, y, x; (4, 4) affine of index (z, y, x, 1) to LPS mm."""


def _onto(vol: xr.DataArray, like: xr.DataArray, interpolation: str, fill: float | None) -> xr.DataArray:
    mine, other = Dicom(vol).frame_of_reference_uid, Dicom(like).frame_of_reference_uid
    if mine != other:
        raise GeometryError(
            f"the volumes are in different Frames of Reference, ...{mine[-8:]} and ...{other[-8:]}: "
            "where one is in the other is not known without a registration"
        )
    if set(like.dims) != {"z", "y", "x"}:
        raise GeometryError(f"like= has dimensions {tuple(like.dims)}; expected z, y and x")
    grid = np.array([like.sizes[axis] for axis in ("z", "y", "x")]), Dicom(like).affine_lps
    resampled = _on_grid(vol, grid, interpolation, fill, f"resampled: {interpolation}, like another volume")
    # The very coordinates of `like`, so that arithmetic with it aligns to the last digit.
    onto = like.transpose("z", "y", "x").copy(data=resampled.data).rename(resampled.name)
    onto.attrs = resampled.attrs
    return onto


def _centred(vol: xr.DataArray, spacing: NDArray[np.float64]) -> Grid:
    """Lay a grid of another spacing into the box of the old one, around its middle."""
    dicom = Dicom(vol)
    old = np.array(dicom.spacing)
    counts = np.array([vol.sizes[axis] for axis in ("z", "y", "x")])
    return _laid_out(counts * old, spacing, dicom.to_lps((counts - 1) / 2), dicom.direction)


def _laid_out(
    extent_mm: NDArray[np.float64],
    spacing: NDArray[np.float64],
    middle: NDArray[np.float64],
    directions: NDArray[np.float64],
) -> Grid:
    counts = np.maximum(1, np.floor(extent_mm / spacing + 1e-3)).astype(np.intp)
    if counts.prod(dtype=float) > LARGEST_VOXELS:
        size = " x ".join(map(str, counts.tolist()))
        raise InvalidInputError(f"a spacing of {spacing.tolist()} mm asks for {size} voxels; take a larger one")
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = middle - affine[:3, :3] @ ((counts - 1) / 2)
    return counts, affine


def _as_spacing(spacing: Spacing) -> NDArray[np.float64]:
    try:
        values = np.broadcast_to(np.asarray(spacing, np.float64), (3,))
    except (TypeError, ValueError):
        values = np.zeros(3)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise InvalidInputError(f"spacing={spacing!r}: expected mm as one positive number or three, (z, y, x)")
    return values


def _on_grid(vol: xr.DataArray, grid: Grid, interpolation: str, fill: float | None, done: str) -> xr.DataArray:
    methods = {"linear": SimpleITK.sitkLinear, "nearest": SimpleITK.sitkNearestNeighbor}
    if interpolation not in methods:
        raise InvalidInputError(f"interpolation={interpolation!r}: expected 'linear' or 'nearest'")
    vol = vol.compute()
    if "padding" in vol.attrs and interpolation == "linear":
        return _seen_on_grid(vol, grid, fill, done)
    counts, affine = grid
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    resampler = SimpleITK.ResampleImageFilter()
    resampler.SetInterpolator(methods[interpolation])
    resampler.SetDefaultPixelValue(_as_fill(vol, fill))
    resampler.SetSize(counts[::-1].tolist())
    resampler.SetOutputSpacing(spacing[::-1].tolist())
    resampler.SetOutputDirection((affine[:3, :3] / spacing)[:, ::-1].ravel().tolist())
    resampler.SetOutputOrigin(affine[:3, 3].tolist())
    if vol.dtype.kind != "f":
        # ITK cuts interpolated integers off towards zero; they have to be rounded.
        resampler.SetOutputPixelType(SimpleITK.sitkFloat32 if vol.dtype.itemsize <= 2 else SimpleITK.sitkFloat64)
    data = SimpleITK.GetArrayFromImage(resampler.Execute(Dicom(vol).to_sitk()))
    if vol.dtype.kind != "f":
        data = np.rint(data, out=data).astype(vol.dtype)
    attrs = {**vol.attrs, "history": (*vol.attrs.get("history", ()), done)}
    return as_volume(data, affine, Dicom(vol).frame_of_reference_uid, attrs=attrs).rename(vol.name)


def _seen_on_grid(vol: xr.DataArray, grid: Grid, fill: float | None, done: str) -> xr.DataArray:
    """Interpolate between voxels that are no padding; where less than half of the weight is theirs, padding stands."""
    outside = _as_fill(vol, fill)
    padding, dtype = padding_of(vol), vol.dtype
    real = np.float64 if dtype.itemsize > 2 and dtype != np.float32 else np.float32
    values = vol.astype(real).where(~padding, 0).drop_attrs(deep=False)
    sums = _on_grid(values, grid, "linear", 0, done).values
    masks = (~padding, xr.ones_like(padding))
    weights, within = (_on_grid(mask.astype(np.float32), grid, "linear", 0, done).values for mask in masks)
    mixed = np.full(sums.shape, vol.attrs["padding"][0], real)
    np.divide(sums, weights, out=mixed, where=(weights >= within / 2) & (weights > 0))
    mixed[within == 0] = outside
    data = np.rint(mixed).astype(dtype) if dtype.kind in "iu" else mixed.astype(dtype)
    attrs = {**vol.attrs, "history": (*vol.attrs.get("history", ()), done)}
    return as_volume(data, grid[1], Dicom(vol).frame_of_reference_uid, attrs=attrs).rename(vol.name)


def _as_fill(vol: xr.DataArray, fill: float | None) -> float:
    if fill is None:
        return float(vol.min())
    kind = vol.dtype.kind
    low, high = (
        (0, 1) if kind == "b" else (np.iinfo(vol.dtype).min, np.iinfo(vol.dtype).max) if kind in "iu" else (0, 0)
    )
    if kind != "f" and not low <= fill <= high:
        raise InvalidInputError(f"fill={fill!r} does not fit {vol.dtype}; expected {low} to {high}")
    return float(fill)
