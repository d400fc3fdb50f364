"""Which objects an instance points at, from its attributes as `researchpacs.dicom.values` gives them (PS3.3 10.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ObjectReference", "object_references"]

_SERIES_SEQUENCES = frozenset({"ReferencedSeriesSequence", "RTReferencedSeriesSequence"})


@dataclass(frozen=True, slots=True, order=True)
class ObjectReference:
    """One object that an instance points at."""

    path: str
    """Keywords of the sequences it is named in, outermost first, joined by dots; one within its like stands once."""
    sop_class_uid: str
    """Empty where it is not told, or where a whole series is meant."""
    sop_uid: str
    """Empty where a whole series is meant."""
    series_uid: str
    """Empty where it is not told."""
    study_uid: str
    """Empty where it is not told."""


def object_references(tags: Mapping[str, Any]) -> list[ObjectReference]:
    """Find every reference in an instance's attributes, however deep; each once, sorted.

    A reference is an item with a Referenced SOP Instance UID, or an item of a sequence of series that names a series
    and no instance of it.
    """
    found: set[ObjectReference] = set()
    waiting: list[tuple[Mapping[str, Any], str, str, str]] = [(tags, "", "", "")]
    while waiting:
        item, path, study_uid, series_uid = waiting.pop()
        if path:
            study_uid = _uid(item, "StudyInstanceUID") or study_uid
            series_uid = _uid(item, "SeriesInstanceUID") or series_uid
        uid = _uid(item, "ReferencedSOPInstanceUID")
        if uid:
            found.add(ObjectReference(path, _uid(item, "ReferencedSOPClassUID"), uid, series_uid, study_uid))
        elif path.rpartition(".")[2] in _SERIES_SEQUENCES and series_uid and not _names_instances(item):
            found.add(ObjectReference(path, "", "", series_uid, study_uid))
        for keyword, value in item.items():
            items = value.get("value") if keyword[0] == "(" and isinstance(value, dict) else value
            if isinstance(items, list) and items and isinstance(items[0], dict):
                below = path if path.rpartition(".")[2] == keyword else f"{path}.{keyword}".lstrip(".")
                waiting += [(one, below, study_uid, series_uid) for one in items if isinstance(one, dict)]
    return sorted(found)


def _uid(item: Mapping[str, Any], keyword: str) -> str:
    value = item.get(keyword)
    return value if isinstance(value, str) else ""


def _names_instances(item: Mapping[str, Any]) -> bool:
    return any(
        isinstance(value, list) and any(isinstance(one, dict) and "ReferencedSOPInstanceUID" in one for one in value)
        for value in item.values()
    )
