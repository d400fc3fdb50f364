"""Siemens mosaics: the slices of a volume as tiles of one image, row by row from the top left.

The Standard does not know them: Rows, Columns and Image Position (Patient) are those of the whole picture. How many
tiles there are, and where their stack goes, is told by private attributes alone.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from researchpacs.dicom.attributes import HeaderLike, numbers_of, private_of, texts_of
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.dicom.siemens import csa_numbers
from researchpacs.dicom.stacks import StackedFrame

__all__ = ["Mosaic", "Tile", "is_mosaic", "mosaic_of", "tile_layout", "tiles_of"]

_MOST_TILES = 4096


@dataclass(frozen=True, slots=True)
class Mosaic:
    """How the slices of a mosaic lie."""

    tiles: int
    step: tuple[float, float, float]
    """LPS mm from one slice to the next."""
    position: tuple[float, float, float]
    """LPS mm of the centre of the first pixel of the first slice."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One slice of a mosaic, as `researchpacs.dicom.geometry.classify` wants it."""

    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    layout: PixelLayout | None


def is_mosaic(ds: HeaderLike) -> bool:
    """Whether an image says that it is a mosaic."""
    return "MOSAIC" in texts_of(ds, "ImageType")


def mosaic_of(ds: HeaderLike, layout: PixelLayout) -> Mosaic | None:
    """Read how the slices of a mosaic lie; None for what is none, or does not tell.

    The number of tiles and the direction in which they follow each other are Siemens' (CSA Image Header). The distance
    is Spacing Between Slices, for nothing else tells it: the one place where it makes geometry.
    """
    if not is_mosaic(ds):
        return None
    tiles = _tile_count(ds)
    spacing = numbers_of(ds, "SpacingBetweenSlices", 1)
    position = numbers_of(ds, "ImagePositionPatient", 3)
    cosines = numbers_of(ds, "ImageOrientationPatient", 6)
    pixel_spacing = numbers_of(ds, "PixelSpacing", 2)
    if tiles is None or spacing is None or position is None or cosines is None or pixel_spacing is None:
        return None
    across = math.isqrt(tiles - 1) + 1
    if layout.rows % across or layout.columns % across or spacing[0] <= 0:
        return None
    right, down = np.array(cosines[:3]), np.array(cosines[3:])
    told = csa_numbers(ds, "SliceNormalVector")
    normal = np.array(told[:3] if len(told) >= 3 else np.cross(right, down))
    if not abs(abs(normal @ np.cross(right, down)) - 1) <= 1e-3:
        return None
    # The position told is that of an image of the mosaic's size about the same centre.
    moved = right * pixel_spacing[1] * (layout.columns - layout.columns // across) / 2
    moved = moved + down * pixel_spacing[0] * (layout.rows - layout.rows // across) / 2
    first, step = np.array(position) + moved, normal * spacing[0]
    return Mosaic(tiles, tuple(map(float, step + 0.0)), tuple(map(float, first + 0.0)))  # type: ignore[arg-type]


def tile_layout(layout: PixelLayout, tiles: int) -> PixelLayout:
    """The layout of one slice."""
    across = math.isqrt(tiles - 1) + 1
    return replace(layout, rows=layout.rows // across, columns=layout.columns // across)


def tiles_of(frame: StackedFrame) -> tuple[Tile, ...]:
    """Give the slices of a mosaic where they are."""
    tiles, step = frame.traits.tiles or 0, frame.traits.tile_step or ()
    if frame.layout is None or frame.position is None:
        return ()
    layout = tile_layout(frame.layout, tiles)
    orientation = None if frame.orientation is None else tuple(frame.orientation)
    spacing = None if frame.pixel_spacing is None else tuple(frame.pixel_spacing)
    places = np.array(frame.position) + np.arange(tiles)[:, None] * np.array(step)
    return tuple(Tile(tuple(place), orientation, spacing, layout) for place in places.tolist())


def _tile_count(ds: HeaderLike) -> int | None:
    told = private_of(ds, 0x0019, "SIEMENS MR HEADER", 0x0A)
    numbers = csa_numbers(ds, "NumberOfImagesInMosaic") or ([float(told)] if isinstance(told, int) else [])
    count = int(numbers[0]) if numbers else 0
    return count if 1 < count <= _MOST_TILES else None
