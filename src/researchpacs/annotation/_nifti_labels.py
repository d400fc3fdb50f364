"""Labels from a NIfTI file, brought onto the grid of a volume; nothing is interpolated."""

import math
import os
import zlib
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from researchpacs.errors import GeometryError, InvalidInputError, NotFoundError
from researchpacs.volume import coordinates

__all__ = ["read_labels"]

_ABSOLUTE_MM, _RELATIVE = 0.02, 0.05
"""How far a voxel of the file may be off the voxel it is meant to be, as for the planes of volumes."""
_APART_MM = 1.0
"""Between the two affines of a file."""
_DAMAGED = (OSError, EOFError, ValueError, zlib.error, OverflowError)

Floats = NDArray[np.float64]


def read_labels(path: str | os.PathLike[str], grid: xr.DataArray) -> NDArray[Any]:
    """Read a NIfTI file voxel for voxel.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``.
    grid
        The grid of the volume, dimensions (z, y, x), at least its affine known.

    Returns
    -------
    labels
        (z, y, x) as `grid`, values as in the file.

    Raises
    ------
    NotFoundError
        There is no such file.
    InvalidInputError
        It is no NIfTI file, damaged, or not of three dimensions.
    GeometryError
        It has no affine, two that disagree, or another grid than the volume.
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    if not Path(path).is_file():
        raise NotFoundError("there is no such NIfTI file")
    try:
        image: Any = nib.load(path)
        if not isinstance(image, nib.Nifti1Image):
            raise InvalidInputError("expected a NIfTI file of labels, .nii or .nii.gz")
        shape = tuple(image.shape[:3])
        if len(shape) < 3 or math.prod(image.shape[3:]) != 1:
            raise InvalidInputError(f"the NIfTI file has the shape {image.shape}; labels have three dimensions")
        # Before a byte of voxels is read: another shape is refused, however large the file says it is.
        order, signs = _matched(_affine_lps(image), shape, grid)
        values = np.asanyarray(image.dataobj).reshape(shape)
    except (ImageFileError, HeaderDataError, *_DAMAGED) as error:
        if isinstance(error, InvalidInputError | GeometryError):
            raise
        raise InvalidInputError("the NIfTI file is damaged, truncated, or none") from error
    turned = values.transpose(order)
    return turned[tuple(slice(None, None, sign) for sign in signs)]


def _matched(affine: Floats, shape: tuple[int, ...], grid: xr.DataArray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which axis of the file is z, y, x of the grid, and whether it runs the same way (1) or back (-1)."""
    wanted = coordinates.affine_lps(grid)
    steps = np.abs(coordinates.steps(grid))
    into = np.linalg.inv(wanted) @ affine
    order = max(permutations(range(3)), key=lambda axes: sum(abs(into[k, axes[k]]) for k in range(3)))
    signs = tuple(1 if into[k, order[k]] > 0 else -1 for k in range(3))
    if tuple(shape[axis] for axis in order) != grid.shape:
        raise GeometryError(
            f"the NIfTI file has {tuple(shape[axis] for axis in order)} voxels along z, y, x of the volume, which has "
            f"{grid.shape}: another grid; resample it onto the volume first"
        )
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape], (1,), indexing="ij"), float).reshape(4, -1)
    there = np.empty_like(corners)
    there[3] = 1
    for k in range(3):
        there[order[k]] = corners[k] if signs[k] > 0 else grid.shape[k] - 1 - corners[k]
    off = float(np.linalg.norm((affine @ there - wanted @ corners)[:3], axis=0).max())
    if not off <= max(_ABSOLUTE_MM, _RELATIVE * float(steps.min())):
        raise GeometryError(
            f"the NIfTI file has another grid than the volume: its voxels are up to {off:.2f} mm off; resample it onto "
            "the volume first, or take the volume it was made of"
        )
    return order, signs


def _affine_lps(image: Any) -> Floats:
    """(4, 4): index (i, j, k, 1) of the file to LPS mm."""
    header = image.header
    if not int(header["sform_code"]) and not int(header["qform_code"]):
        raise GeometryError(
            "the NIfTI file has no affine (sform and qform code are 0), so nobody knows which side is left; "
            "read it yourself, and pass an array of the volume's own order to from_labels()"
        )
    affine = np.asarray(image.affine, np.float64)
    if int(header["sform_code"]) == int(header["qform_code"]):
        last = [[0, 0, 0, 1], [*(n - 1 for n in image.shape[:3]), 1]]
        apart = float(np.abs((header.get_qform() - affine) @ np.transpose(last)).max())
        if not apart <= _APART_MM:
            raise GeometryError("the NIfTI file has two affines, sform and qform, which disagree; correct one of them")
    if not np.isfinite(affine).all():
        raise GeometryError("the affine of the NIfTI file is not finite")
    to_lps: Floats = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return to_lps
