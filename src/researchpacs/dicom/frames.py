"""Where each frame of an image is: in the patient, and in the file.

Single-frame images say so at the top level (Image Plane, PS3.3 C.7.6.2), enhanced multi-frame images in functional
groups (C.7.6.16), shared by all frames or one item per frame; dose grids by offsets (RT Dose, C.8.8.3), images of
Nuclear Medicine by vectors (C.8.4.8).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from researchpacs.dicom.attributes import HeaderLike, items_of, numbers_of
from researchpacs.dicom.frame_traits import UNKNOWN, UNTIMED, Timing, Traits, timing_of, traits_of
from researchpacs.dicom.mosaics import mosaic_of
from researchpacs.dicom.nuclear import Nuclear, nuclear_of
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.dicom.values import reading_quietly

__all__ = ["FrameRow", "frames_of"]

AXIAL = 0.999
"""Cosine between the normal of a plane and the patient's z from which on it is axial."""


@dataclass(frozen=True, slots=True)
class FrameRow:
    """One frame as its instance describes it."""

    index: int
    """Zero-based in its instance."""
    position: tuple[float, ...] | None
    """(x, y, z), LPS mm of the centre of the first pixel; of a mosaic, of its first slice."""
    orientation: tuple[float, ...] | None
    """Six LPS cosines: of increasing column index, then of increasing row index."""
    pixel_spacing: tuple[float, ...] | None
    """mm between rows, mm between columns."""
    rescale_slope: float
    """Of a dose grid Dose Grid Scaling. NaN where what the instance says is no number, or a table (Modality LUT)."""
    rescale_intercept: float
    """NaN as the slope."""
    dimension_indices: tuple[int, ...] | None
    """Dimension Index Values, one for each item of the Dimension Index Sequence."""
    byte_offset: int | None
    byte_length: int | None
    layout: PixelLayout
    traits: Traits = UNKNOWN
    timing: Timing = UNTIMED


def frames_of(ds: HeaderLike, layout: PixelLayout | None, ranges: Sequence[tuple[int, int]] | None) -> list[FrameRow]:
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
        shared = next(iter(items_of(ds, "SharedFunctionalGroupsSequence")), None)
        own = items_of(ds, "PerFrameFunctionalGroupsSequence")
        alike = (traits_of(ds), timing_of(ds)) if shared is None and not own else None
        image = _Image(
            ds=ds,
            layout=layout,
            shared=shared,
            own=own,
            dose_offsets=_dose_offsets(ds, layout),
            alike=alike,
            nuclear=nuclear_of(ds, layout, alike[1]) if alike else None,
        )
        return [
            image.frame(index, ranges[index] if ranges is not None and index < len(ranges) else None)
            for index in range(layout.number_of_frames)
        ]


@dataclass(frozen=True, slots=True)
class _Image:
    ds: HeaderLike
    layout: PixelLayout
    shared: HeaderLike | None
    own: Sequence[HeaderLike]
    dose_offsets: np.ndarray | None
    alike: tuple[Traits, Timing] | None
    """Of all frames, where no functional groups tell them apart."""
    nuclear: Nuclear | None

    def frame(self, index: int, span: tuple[int, int] | None) -> FrameRow:
        values = self.macro(index, "PixelValueTransformationSequence") or self.ds
        measures = self.macro(index, "PixelMeasuresSequence") or self.ds
        plane = self.macro(index, "PlaneOrientationSequence") or self.ds
        content = self.macro(index, "FrameContentSequence")
        dimension_indices = None if content is None else numbers_of(content, "DimensionIndexValues")
        orientation = numbers_of(plane, "ImageOrientationPatient", 6)
        orientation = self.nuclear.orientation if orientation is None and self.nuclear else orientation
        macro = partial(self.macro, index)
        traits, timing = self.alike or (traits_of(self.ds, macro), timing_of(self.ds, macro))
        mosaic = mosaic_of(self.ds, self.layout) if self.alike and index == 0 else None
        if mosaic is not None:
            traits = replace(traits, tiles=mosaic.tiles, tile_step=mosaic.step)
        if self.nuclear is not None:
            traits, timing = replace(traits, stack_id=self.nuclear.stack_ids[index]), self.nuclear.timings[index]
        return FrameRow(
            index=index,
            position=self.position(index, orientation) if mosaic is None else mosaic.position,
            orientation=orientation,
            pixel_spacing=numbers_of(measures, "PixelSpacing", 2),
            rescale_slope=_rescale(values, "RescaleSlope", _rescale(self.ds, "DoseGridScaling", 1.0)),
            rescale_intercept=_rescale(values, "RescaleIntercept", 0.0),
            dimension_indices=None if dimension_indices is None else tuple(int(one) for one in dimension_indices),
            byte_offset=None if span is None else span[0],
            byte_length=None if span is None else span[1],
            layout=self.layout,
            traits=traits,
            timing=timing,
        )

    def position(self, index: int, orientation: tuple[float, ...] | None) -> tuple[float, ...] | None:
        plane = self.macro(index, "PlanePositionSequence")
        if plane is not None:
            return numbers_of(plane, "ImagePositionPatient", 3)
        if self.nuclear is not None and self.nuclear.positions[index] is not None:
            return self.nuclear.positions[index]
        position = numbers_of(self.ds, "ImagePositionPatient", 3)
        if position is None or index == 0:
            return position
        # One position on top of many frames is the first one's; only a dose grid says where the others are.
        if self.dose_offsets is None or orientation is None:
            return None
        normal = np.cross(orientation[:3], orientation[3:])
        placed = np.asarray(position) + self.dose_offsets[index] * normal
        return (float(placed[0]), float(placed[1]), float(placed[2]))

    def macro(self, index: int, keyword: str) -> HeaderLike | None:
        """The functional group of a frame: its own, else the shared one (C.7.6.16.1.1 allows one of them)."""
        for groups in (*self.own[index : index + 1], self.shared):
            found = None if groups is None else next(iter(items_of(groups, keyword)), None)
            if found is not None:
                return found
        return None


def _dose_offsets(ds: HeaderLike, layout: PixelLayout) -> np.ndarray | None:
    """Distances of the planes from Image Position (Patient) along the normal (PS3.3 C.8.8.3.2, both of its forms)."""
    offsets = numbers_of(ds, "GridFrameOffsetVector")
    if offsets is None or len(offsets) != layout.number_of_frames:
        return None
    along = np.asarray(offsets) - offsets[0]
    if offsets[0] == 0:
        return along
    # Else they are z coordinates, which the Standard allows for axial planes only; their normal may point down.
    cosines = numbers_of(ds, "ImageOrientationPatient", 6)
    up = 0.0 if cosines is None else cosines[0] * cosines[4] - cosines[1] * cosines[3]
    return along * np.sign(up) if abs(up) > AXIAL else None


def _rescale(ds: HeaderLike, keyword: str, absent: float) -> float:
    """A factor or a term of the rescale; NaN where it is unknown, for a wrong one would go unnoticed."""
    try:
        is_absent = ds.get(keyword) in (None, "")
    except Exception:  # as in `numbers_of`
        is_absent = False
    if is_absent:
        return np.nan if "ModalityLUTSequence" in ds else absent
    return (numbers_of(ds, keyword, 1) or (np.nan,))[0]
