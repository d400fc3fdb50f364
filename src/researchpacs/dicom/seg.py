"""Segments of segmentations, as plain values (PS3.3 C.8.20): what each is, and how much of the patient it covers.

Binary, fractional and labelmap segmentations are read alike. Nothing here fails on a broken object: what cannot be
read is None.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from pydicom.dataset import Dataset

from researchpacs.dicom._content_items import as_code, items, text_of
from researchpacs.dicom._evidence import Source, only_series, referenced_instances
from researchpacs.dicom._moment import moment_of
from researchpacs.dicom.codes import Code
from researchpacs.errors import PixelDataError

__all__ = ["SOP_CLASSES", "Amount", "Plane", "Segment", "count_voxels", "grid", "planes", "segments", "voxel_mm3"]

SOP_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
"""Segmentation Storage and Label Map Segmentation Storage."""

_ABSOLUTE_MM, _RELATIVE = 0.02, 0.05
"""What a distance between planes may be off, as for volumes."""
_SAME_PLANE_MM = 1e-3
_LABELS = 65_536
_LARGEST_MM3 = 1e9
"""Nobody is larger than that."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment and what its object says of it; None where it says nothing."""

    number: int
    label: str | None
    description: str | None
    segmentation_type: str | None
    """BINARY, FRACTIONAL or LABELMAP."""
    algorithm_type: str | None
    """MANUAL, SEMIAUTOMATIC or AUTOMATIC."""
    algorithm: str | None
    """Name, with its version where that is told."""
    category: Code | None
    type: Code | None
    site: Code | None
    tracking_id: str | None
    tracking_uid: str | None
    series_uid: str | None
    """Of the images that were segmented, where it is one series."""
    study_uid: str | None
    frame_count: int | None
    """Frames of the object that are of this segment; None in a labelmap, whose frames are of all."""
    author: str | None
    created_at: datetime | None
    """With a time zone where the object tells one."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much a segment covers."""

    voxels: int
    """Voxels above zero; in a labelmap those of the segment's number."""
    filled: float
    """The same, each voxel of a fractional segment counted by its fraction."""


@dataclass(frozen=True, slots=True)
class Plane:
    """A frame: of which segment, and where its pixels are in the patient."""

    segment: int | None
    """None in a labelmap, whose frames are of all."""
    position: tuple[float, ...]
    """x, y, z in LPS mm of the centre of the first pixel."""
    orientation: tuple[float, ...]
    """LPS cosines of increasing column index, then of increasing row index."""
    pixel_spacing: tuple[float, ...]
    """mm between rows, mm between columns."""
    between_mm: float | None
    """Spacing Between Slices, where the object declares it."""


def segments(ds: Dataset) -> list[Segment]:
    """Read the segments of a segmentation, in its order; none of another object.

    Parameters
    ----------
    ds
        Its header; pixels need not be in it.
    """
    described = [(_number(one, "SegmentNumber"), one) for one in items(ds, "SegmentSequence")]
    sources = _sources(ds)
    frames = _frame_items(ds)
    owners = _frame_segments(ds, len(frames) or (_number(ds, "NumberOfFrames") or 0))
    by_number: dict[int | None, list[Dataset]] = {}
    for frame, owner in zip(frames, owners, strict=False):
        by_number.setdefault(owner, []).append(frame)
    counts = Counter(owners)
    return [
        _segment(ds, number, one, only_series(_source_images(by_number.get(number, ())), sources), counts[number])
        for number, one in described
        if number is not None
    ]


def count_voxels(ds: Dataset, frames: Iterable[np.ndarray]) -> dict[int, Amount]:
    """Count the voxels of each segment.

    Parameters
    ----------
    ds
        The header.
    frames
        Decoded frames, ``(rows, columns)``, in the object's order; one at a time is held.

    Returns
    -------
    amounts
        By segment number; also of numbers that the object does not describe.

    Raises
    ------
    PixelDataError
        The frames of a labelmap are no labels.
    """
    if _type_of(ds) == "LABELMAP":
        totals = np.zeros(_LABELS, np.int64)
        for frame in frames:
            if frame.dtype not in (np.uint8, np.uint16):
                raise PixelDataError(f"a labelmap has unsigned values of 8 or 16 bits, found {frame.dtype}")
            counts = np.bincount(frame.ravel())
            totals[: len(counts)] += counts
        return {int(number): Amount(int(totals[number]), float(totals[number])) for number in np.flatnonzero(totals)}
    highest = _number(ds, "MaximumFractionalValue") or 255 if _type_of(ds) == "FRACTIONAL" else 1
    owners = _frame_segments(ds, _number(ds, "NumberOfFrames") or 1)
    found: dict[int, Amount] = {}
    for frame, number in zip(frames, owners, strict=False):
        if number is not None:
            before = found.get(number, Amount(0, 0.0))
            filled = float(np.minimum(frame, highest).sum(dtype=np.int64)) / highest
            found[number] = Amount(before.voxels + int(np.count_nonzero(frame)), before.filled + filled)
    return found


