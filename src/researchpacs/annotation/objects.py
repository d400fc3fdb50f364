"""Annotations of all kinds to DICOM objects and back: reports, segmentations and structure sets."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

from researchpacs.annotation._header import Source, identified
from researchpacs.annotation._segment_voxels import Made, Stored
from researchpacs.annotation._told import one_line
from researchpacs.annotation.contour import Contour
from researchpacs.annotation.measurement import Measurement
from researchpacs.annotation.report import Evidence, from_datasets, to_datasets
from researchpacs.annotation.segmentation import Segmentation
from researchpacs.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Annotation", "Sources", "annotation_datasets", "annotations_of"]

Annotation = Measurement | Segmentation | Contour
Sources = Callable[[str], Source]
"""From a SeriesInstanceUID to the series."""

_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


def annotation_datasets(thing: object, *, evidence: Evidence, sources: Sources) -> "list[Dataset] | None":
    """Make objects of an annotation or a list of them; None for anything else.

    Parameters
    ----------
    thing
        Measurements become a report for each series and author, contours a structure set for each series, each
        segmentation an object of its own. One that was read back is the object it was read from.
    evidence
        As for `to_datasets`.
    sources
        Gives the series that a segmentation or a contour was drawn on.

    Raises
    ------
    NotFoundError
        A series is not there.
    UnsupportedError
        A series has no Frame of Reference.
    InvalidInputError
        A series is in another Frame of Reference than what was drawn; contours that were read from another
        structure set, whose object has to be ingested instead.
    """
    things = list(thing) if isinstance(thing, list | tuple) else [thing]
    if not things or not all(isinstance(one, Measurement | Segmentation | Contour) for one in things):
        return None
    measurements = [one for one in things if isinstance(one, Measurement)]
    made = to_datasets(measurements, evidence=evidence)
    made += [_segmentation(one, sources) for one in things if isinstance(one, Segmentation)]
    by_series: dict[str, list[Contour]] = {}
    for one in dict.fromkeys(one for one in things if isinstance(one, Contour)):
        by_series.setdefault(one.series_uid or "", []).append(one)
    return made + [_structure_set(found, sources) for found in by_series.values()]


def annotations_of(data: bytes) -> list[Annotation]:
    """Read the annotations that a stored object holds; none of other objects.

    Parameters
    ----------
    data
        A file, which has passed `researchpacs.dicom.scan.scan`.

    Raises
    ------
    GeometryError
        A structure set whose contours are no points.
    InvalidInputError
        It cannot be read, or is a segmentation without pixels or type.
    """
    from researchpacs.dicom import rtstruct, seg

    header = _header(data)
    sop_class = str(header.get("SOPClassUID") or "")
    if sop_class in seg.SOP_CLASSES:
        return [_read_segmentation(header, data)]
    return list(_read_contours(header)) if sop_class in rtstruct.SOP_CLASSES else list(from_datasets([header]))


# -- out ---------------------------------------------------------------------------------------------------------------


def _segmentation(one: Segmentation, sources: Sources) -> "Dataset":
    from pydicom import dcmread

    from researchpacs.annotation._compose_segmentation import compose

    if isinstance(one.voxels, Stored):
        return dcmread(BytesIO(one.voxels.data))
    if not isinstance(one.voxels, Made):
        raise InvalidInputError("a segmentation is made by Segmentation.from_mask and its likes")
    source = _source(one.series_uid, sources)
    _require_same_frame(one, source)
    return identified(compose(one, one.voxels, source), "segmentation")


def _structure_set(contours: Sequence[Contour], sources: Sources) -> "Dataset":
    from researchpacs.annotation._compose_structure_set import compose

    source = _source(contours[0].series_uid, sources)
    for one in contours:
        _require_same_frame(one, source)
        if not one.points_lps or set(one.geometric_types) != {"CLOSED_PLANAR"}:
            raise InvalidInputError(
                f"the region {one.label!r} has no closed contours on one series; ingest the structure set it comes from"
            )
    return identified(compose(contours, source), "structure set")


def _source(series_uid: str | None, sources: Sources) -> Source:
    source = sources(series_uid or "")
    if not source.frames:
        raise NotFoundError(
            f"no image of series {series_uid} to refer to; ingest the images before what is drawn on them"
        )
    return source


def _require_same_frame(one: Segmentation | Contour, source: Source) -> None:
    if source.frame_of_reference_uid != one.frame_of_reference_uid:
        raise InvalidInputError(
            f"what was drawn in Frame of Reference {one.frame_of_reference_uid} cannot be stored on series "
            f"{one.series_uid}, which is in {source.frame_of_reference_uid}; draw on the volume of the series itself"
        )


# -- back --------------------------------------------------------------------------------------------------------------


def _header(data: bytes) -> "Dataset":
    from pydicom import dcmread

    try:
        return dcmread(BytesIO(data), force=True, stop_before_pixels=True)
    except Exception as error:  # pydicom raises what it likes of a broken file
        raise InvalidInputError(f"the object cannot be read ({type(error).__name__})") from error


def _read_segmentation(header: "Dataset", data: bytes) -> Segmentation:
    from researchpacs.dicom.pixels import layout_of
    from researchpacs.dicom.seg import segments

    uid = str(header.get("SOPInstanceUID") or "")
    layout = layout_of(header, str(header.file_meta.get("TransferSyntaxUID") or ""))
    kind: Any = str(header.get("SegmentationType") or "")
    if layout is None or kind not in _KINDS:
        raise InvalidInputError(f"the segmentation ...{uid[-8:]} has no pixels, or no type of segmentation")
    found = [one for one in segments(header) if not (kind == "LABELMAP" and one.number == 0)]
    series = {one.series_uid for one in found}
    return Segmentation(
        kind=kind,
        segments=tuple(found),
        series_uid=(series.pop() if len(series) == 1 else None) or "",
        frame_of_reference_uid=str(header.get("FrameOfReferenceUID") or ""),
        author=one_line(found[0].author).rstrip("^") or None if found else None,
        created_at=_with_zone(found[0].created_at) if found else None,
        voxels=Stored(header, data, layout),
        history=_history(header, "DerivationDescription"),
        rle=layout.transfer_syntax_uid == "1.2.840.10008.1.2.5",
        sop_instance_uid=uid,
    )


def _read_contours(ds: "Dataset") -> Iterable[Contour]:
    from researchpacs.dicom.contours import contours_of, display_color
    from researchpacs.dicom.rtstruct import regions

    for one in regions(ds):
        drawn = contours_of(ds, one.number)
        yield Contour(
            label=one_line(one.name) or f"region {one.number}",
            points_lps=tuple(contour.points_lps for contour in drawn),
            series_uid=one.series_uid,
            frame_of_reference_uid=one.frame_of_reference_uid,
            colour=display_color(ds, one.number),
            number=one.number,
            roi_type=one.interpreted_type,
            type=one.type,
            geometric_types=tuple(contour.geometric_type for contour in drawn),
            author=one.interpreter,
            algorithm=one.algorithm,
            created_at=_with_zone(one.created_at),
            history=_history(ds, "StructureSetDescription"),
            sop_instance_uid=str(ds.get("SOPInstanceUID") or "") or None,
        )


def _history(ds: "Dataset", keyword: str) -> tuple[str, ...]:
    text = one_line(str(ds.get(keyword) or ""))
    return tuple(text.split("; ")) if text else ()


def _with_zone(time: datetime | None) -> datetime | None:
    return time.astimezone(UTC) if time and time.tzinfo else None
