"""Arrays and images in memory as volumes: xarray, SimpleITK, numpy with an affine, a spacing or a series."""

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from researchpacs.convert._nifti import nifti_image_voxels
from researchpacs.convert._voxels import Voxels
from researchpacs.errors import GeometryError, InvalidInputError, UnsupportedError
from researchpacs.model import SeriesSource

if TYPE_CHECKING:
    import SimpleITK
    import xarray as xr

__all__ = ["array_voxels", "image_voxels"]

_AXES = ("z", "y", "x")


def image_voxels(source: Any) -> Voxels | None:
    """Take an image that knows its own geometry; None for anything else.

    Raises
    ------
    GeometryError
        A volume that lost its place.
    UnsupportedError
        Other than three dimensions, or several values per voxel.
    """
    # Who never imported a library has none of its objects, and need not wait for the import.
    nibabel, sitk, xarray = (sys.modules.get(name) for name in ("nibabel", "SimpleITK", "xarray"))
    if xarray and isinstance(source, xarray.DataArray):
        return _of_xarray(source)
    if sitk and isinstance(source, sitk.Image):
        return _of_sitk(source)
    if nibabel and isinstance(source, nibabel.Nifti1Pair):
        return nifti_image_voxels(source)
    return None


def array_voxels(
    values: NDArray[Any],
    *,
    affine_lps: ArrayLike | None,
    spacing: ArrayLike | None,
    series: SeriesSource | None,
) -> Voxels:
    """Take a (slices, rows, columns) array with a geometry that is told beside it.

    Raises
    ------
    InvalidInputError
        Not three dimensions, no geometry, or two.
    GeometryError
        The series in ``like=`` is no volume, or one of another shape.
    """
    if values.ndim != 3:
        raise InvalidInputError(f"a volume has the shape (slices, rows, columns); this array has {values.shape}")
    if affine_lps is not None and spacing is not None:
        raise InvalidInputError("affine_lps= has the spacing in it; give one of the two")
    if affine_lps is not None:
        return Voxels(values, np.asarray(affine_lps, np.float64), "an array")
    if spacing is not None:
        steps = np.asarray(spacing, np.float64)
        if steps.shape != (3,) or not np.isfinite(steps).all() or (steps <= 0).any():
            raise InvalidInputError("spacing= is three positive numbers: mm between slices, rows and columns")
        affine = np.zeros((4, 4))
        affine[[2, 1, 0, 3], [0, 1, 2, 3]] = [*steps, 1]
        return Voxels(values, affine, "an array")
    if series is None:
        raise InvalidInputError(
            "where is the array? Give affine_lps=, (4, 4) from index (z, y, x) to LPS mm; or spacing=, mm along z, y, "
            "x; or the series that it was computed from as like="
        )
    return _on_grid_of(series, values)


def _on_grid_of(series: SeriesSource, values: NDArray[Any]) -> Voxels:
    from researchpacs.volume import plan

    planned = plan(series, rescale=False)
    if planned.shape != values.shape:
        raise GeometryError(
            f"the array has the shape {values.shape}, the series in like= {planned.shape}; "
            "pass affine_lps= for another grid",
            series_uid=series.uid,
        )
    return Voxels(
        values,
        np.asarray(planned.affine_lps),
        "an array",
        spacing_z_known=planned.spacing_z_known,
        frame_of_reference_uid=planned.frame_of_reference_uid,
        of_like=True,
    )


def _of_xarray(vol: "xr.DataArray") -> Voxels:
    if set(vol.dims) != set(_AXES):
        raise UnsupportedError(f"a volume has the dimensions z, y and x; this array has {tuple(vol.dims)}")
    affine, spacing_z_known = _affine_of(vol.transpose(*_AXES))
    units = str(vol.attrs.get("units") or "")
    is_rescaled = units != "stored value"
    return Voxels(
        values=np.asarray(vol.transpose(*_AXES).values),
        affine_lps=affine,
        origin="a volume",
        spacing_z_known=spacing_z_known,
        frame_of_reference_uid=vol.dicom.frame_of_reference_uid,
        modality=str(vol.attrs.get("Modality") or ""),
        units=units if is_rescaled else "",
        is_rescaled=is_rescaled,
    )


def _affine_of(vol: "xr.DataArray") -> tuple[NDArray[np.float64], bool]:
    """Read the affine; of one plane without a spacing, with its normal of length one."""
    from researchpacs.volume import frame_of

    steps = [getattr(vol.xindexes.get(axis), "step", None) for axis in _AXES]
    if vol.sizes["z"] != 1 or steps[0] is not None or None in steps[1:]:
        return vol.dicom.affine_lps, True
    directions = frame_of(vol).matrix
    affine = np.eye(4)
    affine[:3, :3] = directions * [1.0, steps[1], steps[2]]
    affine[:3, 3] = directions @ [float(vol[axis].values[0]) for axis in _AXES]
    return affine, False


def _of_sitk(image: "SimpleITK.Image") -> Voxels:
    import SimpleITK

    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UnsupportedError(
            f"a volume has three dimensions and one value per voxel; this image has {image.GetDimension()} and "
            f"{image.GetNumberOfComponentsPerPixel()}"
        )
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3))[:, ::-1] * image.GetSpacing()[::-1]
    affine[:3, 3] = image.GetOrigin()
    return Voxels(SimpleITK.GetArrayFromImage(image), affine, "a SimpleITK image")
