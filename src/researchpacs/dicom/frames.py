"""Where each frame of an image is: in the patient, and in the file.

Single-frame images say so at the top level (Image Plane, PS3.3 C.7.6.2), enhanced multi-frame images in functional
groups (C.7.6.16), shared by all frames or one item per frame; dose grids by offsets (RT Dose, C.8.8.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from researchpacs.dicom.pixels import PixelLayout
from researchpacs.dicom.values import reading_quietly

__all__ = ["FrameRow", "frames_of"]


@dataclass(frozen=True, slots=True)
class FrameRow:
    """One frame as its instance describes it."""

    index: int
    """Zero-based in its instance."""
    position: tuple[float, ...] | None
    """(x, y, z), LPS mm of the centre of the first pixel."""
    orientation: tuple[float, ...] | None
    """Six LPS cosines: of increasing column index, then of increasing row index."""
    pixel_spacing: tuple[float, ...] | None
    """mm between rows, mm between columns."""
    rescale_slope: float
    rescale_intercept: float
    dimension_indices: tuple[int, ...] | None
    """Dimension Index Values, one for each item of the Dimension Index Sequence."""
    byte_offset: int | None
    byte_length: int | None
    layout: PixelLayout


def frames_of(ds: Dataset, layout: PixelLayout | None, ranges: Sequence[tuple[int, int]] | None) -> list[FrameRow]:
    """Describe every frame of an instance.

    Parameters
    ----------
    ds
        The instance's header.
    layout
        How its pixels are written; None for what is no image, which has no frames.
    ranges
        Offset and length in the file of each frame, None where the data set is deflated.
    """
    if layout is None:
        return []
    with reading_quietly():
        shared = _Groups([*_items(ds, "SharedFunctionalGroupsSequence")[:1]])
        own = _items(ds, "PerFrameFunctionalGroupsSequence")
        offsets = _dose_offsets(ds, layout)
        return [
            _frame(ds, index, own[index : index + 1], shared, offsets, layout, ranges)
            for index in range(layout.number_of_frames)
        ]


class _Groups:
    """Functional groups to look in, the first that has a macro wins (PS3.3 C.7.6.16.1.1)."""

    def __init__(self, items: Sequence[Dataset]) -> None:
        self._items = items

    def macro(self, keyword: str) -> Dataset | None:
        for item in self._items:
            found = _items(item, keyword)
            if found:
                return found[0]
        return None


def _frame(
    ds: Dataset,
    index: int,
    own: Sequence[Dataset],
    shared: _Groups,
    offsets: np.ndarray | None,
    layout: PixelLayout,
    ranges: Sequence[tuple[int, int]] | None,
) -> FrameRow:
    groups = _Groups(own)

    def where(keyword: str) -> Dataset:
        # A macro stands in the frame's own group or in the shared one, never in both; classic images have it on top.
        return groups.macro(keyword) or shared.macro(keyword) or ds

    values = where("PixelValueTransformationSequence")
    offset, length = ranges[index] if ranges is not None and index < len(ranges) else (None, None)
    content = groups.macro("FrameContentSequence")
    dimension_indices = None if content is None else _numbers(content, "DimensionIndexValues")
    orientation = _numbers(where("PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    return FrameRow(
        index=index,
        position=_position(ds, where("PlanePositionSequence"), index, orientation, offsets, layout),
        orientation=orientation,
        pixel_spacing=_numbers(where("PixelMeasuresSequence"), "PixelSpacing", 2),
        rescale_slope=(_numbers(values, "RescaleSlope", 1) or (1.0,))[0],
        rescale_intercept=(_numbers(values, "RescaleIntercept", 1) or (0.0,))[0],
        dimension_indices=None if dimension_indices is None else tuple(int(one) for one in dimension_indices),
        byte_offset=offset,
        byte_length=length,
        layout=layout,
    )


def _position(
    ds: Dataset,
    plane: Dataset,
    index: int,
    orientation: tuple[float, ...] | None,
    offsets: np.ndarray | None,
    layout: PixelLayout,
) -> tuple[float, ...] | None:
    position = _numbers(plane, "ImagePositionPatient", 3)
    if position is None or plane is not ds or layout.number_of_frames == 1:
        return position
    # One position on top of many frames is the first one's; only a dose grid says where the others are.
    if offsets is None or orientation is None:
        return position if index == 0 else None
    normal = np.cross(orientation[:3], orientation[3:])
    placed = np.asarray(position) + offsets[index] * normal
    return (float(placed[0]), float(placed[1]), float(placed[2]))


def _dose_offsets(ds: Dataset, layout: PixelLayout) -> np.ndarray | None:
    """Distances of the planes from Image Position (Patient) along the normal (PS3.3 C.8.8.3.2, both of its forms)."""
    offsets = _numbers(ds, "GridFrameOffsetVector")
    if offsets is None or len(offsets) != layout.number_of_frames:
        return None
    # With a first value other than zero they are z coordinates, which the Standard allows for axial planes only.
    return np.asarray(offsets) - offsets[0]


def _items(ds: Dataset, keyword: str) -> Sequence[Dataset]:
    try:
        return ds.get(keyword) or []
    except Exception:  # a sequence that pydicom cannot read holds nothing to place a frame with
        return []


def _numbers(ds: Dataset, keyword: str, count: int | None = None) -> tuple[float, ...] | None:
    """The finite numbers of an attribute; None where it is absent, broken, or has another number of values."""
    try:
        value: Any = ds.get(keyword)
        if value is None or value == "":
            return None
        numbers = tuple(float(one) for one in np.atleast_1d(np.asarray(value, dtype=float)))
    except Exception:  # pydicom raises whatever a broken value trips over; `values.read_tags` tells it
        return None
    usable = np.isfinite(numbers).all() and len(numbers) == (count or len(numbers))
    return numbers if usable and numbers else None
