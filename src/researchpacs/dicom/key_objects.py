"""Images that somebody pointed out, as plain values: by key object selections (PS3.3 A.35.4, PS3.16 TID 2010) and by
presentation states (PS3.3 C.11.11).

Nothing here fails on a broken object: what cannot be read is None, or left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset

from researchpacs.dicom._content_items import BROKEN, Names, below, concept_name, first, items, kind, text_of
from researchpacs.dicom._evidence import evidence_of
from researchpacs.dicom._moment import moment_of
from researchpacs.dicom.codes import Code

__all__ = ["KEY_OBJECTS", "PRESENTATION_STATES", "KeyImage", "key_images"]

KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
"""Key Object Selection Document Storage."""
PRESENTATION_STATES = "1.2.840.10008.5.1.4.1.1.11."
"""Beginning of the SOP Class UIDs of presentation states."""

_DESCRIPTION: Names = frozenset({("113012", "DCM")})
_OBSERVER: Names = frozenset({("121008", "DCM")})
_POINTS = frozenset({"IMAGE", "COMPOSITE", "WAVEFORM"})


@dataclass(frozen=True, slots=True)
class KeyImage:
    """One instance that was pointed out; None where the object says nothing."""

    kind: str
    """``"key_object"`` or ``"presentation_state"``."""
    title: Code | None
    """Document title of a key object selection."""
    label: str | None
    """Content Label of a presentation state."""
    text: str | None
    """What somebody wrote about it."""
    study_uid: str | None
    series_uid: str | None
    sop_uid: str
    sop_class_uid: str | None
    frame_numbers: tuple[int, ...]
    """One-based; empty for the whole instance."""
    annotation_count: int
    """Graphics and texts that a presentation state draws on it."""
    author: str | None
    created_at: datetime | None
    """With a time zone where the object tells one."""


def key_images(ds: Dataset) -> list[KeyImage]:
    """Read what a key object selection or a presentation state points out; nothing of another object."""
    sop_class = text_of(ds, "SOPClassUID") or ""
    if sop_class == KEY_OBJECTS:
        return list(_selected(ds))
    return list(_presented(ds)) if sop_class.startswith(PRESENTATION_STATES) else []


def _selected(ds: Dataset) -> Iterator[KeyImage]:
    evidence = evidence_of(ds)
    content = list(below(ds))
    observer = first(content, _OBSERVER)
    for item in content:
        for reference in items(item, "ReferencedSOPSequence") if kind(item) in _POINTS else []:
            uid = text_of(reference, "ReferencedSOPInstanceUID")
            if uid is None:
                continue
            source = evidence.get(uid)
            yield KeyImage(
                kind="key_object",
                title=concept_name(ds),
                label=None,
                text=text_of(first(content, _DESCRIPTION), "TextValue"),
                study_uid=source.study_uid if source else None,
                series_uid=source.series_uid if source else None,
                sop_uid=uid,
                sop_class_uid=text_of(reference, "ReferencedSOPClassUID"),
                frame_numbers=_frame_numbers(reference),
                annotation_count=0,
                author=text_of(observer, "PersonName") or text_of(observer, "TextValue"),
                created_at=moment_of(ds, "ContentDate", "ContentTime"),
            )


def _presented(ds: Dataset) -> Iterator[KeyImage]:
    drawn = items(ds, "GraphicAnnotationSequence")
    for series_uid, reference in _shown(ds):
        uid = text_of(reference, "ReferencedSOPInstanceUID")
        if uid is None:
            continue
        yield KeyImage(
            kind="presentation_state",
            title=None,
            label=text_of(ds, "ContentLabel"),
            text=text_of(ds, "ContentDescription"),
            study_uid=text_of(ds, "StudyInstanceUID"),
            series_uid=series_uid,
            sop_uid=uid,
            sop_class_uid=text_of(reference, "ReferencedSOPClassUID"),
            frame_numbers=_frame_numbers(reference),
            annotation_count=sum(_marks(one) for one in drawn if _concerns(one, uid)),
            author=text_of(ds, "ContentCreatorName"),
            created_at=moment_of(ds, "PresentationCreationDate", "PresentationCreationTime"),
        )


def _shown(ds: Dataset) -> Iterator[tuple[str | None, Dataset]]:
    """Series and reference of each image, those of blended states included (C.11.11, C.11.14)."""
    for owner in (ds, *items(ds, "BlendingSequence")):
        for series in items(owner, "ReferencedSeriesSequence"):
            for reference in items(series, "ReferencedImageSequence"):
                yield text_of(series, "SeriesInstanceUID"), reference


def _concerns(annotation: Dataset, uid: str) -> bool:
    """Whether marks are of an image; those that name none are of all (C.10.5)."""
    named = items(annotation, "ReferencedImageSequence")
    return not named or any(text_of(one, "ReferencedSOPInstanceUID") == uid for one in named)


def _marks(annotation: Dataset) -> int:
    return len(items(annotation, "GraphicObjectSequence")) + len(items(annotation, "TextObjectSequence"))


def _frame_numbers(reference: Dataset) -> tuple[int, ...]:
    try:
        value = reference["ReferencedFrameNumber"].value
        return tuple(int(one) for one in (value if hasattr(value, "__iter__") else [value]))
    except BROKEN:
        return ()
