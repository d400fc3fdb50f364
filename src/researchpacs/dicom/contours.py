"""Contours of a structure set's regions: their points, and the volume they enclose (PS3.3 C.8.8.6).

Points are (x, y, z) LPS mm, in the Frame of Reference of their region.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from researchpacs.dicom._content_items import BROKEN, items, text_of
from researchpacs.dicom.polygons import even_odd_area
from researchpacs.errors import GeometryError

__all__ = ["AREAS", "Drawn", "contour_volume_mm3", "contours_of", "display_color"]

AREAS = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
"""Contour Geometric Types that enclose an area."""

_FLAT_MM = 0.02
_RELATIVE = 0.05
_MOST_POINTS = 1 << 20
"""Of one region, to be measured."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One contour."""

    geometric_type: str | None
    points_lps: NDArray[np.float64]
    """``(n, 3)``, finite."""
    image_uids: tuple[str, ...]
    """Instances that it says it was drawn on."""


def contours_of(ds: Dataset, number: int) -> list[Drawn]:
    """Read the contours of a region, in the order of the structure set.

    Parameters
    ----------
    ds
        The structure set.
    number
        ROI Number (3006,0022).

    Raises
    ------
    GeometryError
        A contour whose data are no points: not three finite numbers each.
    """
    found = [contour for roi in _drawings(ds, number) for contour in items(roi, "ContourSequence")]
    return [_drawn(contour, f"contour {at} of region {number}") for at, contour in enumerate(found)]


def display_color(ds: Dataset, number: int) -> tuple[int, int, int] | None:
    """Read the colour of a region, red, green and blue of 255; None where it has none."""
    for roi in _drawings(ds, number):
        try:
            red, green, blue = (int(value) for value in roi["ROIDisplayColor"].value)
        except BROKEN:
            continue
        if all(0 <= value <= 255 for value in (red, green, blue)):
            return red, green, blue
    return None


def contour_volume_mm3(contours: Sequence[Drawn]) -> float | None:
    """Measure what contours enclose: their areas, even-odd on each plane, times the distance between planes.

    None where they do not say: other contours than closed planar ones, less than two planes, planes that are not
    parallel or whose distances are not multiples of the smallest, too many points to be measured.
    """
    if not contours or any(one.geometric_type not in AREAS for one in contours):
        return None
    if sum(len(one.points_lps) for one in contours) > _MOST_POINTS:
        return None
    found = _planes([one.points_lps for one in contours])
    if found is None:
        return None
    planes, step = found
    try:
        return step * sum(even_odd_area(plane) for plane in planes)
    except GeometryError:
        return None


def _drawings(ds: Dataset, number: int) -> list[Dataset]:
    found = []
    for roi in items(ds, "ROIContourSequence"):
        try:
            is_meant = int(roi["ReferencedROINumber"].value) == number
        except BROKEN:
            continue
        if is_meant:
            found.append(roi)
    return found


def _drawn(contour: Dataset, name: str) -> Drawn:
    images = (text_of(image, "ReferencedSOPInstanceUID") for image in items(contour, "ContourImageSequence"))
    return Drawn(text_of(contour, "ContourGeometricType"), _points(contour, name), tuple(uid for uid in images if uid))


def _points(contour: Dataset, name: str) -> NDArray[np.float64]:
    """Make numbers of Contour Data at once: as decimal strings of pydicom a million would take half a minute."""
    try:
        element: Any = contour.get_item("ContourData")
        value = None if element is None else element.value
        if isinstance(element, RawDataElement) and isinstance(value, bytes):
            text = value.strip(b"\0 ")
            numbers = np.array(text.split(b"\\") if text else [], dtype=np.bytes_).astype(np.float64)
        else:
            numbers = np.asarray([] if value is None else value, np.float64).reshape(-1)
    except BROKEN as error:
        raise GeometryError(f"{name} has data that are no numbers") from error
    if len(numbers) % 3 or not np.isfinite(numbers).all():
        raise GeometryError(f"{name} has {len(numbers)} values, not three finite ones for each point")
    return numbers.reshape(-1, 3)


# -- planes ------------------------------------------------------------------------------------------------------------


def _planes(contours: Sequence[NDArray[np.float64]]) -> tuple[list[list[NDArray[np.float64]]], float] | None:
    """Contours plane by plane, in mm along two directions in it, and the distance between planes."""
    axes = _axes(contours)
    if axes is None:
        return None
    placed = [points @ axes.T for points in contours if len(points)]
    if any(np.ptp(points[:, 2]) > _FLAT_MM for points in placed):
        return None
    levels, owner = _levels(np.array([points[:, 2].mean() for points in placed]))
    step = _step(levels)
    if step is None:
        return None
    return [[placed[at][:, :2] for at in np.flatnonzero(owner == level)] for level in range(len(levels))], step


def _axes(contours: Sequence[NDArray[np.float64]]) -> NDArray[np.float64] | None:
    """Two directions in the plane and its normal, as rows; of the contour with the largest area."""
    normals = [_area_vector(points) for points in contours]
    normal = max(normals, key=lambda one: float(one @ one))
    length = float(np.linalg.norm(normal))
    if not np.isfinite(length) or length <= 0:
        return None
    normal = normal / length
    right = np.cross(normal, np.eye(3)[int(np.argmin(np.abs(normal)))])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(normal, right), normal])


def _area_vector(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal to a polygon, as long as its area."""
    if len(points) < 3:
        return np.zeros(3)
    centred = points - points.mean(axis=0)
    vector: NDArray[np.float64] = np.cross(centred, np.roll(centred, -1, axis=0)).sum(axis=0) / 2
    return vector


def _levels(heights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Heights of the planes, in order, and which of them each contour is on."""
    order = np.argsort(heights)
    starts = np.concatenate([[True], np.diff(heights[order]) > _FLAT_MM])
    owner = np.empty(len(heights), np.int64)
    owner[order] = np.cumsum(starts) - 1
    return heights[order][starts], owner


def _step(levels: NDArray[np.float64]) -> float | None:
    """The distance between planes: the smallest, which all others are multiples of."""
    gaps = np.diff(levels)
    if not len(gaps):
        return None
    smallest = float(gaps.min())
    # Rounded in the file, a step is better known from all that are single.
    step = float(gaps[np.round(gaps / smallest) == 1].mean())
    off = np.abs(gaps - np.round(gaps / step) * step)
    return step if (off <= max(_FLAT_MM, _RELATIVE * step)).all() else None
