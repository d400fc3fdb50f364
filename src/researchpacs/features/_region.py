"""What a user hands over -> plain arrays on one grid, and the step in mm from voxel to voxel along each axis."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from researchpacs.errors import GeometryError, InvalidInputError

__all__ = ["as_mask", "as_steps", "as_values", "is_seen", "on_one_grid"]

_AXES = ("z", "y", "x")
_FRAME = "frame"
"""The scalar coordinate by which a volume knows its place in the patient."""


def as_values(vol: Any) -> NDArray[Any]:
    """Numbers in (z, y, x) order."""
    values = _plain(vol)
    if values.dtype.kind not in "iufb":
        raise InvalidInputError(f"features are of numbers, these values are {values.dtype}")
    return values


def as_mask(mask: Any) -> NDArray[np.bool_]:
    """Whether each voxel belongs to the region, in (z, y, x) order.

    Raises
    ------
    InvalidInputError
        Values other than 0 and 1, which would be several regions, or no region at all.
    """
    values = as_values(mask)
    inside = values.astype(np.bool_)
    if values.dtype.kind != "b" and not np.array_equal(values, inside):
        raise InvalidInputError("a mask is true or false, 0 or 1; choose one label, as in labels == 3")
    if not inside.any():
        raise InvalidInputError("the mask is empty, there is nothing to describe")
    return inside


def is_seen(vol: Any) -> NDArray[np.bool_] | None:
    """Whether each voxel is more than padding, in (z, y, x) order; None for a volume without padding."""
    if not isinstance(vol, xr.DataArray) or "padding" not in vol.attrs:
        return None
    return ~as_values(vol.dicom.padding).astype(np.bool_)


def as_steps(mask: Any, spacing: Sequence[float] | None) -> NDArray[np.float64]:
    """(3, 3): the columns are the steps in mm to the next voxel along z, y, x.

    Raises
    ------
    InvalidInputError
        A plain array without a spacing, or one beside a volume that has its own.
    GeometryError
        The volume has no even spacing.
    """
    if isinstance(mask, xr.DataArray) and _FRAME in mask.coords:
        if spacing is not None:
            raise InvalidInputError("the volume has a spacing of its own; leave `spacing` out")
        return np.asarray(mask.dicom.affine_lps, np.float64)[:3, :3]
    if spacing is None:
        raise InvalidInputError("an array does not say how large its voxels are: give spacing=(z, y, x) in mm")
    try:
        lengths = np.asarray(spacing, np.float64)
    except (TypeError, ValueError):
        lengths = np.zeros(0)
    if lengths.shape != (3,) or not np.isfinite(lengths).all() or not (lengths > 0).all():
        raise InvalidInputError("spacing has three positive numbers, mm along z, y, x")
    return np.diag(lengths)


def on_one_grid(vol: Any, mask: Any) -> None:
    """Return if a mask lies on the grid of a volume.

    Raises
    ------
    GeometryError
        Another Frame of Reference, other positions, or a labelled array that lost its place in the patient.
    InvalidInputError
        Another shape.
    """
    if isinstance(vol, xr.DataArray) and isinstance(mask, xr.DataArray):
        if (_FRAME in vol.coords) != (_FRAME in mask.coords):
            raise GeometryError(
                "the volume and the mask do not both know their place in the patient; where they lie on one grid "
                "all the same, hand over mask.values"
            )
        if _FRAME in vol.coords and vol.coords[_FRAME].item() != mask.coords[_FRAME].item():
            raise GeometryError("the mask lies in another patient frame than the volume; resample it like the volume")
        try:
            xr.align(vol, mask, join="exact", copy=False)
        except ValueError as error:
            raise GeometryError(
                "the mask lies on another grid than the volume; rp.reconstruct.resample(mask, like=vol) brings it there"
            ) from error
    if (ours := _plain(vol).shape) != (theirs := _plain(mask).shape):
        raise InvalidInputError(f"the mask has shape {theirs}, the volume {ours}")


def _plain(vol: Any) -> NDArray[Any]:
    if isinstance(vol, xr.DataArray):
        if set(vol.dims) != set(_AXES):
            raise InvalidInputError(f"expected the dimensions z, y, x; found {', '.join(map(str, vol.dims))}")
        return np.asarray(vol.transpose(*_AXES).data)
    values = np.asarray(vol)
    if values.ndim != 3:
        raise InvalidInputError(f"expected an array of three dimensions (z, y, x); found {values.ndim}")
    return values
