"""Regions of RT structure sets, as plain values (PS3.3 C.8.8.5, C.8.8.6, C.8.8.8).

Nothing here fails on a broken object: what cannot be read is None, or not counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from researchpacs.dicom._content_items import BROKEN, as_code, items, text_of
from researchpacs.dicom._evidence import Source, only_series
from researchpacs.dicom._moment import moment_of
from researchpacs.dicom.codes import Code

__all__ = ["SOP_CLASSES", "Region", "regions"]

SOP_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.481.3"})
"""RT Structure Set Storage."""


@dataclass(frozen=True, slots=True)
class Region:
    """One region of interest; None where the object says nothing."""

    number: int
    name: str | None
    description: str | None
    interpreted_type: str | None
    """Such as PTV, ORGAN, EXTERNAL."""
    generation: str | None
    """AUTOMATIC, SEMIAUTOMATIC or MANUAL."""
    algorithm: str | None
    """ROI Generation Description, of an automatic one."""
    interpreter: str | None
    """Who drew it."""
    type: Code | None
    contour_count: int
    point_count: int
    geometric_types: tuple[str, ...]
    """Such as CLOSED_PLANAR; each once, sorted."""
    image_count: int
    """Instances that its contours name as where they were drawn."""
    frame_of_reference_uid: str | None
    series_uid: str | None
    """Of the images it was drawn on, where it is one series."""
    study_uid: str | None
    structure_set_label: str | None
    created_at: datetime | None
    """With a time zone where the object tells one."""


def regions(ds: Dataset) -> list[Region]:
    """Read the regions of a structure set, in its order; none of another object."""
    contours = _by_number(ds, "ROIContourSequence", "ReferencedROINumber")
    observations = _by_number(ds, "RTROIObservationsSequence", "ReferencedROINumber")
    return [
        _region(ds, number, roi, contours.get(number, []), observations.get(number, []))
        for number, rois in _by_number(ds, "StructureSetROISequence", "ROINumber").items()
        for roi in rois
    ]


def _region(ds: Dataset, number: int, roi: Dataset, drawn: list[Dataset], observed: list[Dataset]) -> Region:
    contours = [contour for one in drawn for contour in items(one, "ContourSequence")]
    frame = text_of(roi, "ReferencedFrameOfReferenceUID")
    images = {uid for contour in contours for uid in _images(contour)}
    series_uid, study_uid = only_series(images, _sources(ds, frame))
    generation = text_of(roi, "ROIGenerationAlgorithm")
    kinds = {kind for contour in contours if (kind := text_of(contour, "ContourGeometricType"))}
    return Region(
        number=number,
        name=text_of(roi, "ROIName"),
        description=text_of(roi, "ROIDescription"),
        interpreted_type=_first_text(observed, "RTROIInterpretedType"),
        generation=generation,
        algorithm=text_of(roi, "ROIGenerationDescription") if generation == "AUTOMATIC" else None,
        interpreter=(_first_text(observed, "ROIInterpreter") or "").rstrip("^") or None,
        type=_code(observed),
        contour_count=len(contours),
        point_count=sum(_point_count(contour) for contour in contours),
        geometric_types=tuple(sorted(kinds)),
        image_count=len(images),
        frame_of_reference_uid=frame,
        series_uid=series_uid,
        study_uid=study_uid or text_of(ds, "StudyInstanceUID"),
        structure_set_label=text_of(ds, "StructureSetLabel"),
        created_at=moment_of(ds, "StructureSetDate", "StructureSetTime"),
    )


def _by_number(ds: Dataset, sequence: str, number: str) -> dict[int, list[Dataset]]:
    found: dict[int, list[Dataset]] = {}
    for item in items(ds, sequence):
        try:
            found.setdefault(int(item[number].value), []).append(item)
        except BROKEN:
            continue
    return found


def _first_text(candidates: Iterable[Dataset], keyword: str) -> str | None:
    return next((text for one in candidates if (text := text_of(one, keyword))), None)


def _code(observed: Iterable[Dataset]) -> Code | None:
    codes = (item for one in observed for item in items(one, "RTROIIdentificationCodeSequence"))
    return next((code for item in codes if (code := as_code(item))), None)


def _point_count(contour: Dataset) -> int:
    """Count the triples of Contour Data, without making numbers of what may be megabytes of text."""
    try:
        element: Any = contour.get_item("ContourData")
    except BROKEN:
        return 0
    value = None if element is None else element.value
    if isinstance(element, RawDataElement) and isinstance(value, bytes):
        count = value.count(b"\\") + 1 if value.strip(b"\0 ") else 0
    else:
        count = len(value) if isinstance(value, MultiValue | list) else 0
    return count // 3


def _images(contour: Dataset) -> set[str]:
    return {
        uid for image in items(contour, "ContourImageSequence") if (uid := text_of(image, "ReferencedSOPInstanceUID"))
    }


def _sources(ds: Dataset, frame: str | None) -> dict[str, Source]:
    """The images that the structure set rests on; where it says in which frame of reference, those of the region's."""
    found: dict[str, dict[str, Source]] = {}
    for reference in items(ds, "ReferencedFrameOfReferenceSequence"):
        images = found.setdefault(text_of(reference, "FrameOfReferenceUID") or "", {})
        for study in items(reference, "RTReferencedStudySequence"):
            study_uid = text_of(study, "ReferencedSOPInstanceUID")
            for series in items(study, "RTReferencedSeriesSequence"):
                series_uid = text_of(series, "SeriesInstanceUID")
                for image in items(series, "ContourImageSequence"):
                    uid = text_of(image, "ReferencedSOPInstanceUID")
                    if uid and series_uid:
                        images[uid] = Source(series_uid, study_uid, is_imaged=True)
    if frame in found:
        return found[frame]
    return {uid: source for images in found.values() for uid, source in images.items()}
