"""What a stored object says, as rows of the tables in `OBJECT_TABLES`.

Reports, segmentations, structure sets and their likes are few beside images, so each is read whole from the archive.
A segmentation's voxels are counted here, within bounds.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from researchpacs.dicom.references import ObjectReference
from researchpacs.errors import PixelDataError

if TYPE_CHECKING:
    import numpy as np

    from researchpacs.archive import Archive, Stored
    from researchpacs.dicom.codes import Code
    from researchpacs.dicom.pixels import PixelLayout
    from researchpacs.dicom.seg import Amount, Segment

__all__ = ["MOST_VOXELS", "object_rows", "reference_rows", "says_more"]

Row = dict[str, Any]
Rows = dict[str, list[Row]]
Note = Callable[[str, str], None]

MOST_VOXELS = 1 << 30
"""Voxels of one segmentation up to which they are counted."""

_BITS = frozenset({1, 8, 16})
"""Bits Allocated of segmentations (PS3.3 C.8.20.2.1)."""
_SEGMENTATIONS = "1.2.840.10008.5.1.4.1.1.66."
_STRUCTURE_SETS = "1.2.840.10008.5.1.4.1.1.481.3"
_REPORTS = "1.2.840.10008.5.1.4.1.1.88."
_DOCUMENTS = "1.2.840.10008.5.1.4.1.1.104."
_PRESENTATION_STATES = "1.2.840.10008.5.1.4.1.1.11."
_KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"


def says_more(sop_class_uid: str) -> bool:
    """Whether objects of a class fill other tables than those of the four levels and their frames."""
    return sop_class_uid == _STRUCTURE_SETS or sop_class_uid.startswith(
        (_SEGMENTATIONS, _REPORTS, _DOCUMENTS, _PRESENTATION_STATES)
    )


def object_rows(archive: "Archive", stored: "Stored", ds: Dataset, note: Note) -> Rows:
    """Make the rows of one object, those of `reference_rows` left out.

    Parameters
    ----------
    archive
        Where a segmentation's voxels are read.
    stored
        The object.
    ds
        It, without its pixels.
    note
        Takes keyword and problem of what cannot be read: such an object is kept, and told.

    Returns
    -------
    rows
        By table.
    """
    made: Rows = {}
    for table, make, keyword in _MAKERS:
        try:
            found = make(archive, stored, ds, note)
        except Exception as error:  # an object that breaks its template is kept, and told
            note(keyword, f"holds no {table.removesuffix('_history')} that can be read ({type(error).__name__})")
            continue
        if found:
            made[table] = [{**row, **_owner(stored)} for row in found]
    return made


def reference_rows(instance: Row, references: Iterable[ObjectReference]) -> list[Row]:
    """Make the rows of ``object_references`` of an instance from its row of ``instances``."""
    owner = {name: instance[name] for name in ("PatientID", "patient_key", "StudyInstanceUID", "SeriesInstanceUID")}
    owner["object_sop_instance_uid"] = instance["SOPInstanceUID"]
    owner["object_key"], owner["changed_at"] = instance["instance_key"], instance["stored_at"]
    return [
        {
            **owner,
            "path": found.path,
            "referenced_sop_class_uid": found.sop_class_uid or None,
            "referenced_sop_instance_uid": found.sop_uid or None,
            "referenced_series_uid": found.series_uid or None,
            "referenced_study_uid": found.study_uid or None,
        }
        for found in references
    ]


def _owner(stored: "Stored") -> Row:
    return {
        "PatientID": stored.identity.patient_id or None,
        "patient_key": stored.identity.patient_key,
        "object_sop_instance_uid": stored.identity.sop_uid,
        "object_key": stored.key,
        "changed_at": datetime.fromisoformat(stored.stored_at).astimezone(UTC).replace(tzinfo=None),
    }


def _measurements(archive: "Archive", stored: "Stored", ds: Dataset, note: Note) -> list[Row]:
    if not stored.sop_class_uid.startswith(_REPORTS) or stored.sop_class_uid == _KEY_OBJECTS:
        return []
    from researchpacs.dicom.sr import measurement_rows

    return measurement_rows(ds)


def _segments(archive: "Archive", stored: "Stored", ds: Dataset, note: Note) -> list[Row]:
    from researchpacs.dicom import seg

    if stored.sop_class_uid not in seg.SOP_CLASSES:
        return []
    amounts = _amounts(archive, stored, ds, note)
    voxel_mm3 = seg.voxel_mm3(ds)
    return [_segment(one, amounts, voxel_mm3) for one in seg.segments(ds)]


def _segment(one: "Segment", amounts: "Mapping[int, Amount] | None", voxel_mm3: float | None) -> Row:
    from researchpacs.dicom._moment import as_utc
    from researchpacs.dicom.seg import Amount

    amount = None if amounts is None else amounts.get(one.number, Amount(0, 0.0))
    return {
        "SeriesInstanceUID": one.series_uid,
        "StudyInstanceUID": one.study_uid,
        "segment_number": one.number,
        "label": one.label,
        "description": one.description,
        "segmentation_type": one.segmentation_type,
        "algorithm_type": one.algorithm_type,
        "algorithm": one.algorithm,
        **_coded("category", one.category),
        **_coded("type", one.type),
        **_coded("site", one.site),
        "tracking_uid": one.tracking_uid,
        "tracking_id": one.tracking_id,
        "frame_count": one.frame_count,
        "voxel_count": None if amount is None else amount.voxels,
        "volume_mm3": None if amount is None or voxel_mm3 is None else amount.filled * voxel_mm3,
        "author": one.author,
        "created_at": as_utc(one.created_at),
    }


def _contours(archive: "Archive", stored: "Stored", ds: Dataset, note: Note) -> list[Row]:
    from researchpacs.dicom import rtstruct
    from researchpacs.dicom._moment import as_utc

    if stored.sop_class_uid not in rtstruct.SOP_CLASSES:
        return []
    return [
        {
            "SeriesInstanceUID": one.series_uid,
            "StudyInstanceUID": one.study_uid,
            "roi_number": one.number,
            "roi_name": one.name,
            "description": one.description,
            "roi_type": one.interpreted_type,
            **_coded("type", one.type),
            "generation": one.generation,
            "geometric_types": list(one.geometric_types) or None,
            "contour_count": one.contour_count,
            "point_count": one.point_count,
            "image_count": one.image_count,
            "volume_mm3": _enclosed(ds, one.number, note),
            "frame_of_reference_uid": one.frame_of_reference_uid,
            "structure_set_label": one.structure_set_label,
            "created_at": as_utc(one.created_at),
        }
        for one in rtstruct.regions(ds)
    ]


def _enclosed(ds: Dataset, number: int, note: Note) -> float | None:
    from math import isfinite

    from researchpacs.dicom.contours import contour_volume_mm3, contours_of
    from researchpacs.errors import GeometryError

    try:
        volume = contour_volume_mm3(contours_of(ds, number))
    except GeometryError as error:
        note("ROIContourSequence", str(error))
        return None
    return volume if volume is not None and isfinite(volume) else None


def _key_images(archive: "Archive", stored: "Stored", ds: Dataset, note: Note) -> list[Row]:
    from researchpacs.dicom._moment import as_utc
    from researchpacs.dicom.key_objects import key_images

    return [
        {
            "SeriesInstanceUID": one.series_uid,
            "StudyInstanceUID": one.study_uid or stored.identity.study_uid,
            "SOPInstanceUID": one.sop_uid,
            "SOPClassUID": one.sop_class_uid,
            "frame_numbers": list(one.frame_numbers) or None,
            "kind": one.kind,
            "title_code": str(one.title) if one.title else None,
            "title": one.title.meaning if one.title else one.label,
            "key_text": one.text,
            "annotation_count": one.annotation_count,
            "author": one.author,
            "created_at": as_utc(one.created_at),
        }
        for one in key_images(ds)
    ]


def _reports(archive: "Archive", stored: "Stored", ds: Dataset, note: Note) -> list[Row]:
    from researchpacs.catalog._documents import document_text
    from researchpacs.dicom._moment import as_utc
    from researchpacs.dicom.report_text import report_of

    one = None if stored.sop_class_uid == _KEY_OBJECTS else report_of(ds)
    if one is None:
        return []
    row = {
        "kind": one.kind,
        "title_code": str(one.title_code) if one.title_code else None,
        "title": one.title,
        "report_text": document_text(ds, one.mime_type, note) if one.kind == "encapsulated" else one.text,
        "mime_type": one.mime_type,
        "completion": one.completion,
        "verification": one.verification,
        "author": one.author,
        "created_at": as_utc(one.created_at),
    }
    return [_parents(stored) | row]


def _doses(archive: "Archive", stored: "Stored", ds: Dataset, note: Note) -> list[Row]:
    if not stored.sop_class_uid.startswith(_REPORTS):
        return []
    from researchpacs.dicom._moment import as_utc
    from researchpacs.dicom.dose import doses
    from researchpacs.dicom.sr import evaluated

    found = []
    for one in doses(ds):
        row = {
            "event_index": one.event_index,
            "event_uid": one.event_uid,
            **_coded("section", one.section),
            **_coded("quantity", one.quantity),
            "value": one.value,
            "unit": one.unit,
            **evaluated(one.value, one.unit, one.unit_scheme),
            "protocol": one.protocol,
            **_coded("region", one.region),
            "acquisition": one.acquisition.meaning if one.acquisition else None,
            "started_at": as_utc(one.started_at),
            "created_at": as_utc(one.created_at),
        }
        found.append(_parents(stored) | row)
    return found


_MAKERS = (
    ("measurements_history", _measurements, "ContentSequence"),
    ("segments_history", _segments, "SegmentSequence"),
    ("contours", _contours, "StructureSetROISequence"),
    ("key_images", _key_images, ""),
    ("reports", _reports, "ContentSequence"),
    ("doses", _doses, "ContentSequence"),
)


def _parents(stored: "Stored") -> Row:
    return {"SeriesInstanceUID": stored.identity.series_uid, "StudyInstanceUID": stored.identity.study_uid}


def _coded(name: str, code: "Code | None") -> Row:
    return {f"{name}_code": str(code) if code else None, name: code.meaning if code else None}


# -- voxels ------------------------------------------------------------------------------------------------------------


def _amounts(archive: "Archive", stored: "Stored", ds: Dataset, note: Note) -> "dict[int, Amount] | None":
    """Count a segmentation's voxels; None where they are too many or cannot be read, which is told."""
    from researchpacs.dicom.pixels import layout_of
    from researchpacs.dicom.seg import count_voxels

    layout = layout_of(ds, stored.transfer_syntax_uid)
    if layout is None or layout.samples_per_pixel != 1 or layout.bits_allocated not in _BITS:
        note("PixelData", "is no segmentation's: its voxels were not counted")
        return None
    if layout.rows * layout.columns * max(layout.number_of_frames, 1) > MOST_VOXELS:
        note("PixelData", f"has more than {MOST_VOXELS} voxels: they were not counted")
        return None
    try:
        return count_voxels(ds, _frames(archive, stored, layout))
    except PixelDataError:
        note("PixelData", "cannot be decoded: its voxels were not counted")
        return None


def _frames(archive: "Archive", stored: "Stored", layout: "PixelLayout") -> "Iterator[np.ndarray]":
    """Decode frame after frame, read one by one where they are ranges of whole bytes."""
    from researchpacs.dicom.encapsulation import frame_ranges
    from researchpacs.dicom.file_frames import frames_of_file
    from researchpacs.dicom.pixels import decode_frame, decode_frames

    def read(offset: int, length: int) -> bytes:
        return archive.read(stored.key, offset, length)

    if "byte-ranges" not in archive.capabilities:
        yield from frames_of_file(archive.read(stored.key), layout)
        return
    ranges = frame_ranges(read, stored.header_length, stored.size, layout)
    if ranges is None:
        yield from decode_frames(archive.read(stored.key), layout)
        return
    _check_count(layout, len(ranges))
    for offset, length in ranges:
        yield decode_frame(read(offset, length), layout)


def _check_count(layout: "PixelLayout", count: int) -> None:
    if count != layout.number_of_frames:
        raise PixelDataError(f"{layout.number_of_frames} frames are declared, {count} are there")
