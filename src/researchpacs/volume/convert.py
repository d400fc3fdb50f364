"""Volumes to and from SimpleITK, and to NIfTI and NRRD; all count axes as (x, y, z)."""

import os
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from researchpacs.errors import GeometryError, InvalidInputError, UnsupportedError
from researchpacs.volume import coordinates
from researchpacs.volume.arguments import as_target
from researchpacs.volume.frame import AXES, frame_of
from researchpacs.volume.index import TOLERANCE_MM

if TYPE_CHECKING:
    import SimpleITK

__all__ = ["from_sitk", "to_nifti", "to_nrrd", "to_sitk"]


def to_sitk(vol: xr.DataArray) -> "SimpleITK.Image":
    """Copy a volume to a SimpleITK image of the same geometry.

    Parameters
    ----------
    vol
        Dimensions z, y, x in any order.

    Returns
    -------
    image
        Index (x, y, z), physical points in LPS mm. Booleans become uint8.

    Raises
    ------
    GeometryError
        The volume has no affine, or other dimensions than z, y, x.
    """
    import SimpleITK

    affine = coordinates.affine_lps(vol)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(_values(vol))
    image.SetSpacing(spacing[::-1].tolist())
    image.SetDirection((affine[:3, :3] / spacing)[:, ::-1].ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def from_sitk(image: "SimpleITK.Image", like: xr.DataArray) -> xr.DataArray:
    """Take a SimpleITK image as a volume, in the Frame of Reference of another.

    Parameters
    ----------
    image
        Three-dimensional, one value per voxel; its own origin, spacing and direction are kept.
    like
        The volume that the image was made from: gives Frame of Reference and attributes, and, where the grids agree
        within 1e-3 mm, the very same coordinates.

    Returns
    -------
    vol
        Dimensions (z, y, x); a copy of the image's values.

    Raises
    ------
    InvalidInputError
        The image is not three-dimensional, or has several values per voxel.
    """
    import SimpleITK

    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InvalidInputError(
            f"the image has {image.GetDimension()} dimensions and {image.GetNumberOfComponentsPerPixel()} values per "
            "voxel; expected 3 and 1"
        )
    data = SimpleITK.GetArrayFromImage(image)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3))[:, ::-1] * image.GetSpacing()[::-1]
    affine[:3, 3] = image.GetOrigin()
    if _same_grid(affine, data.shape, like):
        ordered = like.transpose(*AXES)
        return ordered.copy(data=data)
    return coordinates.as_volume(data, affine, frame_of(like).uid, attrs=like.attrs)


def to_nifti(vol: xr.DataArray, path: str | os.PathLike[str]) -> None:
    """Write a volume as NIfTI with axes (x, y, z), as other tools expect, and the affine in RAS mm.

    Parameters
    ----------
    vol
        Dimensions z, y, x in any order, and one more at most, such as time, which becomes NIfTI's fourth. Booleans
        are written as uint8.
    path
        Ends in ``.nii`` or ``.nii.gz``.

    Raises
    ------
    InvalidInputError
        Another suffix, or no path of a file.
    NotFoundError
        The folder to write into does not exist.
    UnsupportedError
        A type that NIfTI readers do not share, such as int64.
    GeometryError
        The volume has no affine, or more than one dimension beside z, y, x.
    """
    import nibabel as nib

    path = as_target(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise InvalidInputError(f"{path.suffix or 'no suffix'}: expected a name that ends in .nii or .nii.gz")
    more = [name for name in vol.dims if name not in AXES]
    values = _values(vol, *more[:1])
    if values.dtype.name not in ("uint8", "int16", "uint16", "int32", "float32", "float64"):
        raise UnsupportedError(f"{values.dtype} cannot be written as NIfTI; convert first, as with vol.astype('int32')")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ coordinates.affine_lps(vol)[:, [2, 1, 0, 3]]
    image = nib.Nifti1Image(values.T, affine)
    _set_units(image.header, vol, *more)
    image.set_sform(affine, code="scanner")
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() < 1e-6:  # the quaternion of the qform cannot hold a shear
        image.set_qform(affine, code="scanner")
    nib.save(image, path)


def to_nrrd(vol: xr.DataArray, path: str | os.PathLike[str]) -> None:
    """Write a volume as NRRD with axes (x, y, z), compressed, its space in LPS mm; a tilt stays what it is.

    Parameters
    ----------
    vol
        Dimensions z, y, x in any order. Booleans are written as uint8.
    path
        Ends in ``.nrrd``.

    Raises
    ------
    InvalidInputError
        Another suffix, or no path of a file.
    NotFoundError
        The folder to write into does not exist.
    GeometryError
        The volume has no affine, or other dimensions than z, y, x.
    UnsupportedError
        The file cannot be written.
    """
    import SimpleITK

    path = as_target(path)
    if path.suffix.lower() != ".nrrd":
        raise InvalidInputError(f"{path.suffix or 'no suffix'}: expected a name that ends in .nrrd")
    image = to_sitk(vol)
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError:  # whose message has the path
        path.unlink(missing_ok=True)
        raise UnsupportedError(
            "the file cannot be written: is the disk full, or may this user not write there?"
        ) from None


def _set_units(header: Any, vol: xr.DataArray, *more: Hashable) -> None:
    """Millimetres, and where the fourth dimension is one of even steps in seconds, these."""
    steps = np.diff(vol[more[0]].values) if more and vol[more[0]].attrs.get("units") == "s" else np.zeros(0)
    if len(steps) and steps[0] > 0 and np.allclose(steps, steps[0], rtol=1e-3, atol=0):
        header.set_zooms([*header.get_zooms()[:3], float(steps.mean())])
        header.set_xyzt_units("mm", "sec")
    else:
        header.set_xyzt_units("mm")


def _values(vol: xr.DataArray, *leading: Hashable) -> NDArray[Any]:
    """(z, y, x) values in memory, the leading dimensions before them."""
    if set(vol.dims) != {*leading, *AXES}:
        raise GeometryError(
            f"the array has dimensions {tuple(vol.dims)}; expected z, y and x: select or reduce the others"
        )
    values: NDArray[Any] = np.asarray(vol.transpose(*leading, *AXES).values)
    return values.astype(np.uint8 if values.dtype == np.bool_ else values.dtype.newbyteorder("="), copy=False)


def _same_grid(affine: NDArray[np.float64], shape: tuple[int, ...], like: xr.DataArray) -> bool:
    """Whether the corner voxels of both grids are at the same places; a volume without an affine has no grid."""
    if set(like.dims) != set(AXES) or tuple(like.sizes[axis] for axis in AXES) != tuple(shape):
        return False
    try:
        other = coordinates.affine_lps(like)
    except GeometryError:
        return False
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], (1,), indexing="ij")).reshape(4, -1)
    return bool(np.abs((affine - other) @ corners).max() <= TOLERANCE_MM)