def planes(ds: Dataset) -> list[Plane | None]:
    """Say where the frames are, in the object's order; None for one that has no place in the patient."""
    shared = next(iter(items(ds, "SharedFunctionalGroupsSequence")), Dataset())
    found: list[Plane | None] = []
    for frame, segment in zip(frames := _frame_items(ds), _frame_segments(ds, len(frames)), strict=True):
        groups = [frame, shared]
        position = _vector(_macro(groups, "PlanePositionSequence"), "ImagePositionPatient", 3)
        orientation = _vector(_macro(groups, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
        spacing, between = _measures(groups)
        if position is None or orientation is None or spacing is None:
            found.append(None)
        else:
            found.append(Plane(segment, position, orientation, spacing, between))
    return found


def grid(ds: Dataset) -> tuple[np.ndarray, int] | None:
    """Find the grid that all frames lie on, with those that are left out.

    Returns
    -------
    affine_lps, count
        (4, 4) from voxel index (z, y, x, 1) to LPS mm, z rising along the normal of the frames, and the number of
        planes. None where the frames have no place, several orientations or spacings, or no one distance.
    """
    places = planes(ds)
    known = [place for place in places if place is not None]
    if not known or len(known) < len(places):
        return None
    if len({(one.orientation, one.pixel_spacing) for one in known}) > 1:
        return None
    right, down = np.reshape(known[0].orientation, (2, 3))
    normal = np.cross(right, down)
    along = np.asarray([one.position for one in known], float) @ normal
    step = _step_mm(along, known[0].between_mm)
    away = np.asarray([one.position for one in known], float)
    first = away[int(along.argmin())]
    away, rise = away - first, along - along.min()
    count = 1 if rise.max() <= _SAME_PLANE_MM else 0 if step is None else round(float(rise.max()) / step) + 1
    if not count:
        return None
    # From plane to plane along the normal, or slanted where slices are stacked so: but on one line.
    slope = away[int(rise.argmax())] / rise.max() if count > 1 else normal
    if np.abs(away - np.outer(rise, slope)).max() > _ABSOLUTE_MM:
        return None
    rows, columns = known[0].pixel_spacing
    affine = np.eye(4)
    affine[:3, :3] = np.stack([slope * (step or 1.0), down * rows, right * columns], axis=1)
    affine[:3, 3] = first
    return affine, count


def voxel_mm3(ds: Dataset) -> float | None:
    """Volume of one voxel: pixel spacing times the distance between planes, which is measured from positions.

    None where it is not one for all frames, or where frames are not placed in the patient, as on a slide. A
    segmentation may leave out planes, so distances need only be multiples of the smallest, or of what the object
    declares as Spacing Between Slices. Slice thickness makes no geometry.
    """
    shared = next(iter(items(ds, "SharedFunctionalGroupsSequence")), Dataset())
    groups = [[frame, shared] for frame in _frame_items(ds)]
    measures = {_measures(group) for group in groups}
    orientations = {
        _vector(_macro(group, "PlaneOrientationSequence"), "ImageOrientationPatient", 6) for group in groups
    }
    positions = [_vector(_macro(group, "PlanePositionSequence"), "ImagePositionPatient", 3) for group in groups]
    if len(measures) != 1 or len(orientations) != 1 or not positions or None in positions:
        return None
    (spacing, declared), orientation = measures.pop(), orientations.pop()
    if spacing is None or orientation is None:
        return None
    normal = np.cross(orientation[:3], orientation[3:])
    step = _step_mm(np.asarray(positions, float) @ normal, declared)
    size = 0.0 if step is None else float(spacing[0] * spacing[1] * step)
    return size if 0 < size < _LARGEST_MM3 else None


def _segment(
    ds: Dataset, number: int, one: Dataset, imaged: tuple[str | None, str | None], frame_count: int
) -> Segment:
    kind = _type_of(ds)
    return Segment(
        number=number,
        label=text_of(one, "SegmentLabel"),
        description=text_of(one, "SegmentDescription"),
        segmentation_type=kind,
        algorithm_type=text_of(one, "SegmentAlgorithmType"),
        algorithm=_algorithm(one),
        category=_code(one, "SegmentedPropertyCategoryCodeSequence"),
        type=_code(one, "SegmentedPropertyTypeCodeSequence"),
        site=_code(one, "AnatomicRegionSequence"),
        tracking_id=text_of(one, "TrackingID"),
        tracking_uid=text_of(one, "TrackingUID"),
        series_uid=imaged[0],
        study_uid=imaged[1] or text_of(ds, "StudyInstanceUID"),
        frame_count=None if kind == "LABELMAP" else frame_count,
        author=text_of(ds, "ContentCreatorName"),
        created_at=moment_of(ds, "ContentDate", "ContentTime"),
    )


def _type_of(ds: Dataset) -> str | None:
    return text_of(ds, "SegmentationType")


def _algorithm(one: Dataset) -> str | None:
    for identification in items(one, "SegmentationAlgorithmIdentificationSequence"):
        name, version = text_of(identification, "AlgorithmName"), text_of(identification, "AlgorithmVersion")
        if name:
            return f"{name} {version}" if version else name
    return text_of(one, "SegmentAlgorithmName")


def _code(one: Dataset, keyword: str) -> Code | None:
    return next((code for item in items(one, keyword) if (code := as_code(item))), None)


# -- frames ------------------------------------------------------------------------------------------------------------


def _frame_items(ds: Dataset) -> list[Dataset]:
    return items(ds, "PerFrameFunctionalGroupsSequence")


def _frame_segments(ds: Dataset, count: int) -> list[int | None]:
    """The segment of each frame; by their order where tiles fill a slide segment after segment (C.7.6.17.3)."""
    found: list[int | None] = []
    shared = next(iter(items(ds, "SharedFunctionalGroupsSequence")), Dataset())
    for frame in _frame_items(ds):
        own = _macro([frame, shared], "SegmentIdentificationSequence")
        found.append(None if own is None else _number(own, "ReferencedSegmentNumber"))
    numbers = [_number(one, "SegmentNumber") for one in items(ds, "SegmentSequence")]
    if not found and numbers and text_of(ds, "DimensionOrganizationType") == "TILED_FULL" and not count % len(numbers):
        return [number for number in numbers for _ in range(count // len(numbers))]
    return found


def _sources(ds: Dataset) -> dict[str, Source]:
    found = referenced_instances(ds, text_of(ds, "StudyInstanceUID"), "ReferencedInstanceSequence")
    for study in items(ds, "StudiesContainingOtherReferencedInstancesSequence"):
        found |= referenced_instances(study, text_of(study, "StudyInstanceUID"), "ReferencedInstanceSequence")
    return found


def _source_images(frames: Iterable[Dataset]) -> set[str]:
    return {
        uid
        for frame in frames
        for derivation in items(frame, "DerivationImageSequence")
        for image in items(derivation, "SourceImageSequence")
        if (uid := text_of(image, "ReferencedSOPInstanceUID"))
    }


# -- the size of a voxel -----------------------------------------------------------------------------------------------


def _macro(groups: Sequence[Dataset], keyword: str) -> Dataset | None:
    """The functional group of a frame: its own, else the shared one."""
    return next((item for group in groups for item in items(group, keyword)), None)


def _measures(groups: Sequence[Dataset]) -> tuple[tuple[float, ...] | None, float | None]:
    """Pixel spacing, and the distance between planes as the object declares it."""
    macro = _macro(groups, "PixelMeasuresSequence")
    declared = _vector(macro, "SpacingBetweenSlices", 1)
    return _vector(macro, "PixelSpacing", 2), abs(declared[0]) if declared else None


def _step_mm(along: np.ndarray, declared: float | None) -> float | None:
    """Distance between neighbouring planes, from where the planes are along their normal."""
    ordered = np.sort(along)
    gaps = np.diff(ordered)
    gaps = gaps[gaps > _SAME_PLANE_MM]
    if not len(gaps):
        return declared or None
    for step in (declared, float(gaps.min())):
        if step and step > _SAME_PLANE_MM:
            off = np.abs(gaps - np.maximum(np.round(gaps / step), 1) * step)
            if (off <= max(_ABSOLUTE_MM, _RELATIVE * step)).all():
                return step
    return None


def _number(ds: Dataset, keyword: str) -> int | None:
    try:
        return int(ds[keyword].value)
    except (AttributeError, LookupError, TypeError, ValueError):
        return None


def _vector(ds: Dataset | None, keyword: str, count: int) -> tuple[float, ...] | None:
    if ds is None:
        return None
    try:
        found = tuple(float(one) for one in np.atleast_1d(np.asarray(ds[keyword].value, float)))
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError):
        return None
    return found if len(found) == count and np.isfinite(found).all() else None
