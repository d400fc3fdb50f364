"""What a document rests on: the instances it lists with their series and studies (PS3.3 C.17.2.3, C.17.6.2.1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydicom.dataset import Dataset

from researchpacs.dicom._content_items import items, text_of

__all__ = ["Source", "evidence_of", "only_series", "referenced_instances"]

_NOT_IMAGED = ("1.2.840.10008.5.1.4.1.1.66", "1.2.840.10008.5.1.4.1.1.88", "1.2.840.10008.5.1.4.1.1.11.")
"""Beginnings of SOP Class UIDs of segmentations and registrations, reports, presentation states."""
_RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
_EVIDENCE = ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")


@dataclass(frozen=True, slots=True)
class Source:
    """Where an instance belongs that a document names."""

    series_uid: str
    study_uid: str | None
    is_imaged: bool
    """Whether it may have been looked at, rather than derived."""


def evidence_of(ds: Dataset) -> dict[str, Source]:
    """Read the instances that a report says it rests on, by SOPInstanceUID."""
    found: dict[str, Source] = {}
    for name in _EVIDENCE:
        for study in items(ds, name):
            found |= referenced_instances(study, text_of(study, "StudyInstanceUID"), "ReferencedSOPSequence")
    return found


def referenced_instances(owner: Dataset, study_uid: str | None, instances: str) -> dict[str, Source]:
    """Read a Referenced Series Sequence, by SOPInstanceUID.

    Parameters
    ----------
    owner
        What the sequence stands in.
    study_uid
        The study that it speaks of.
    instances
        Keyword of the sequence of instances in each of its items.
    """
    found: dict[str, Source] = {}
    for series in items(owner, "ReferencedSeriesSequence"):
        series_uid = text_of(series, "SeriesInstanceUID")
        for instance in items(series, instances):
            uid = text_of(instance, "ReferencedSOPInstanceUID")
            if uid and series_uid:
                found[uid] = Source(series_uid, study_uid, _is_imaged(instance))
    return found


def only_series(named: Iterable[str], sources: Mapping[str, Source]) -> tuple[str | None, str | None]:
    """Series and study of the instances named, else of all sources, where they are of one series; else nothing."""
    known = [source for uid in named if (source := sources.get(uid)) and source.is_imaged]
    among = known or [source for source in sources.values() if source.is_imaged]
    found = {source.series_uid: source.study_uid for source in among}
    return next(iter(found.items())) if len(found) == 1 else (None, None)


def _is_imaged(reference: Dataset) -> bool:
    sop_class = text_of(reference, "ReferencedSOPClassUID") or ""
    return not sop_class.startswith(_NOT_IMAGED) and sop_class != _RT_STRUCTURE_SET
