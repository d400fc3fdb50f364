"""Rows of series, studies and patients from the rows below them.

Every row is a function of the rows below it and of nothing else, so a catalog that followed an archive step by step
equals one that was made anew. The order of the rows below never matters: they are sorted first.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from researchpacs.catalog._alike import differences
from researchpacs.catalog._tables import keyword_columns, tables
from researchpacs.catalog._typed import flattened, typed_columns
from researchpacs.dicom.keywords import level_of

__all__ = ["common_of", "patient_row", "series_row", "study_row"]

Row = dict[str, Any]
Tags = Mapping[str, Any]

_ABSENT = object()
_ABOVE_SERIES = frozenset({"patient", "study"})
_GROUPS = "SharedFunctionalGroupsSequence"


def series_row(instances: Iterable[Row]) -> Row:
    """Make the row of a series from all its instances.

    ``tags`` has what all instances have in common, and of patient and study the first value there is: an object that
    leaves out the patient's sex does not take it from the others.
    """
    rows = sorted(instances, key=_by_number("InstanceNumber", "SOPInstanceUID", "instance_key"))
    first, all_tags = rows[0], [row["tags"] for row in rows]
    above = _first_of(all_tags, lambda keyword: level_of(keyword) in _ABOVE_SERIES)
    common = {
        keyword: value for keyword, value in common_of(all_tags).items() if level_of(keyword) not in _ABOVE_SERIES
    }
    tags = dict(sorted({**common, **above}.items()))
    values, _ = typed_columns(_first_flattened(all_tags), tables()["series"].columns)
    return values | {
        **_parents(first, "patient_key", "PatientID", "StudyInstanceUID", "SeriesInstanceUID"),
        "instance_count": len(rows),
        "frame_count": sum(row["frame_count"] for row in rows),
        "size_bytes": sum(row["size_bytes"] for row in rows),
        "first_sop_instance_uid": first["SOPInstanceUID"],
        "tags": tags,
    }


def common_of(all_tags: Sequence[Tags]) -> dict[str, Any]:
    """Attributes that all have, with the same value, be it nothing."""
    found = dict(all_tags[0])
    for tags, keywords in differences(all_tags):
        for keyword in list(found) if keywords is None else keywords:
            if keyword in found and not _is_same(tags.get(keyword, _ABSENT), found[keyword]):
                del found[keyword]
    return found


def study_row(series: Iterable[Row]) -> Row:
    """Make the row of a study from all its series; of patient and study ``tags`` has the first value there is."""
    rows = sorted(series, key=_by_number("SeriesNumber", "SeriesInstanceUID"))
    tags = _first_of([row["tags"] for row in rows], lambda keyword: level_of(keyword) in _ABOVE_SERIES)
    values, _ = typed_columns(tags, tables()["studies"].columns)
    return values | {
        **_parents(rows[0], "patient_key", "PatientID", "StudyInstanceUID"),
        "ModalitiesInStudy": sorted({row["Modality"] for row in rows if row["Modality"]}) or None,
        "series_count": len(rows),
        "instance_count": sum(row["instance_count"] for row in rows),
        "tags": tags,
    }


def patient_row(studies: Iterable[Row]) -> Row:
    """Make the row of a patient from all studies, the earliest first."""
    rows = sorted(studies, key=_by_number("StudyDate", "StudyInstanceUID"))
    tags = _first_of([row["tags"] for row in rows], lambda keyword: level_of(keyword) == "patient")
    values, _ = typed_columns(tags, tables()["patients"].columns)
    return values | {
        **_parents(rows[0], "patient_key", "PatientID"),
        "patient_search_name": values["PatientName"].lower() if values["PatientName"] else None,
        "study_count": len(rows),
        "series_count": sum(row["series_count"] for row in rows),
        "instance_count": sum(row["instance_count"] for row in rows),
        "tags": tags,
    }


def _by_number(number: str, *uids: str) -> Callable[[Row], tuple[Any, ...]]:
    """Sort by a number or date, those without one last, then by what is unique."""

    def key(row: Row) -> tuple[Any, ...]:
        value = row[number]
        return (value is None, value if value is not None else 0, *(row[uid] for uid in uids))

    return key


def _parents(row: Row, *names: str) -> Row:
    return {name: row[name] for name in names}


def _is_same(other: Any, value: Any) -> bool:
    if other is value:
        return True
    # 1 and 1.0 are equal in Python, and two values in JSON.
    if isinstance(value, (str, int)):
        return type(other) is type(value) and bool(other == value)
    return bool(other == value) and json.dumps(other) == json.dumps(value)


def _first_of(all_tags: Sequence[Tags], wanted: Callable[[str], bool]) -> dict[str, Any]:
    """For each wanted attribute the first value there is."""
    found: dict[str, Any] = {}
    settled: set[str] = set()
    for tags, keywords in differences(all_tags):
        for keyword in (tags.keys() if keywords is None else keywords & tags.keys()) - settled:
            if wanted(keyword):
                found[keyword] = tags[keyword]
            if not wanted(keyword) or tags[keyword] is not None:
                settled.add(keyword)
    return dict(sorted(found.items()))


def _first_flattened(all_tags: Sequence[Tags]) -> Tags:
    """For each attribute that is a column of series the first value there is, in functional groups too."""
    wanted = {column.keyword for column in keyword_columns("series") if column.keyword}
    found: dict[str, Any] = {}
    for tags, keywords in differences(all_tags):
        # In functional groups an attribute has another keyword above it.
        looked_at = wanted if keywords is None or _GROUPS in tags else wanted & keywords
        flat = flattened(tags)
        for keyword in looked_at - found.keys():
            if flat.get(keyword) is not None:
                found[keyword] = flat[keyword]
    return found
