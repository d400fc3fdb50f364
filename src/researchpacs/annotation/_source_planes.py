"""Which frames of a series planes of a grid lie in, so that what is drawn can refer to them and fill whole frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from researchpacs.dicom.seg import Plane
from researchpacs.model import Frame

__all__ = ["Canvas", "canvas_of", "frames_at"]

_OFF_MM = 0.02
_OFF_PIXELS = 0.02
_COSINE = 1e-4

Met = tuple[Frame, tuple[int, int]]
"""A frame whose pixels a plane's fall on, and where the plane's first pixel is in it: row and column."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What the frames of an object look like that is drawn on planes of a grid."""

    rows: int
    columns: int
    origin: tuple[int, int]
    """Row and column of the grid's first voxel in them."""
    positions: tuple[tuple[float, ...], ...]
    """By plane, LPS mm of the first pixel."""
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, ...]
    frames: tuple[tuple[Frame, ...], ...]
    """By plane, the frames of the series that have the very same pixels; all empty where the grid is another."""


def canvas_of(planes: Sequence[Plane], shape: tuple[int, int], frames: Sequence[Frame]) -> Canvas:
    """Draw on whole frames of the series where the grid is part of them, else on the grid's own planes.

    Parameters
    ----------
    planes
        Of one grid, which share orientation and spacing.
    shape
        Rows and columns of the grid.
    frames
        Of the series.
    """
    found = frames_at(planes, frames)
    origins = {origin for here in found for _, origin in here}
    sizes = {(frame.layout.rows, frame.layout.columns) for here in found for frame, _ in here}
    first = found[0][0][0] if all(found) else None
    is_one_place = len(origins) == 1 and len(sizes) == 1
    if first is not None and is_one_place:
        (origin,), (room,) = origins, sizes
        if all(at >= 0 and at + size <= most for at, size, most in zip(origin, shape, room, strict=True)):
            return Canvas(
                rows=room[0],
                columns=room[1],
                origin=origin,
                positions=tuple(here[0][0].position or () for here in found),
                orientation=first.orientation or (),
                pixel_spacing=first.pixel_spacing or (),
                frames=tuple(tuple(frame for frame, _ in here) for here in found),
            )
    return Canvas(
        rows=shape[0],
        columns=shape[1],
        origin=(0, 0),
        positions=tuple(plane.position for plane in planes),
        orientation=planes[0].orientation,
        pixel_spacing=planes[0].pixel_spacing,
        frames=tuple(() for _ in planes),
    )


def frames_at(planes: Sequence[Plane], frames: Sequence[Frame]) -> list[list[Met]]:
    """Find the frames that each plane of a grid lies in, pixel on pixel."""
    orientation, spacing = np.array(planes[0].orientation), np.array(planes[0].pixel_spacing)
    right, down = orientation[:3], orientation[3:]
    known = [one for one in frames if one.position and _is_alike(one, orientation, spacing)]
    if not known:
        return [[] for _ in planes]
    places = np.array([one.position for one in known])
    axes = np.stack([np.cross(right, down), down / spacing[0], right / spacing[1]])
    found: list[list[Met]] = []
    for plane in planes:
        off = (plane.position - places) @ axes.T
        pixels = np.rint(off[:, 1:])
        is_met = (np.abs(off[:, 0]) <= _OFF_MM) & (np.abs(off[:, 1:] - pixels) <= _OFF_PIXELS).all(axis=1)
        found.append([(known[at], (int(pixels[at, 0]), int(pixels[at, 1]))) for at in np.flatnonzero(is_met)])
    return found


def _is_alike(frame: Frame, orientation: "np.ndarray", spacing: "np.ndarray") -> bool:
    if frame.orientation is None or frame.pixel_spacing is None:
        return False
    apart = np.abs(np.subtract(frame.orientation, orientation)).max()
    scale = np.abs(np.subtract(frame.pixel_spacing, spacing) / spacing).max()
    return bool(apart <= _COSINE and scale <= _COSINE)
