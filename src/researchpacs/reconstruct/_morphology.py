"""What masks are made of: parts, holes, erosion and dilation in mm, and their way to ITK and back."""

from typing import Any

import numpy as np
import SimpleITK
import xarray as xr
from numpy.typing import NDArray

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.reconstruct.grid import leading_of
from researchpacs.volume import Dicom
from researchpacs.volume.arguments import as_number
from researchpacs.volume.frame import AXES

__all__ = ["as_mask", "dilated", "eroded", "fill", "image_of", "noted", "parts"]


def parts(mask: xr.DataArray, *, smallest_mm3: float = 0.0) -> xr.DataArray:
    """Number the connected parts of a mask, face to face, from 1 for the largest; 0 is background.

    Parameters
    ----------
    mask
        Booleans, dimensions z, y, x.
    smallest_mm3
        Smaller parts become background.

    Returns
    -------
    labels
        int32 on the same grid.
    """
    voxel_mm3 = float(np.prod(Dicom(mask).spacing))
    components = SimpleITK.ConnectedComponent(image_of(mask))
    fewest = int(np.ceil(as_number(smallest_mm3, "smallest_mm3") / voxel_mm3 - 1e-9))
    numbered = SimpleITK.RelabelComponent(components, minimumObjectSize=max(0, fewest), sortByObjectSize=True)
    labels = SimpleITK.GetArrayFromImage(numbered).astype(np.int32)
    return noted(mask.transpose(*AXES).copy(data=labels), mask, "connected parts")


def fill(mask: xr.DataArray, *, along: str | None = None) -> xr.DataArray:
    """Fill the holes of a mask.

    Parameters
    ----------
    mask
        Booleans, dimensions z, y, x.
    along
        None: cavities that are closed in three dimensions. ``"z"``, ``"y"`` or ``"x"``: holes in each plane across this
        axis, such as the lungs of a body that is cut off at the top.
    """
    if along is None:
        return as_mask(SimpleITK.BinaryFillhole(image_of(mask)), mask, "filled")
    if along not in AXES:
        raise InvalidInputError(f"along={along!r}: expected None, 'z', 'y' or 'x'")
    values = np.moveaxis(booleans(mask), AXES.index(along), 0)
    filled = np.stack([_filled_plane(plane) for plane in values])
    back = np.moveaxis(filled, 0, AXES.index(along))
    return noted(mask.transpose(*AXES).copy(data=np.ascontiguousarray(back)), mask, f"filled across {along}")


def eroded(mask: xr.DataArray, radius_mm: float) -> xr.DataArray:
    """Take off what is no further than a radius from what is no mask; beyond the volume the mask goes on."""
    return mask.transpose(*AXES).copy(data=~_near(image_of(mask) == 0, radius_mm))


def dilated(mask: xr.DataArray, radius_mm: float) -> xr.DataArray:
    """Add what is no further than a radius from the mask."""
    return mask.transpose(*AXES).copy(data=_near(image_of(mask), radius_mm))


def _near(source: SimpleITK.Image, radius_mm: float) -> NDArray[np.bool_]:
    """Which voxels are within a radius of those that are not 0: by distances, so that every radius costs the same."""
    marked = SimpleITK.GetArrayViewFromImage(source)
    if not marked.any() or marked.all():  # there is no border to measure from
        return np.asarray(marked > 0)
    distance = SimpleITK.SignedMaurerDistanceMap(
        source, insideIsPositive=False, squaredDistance=True, useImageSpacing=True
    )
    return np.asarray(SimpleITK.GetArrayViewFromImage(distance) <= radius_mm**2)


def image_of(mask: xr.DataArray) -> SimpleITK.Image:
    """The mask in ITK's way, with spacing but without a place, so that sheared grids do as well."""
    image = SimpleITK.GetImageFromArray(booleans(mask).astype(np.uint8))
    image.SetSpacing([float(mm) for mm in reversed(Dicom(mask).spacing)])
    return image


def as_mask(image: SimpleITK.Image, vol: xr.DataArray, done: str) -> xr.DataArray:
    data = SimpleITK.GetArrayFromImage(image).astype(np.bool_)
    return noted(vol.transpose(*AXES).copy(data=data), vol, done)


def noted(mask: xr.DataArray, vol: xr.DataArray, done: str) -> xr.DataArray:
    """Of the attributes a mask keeps whose it is; unit, modality and padding speak of the values."""
    attrs: dict[str, Any] = {k: vol.attrs[k] for k in ("SeriesInstanceUID", "StudyInstanceUID") if k in vol.attrs}
    made = mask.copy(deep=False)
    made.attrs = {**attrs, "history": (*vol.attrs.get("history", ()), done)}
    made.name = None
    return made


def _filled_plane(plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
    image = SimpleITK.GetImageFromArray(plane.astype(np.uint8))
    return np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.BinaryFillhole(image)) > 0)


def booleans(mask: xr.DataArray) -> NDArray[np.bool_]:
    if leading_of(mask):
        raise GeometryError(f"a mask has dimensions z, y, x; found {tuple(mask.dims)}")
    if mask.dtype != np.bool_:
        raise InvalidInputError(f"a mask holds booleans; found {mask.dtype}: compare first, as with labels == 1")
    return np.asarray(mask.transpose(*AXES).values)
