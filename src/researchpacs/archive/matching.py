"""Find by the matching rules of DICOM's queries (PS3.4 C.2.2.2), with what is known of each match and below it.

Filters are those of `Find`, and these besides: attributes of lower levels hold where one object below has them all;
ModalitiesInStudy is an attribute of every level; person names match in any case and by each of their component groups.
Identifiers and JSON paths come from `INDEXED` only; every value is bound.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from researchpacs.archive._embedded import EmbeddedArchive
from researchpacs.archive._levels import COLUMN, KEYS, SOURCE, TABLE
from researchpacs.archive._names import PLAIN, have_name, is_simple, name_matches, name_resembles, trimmed
from researchpacs.dicom.keywords import INDEXED, LEVELS, nearest, vr_of
from researchpacs.errors import InvalidInputError
from researchpacs.model import Find, Level, Row

__all__ = ["Match", "find_matches", "is_indexed"]

_ORDER: Mapping[str, str] = {
    "patient": "patients.patient_key",
    "study": "studies.study_uid, studies.patient_key",
    "series": "series.series_uid, series.study_uid, series.patient_key",
    "instance": "instances.sop_uid, instances.key",
}
_COLUMN = {**COLUMN, "SOPClassUID": "instances.sop_class_uid"}
_NUMBERS = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
# SQLite refuses longer patterns, and deeper expressions.
_LONGEST_PATTERN, _MOST_PATTERNS = 10_000, 500
_MODALITIES = "ModalitiesInStudy"
_BELOW_STUDY = """
select
    (select json_group_array(distinct json_extract(attributes, '$.Modality')) from series
        where patient_key = :patient_key and study_uid = :study_uid) as modalities,
    (select count(*) from series
        where patient_key = :patient_key and study_uid = :study_uid) as series_count,
    (select count(*) from instances
        where patient_key = :patient_key and study_uid = :study_uid) as instance_count
"""
_BELOW_SERIES = """
select count(*) as instance_count from instances
where patient_key = :patient_key and study_uid = :study_uid and series_uid = :series_uid
"""


@dataclass(frozen=True, slots=True)
class Match:
    """An object that matches."""

    attributes: Row
    """Indexed attributes of its level and of all above."""
    sop_class_uid: str
    """Of an instance; empty for the other levels."""
    modalities: tuple[str, ...] = ()
    """In the study, sorted; empty for a patient."""
    study_series: int = 0
    study_instances: int = 0
    series_instances: int = 0


def is_indexed(keyword: str) -> bool:
    """Whether objects can be found by this attribute."""
    return keyword == _MODALITIES or any(keyword in keywords for keywords in INDEXED.values())


def find_matches(archive: EmbeddedArchive, query: Find, *, fuzzy: bool = False) -> list[Match]:
    """Find what matches, in the order of UIDs.

    Parameters
    ----------
    query
        An empty list matches nothing; an empty text what has no value.
    fuzzy
        Person names match where they sound or look alike (`researchpacs.archive._names`).

    Raises
    ------
    InvalidInputError
        An attribute that is not indexed.
    """
    with archive.ledger.reading() as con:
        con.create_function("name_matches", 2, name_matches, deterministic=True)
        con.create_function("name_resembles", 2, name_resembles, deterministic=True)
        sql, bound = _compiled(query, fuzzy=fuzzy)
        rows = con.execute(sql, bound).fetchall()
        counted: dict[tuple[str, ...], sqlite3.Row] = {}
        return [_match(con, row, query.level, counted) for row in rows]


def _compiled(query: Find, *, fuzzy: bool) -> tuple[str, list[str | int]]:
    if query.level not in TABLE:
        raise InvalidInputError(f"level is one of {', '.join(LEVELS)}; found {query.level!r}")
    depth = LEVELS.index(query.level)
    conditions, values = ["true"], list[str | int]()
    below: dict[str, list[tuple[str, object]]] = {}
    for keyword, wanted in query.filters.items():
        level = _level_of(keyword, query.level)
        if LEVELS.index(level) > depth or keyword == _MODALITIES:
            # The modality of any series of the study, whatever series the others are about.
            below.setdefault(_MODALITIES if keyword == _MODALITIES else level, []).append((keyword, wanted))
            continue
        by_name = keyword == "PatientName" and depth > 0
        expression = _expression(keyword, level, "one" if by_name else None)
        condition, bound = _condition(expression, keyword, wanted, fuzzy=fuzzy)
        conditions.append(have_name(condition) if by_name else condition)
        values += bound
    for group, filters in below.items():
        condition, bound = _exists(query.level, "series" if group == _MODALITIES else group, filters, fuzzy=fuzzy)
        conditions.append(condition)
        values += bound
    attributes = ", ".join(f"{TABLE[level]}.attributes" for level in LEVELS[: depth + 1])
    keys = ", ".join(f"{TABLE[query.level]}.{name}" for name in _names(query.level))
    sql = f"""
        select {keys}, json_array({attributes}) as attributes
        from {SOURCE[query.level]}
        where {" and ".join(conditions)}
        order by {_ORDER[query.level]}
        limit ? offset ?
        """  # noqa: S608 - built from the constants above
    return sql, [*values, -1 if query.limit is None else query.limit, query.offset]


def _names(level: Level) -> tuple[str, ...]:
    if level == "instance":
        return ("patient_key", "study_uid", "series_uid", "sop_class_uid")
    return KEYS[level]


def _level_of(keyword: str, level: Level) -> str:
    """The level whose attributes hold the keyword: the lowest that is not below `level`, else the next one down."""
    if keyword == _MODALITIES:
        return "study"
    holding = [name for name in LEVELS if keyword in INDEXED[name]]
    if not holding:
        meant = nearest(keyword)
        hint = f"; did you mean {meant}?" if meant and meant != keyword else ""
        raise InvalidInputError(f"{keyword} is not among the attributes that an archive indexes{hint}")
    depth = LEVELS.index(level)
    above = [name for name in holding if LEVELS.index(name) <= depth]
    return above[-1] if above else holding[0]


def _expression(keyword: str, level: str, table: str | None = None) -> str:
    if keyword in _COLUMN and table is None:
        return _COLUMN[keyword]
    if keyword in _COLUMN:
        return f"{table}.{_COLUMN[keyword].partition('.')[2]}"
    return f"json_extract({table or TABLE[level]}.attributes, '$.{keyword}')"


def _exists(level: Level, below: str, filters: Sequence[tuple[str, object]], *, fuzzy: bool) -> tuple[str, list[str]]:
    """One object of a lower level, or series of the same study, that meets all of the filters."""
    table = TABLE[level]
    shared = ("patient_key",) if level == "patient" else ("patient_key", "study_uid")
    if level == "series" and below == "instance":
        shared = (*shared, "series_uid")
    conditions, values = [f"below.{name} = {table}.{name}" for name in shared], list[str]()
    for keyword, wanted in filters:
        held = "Modality" if keyword == _MODALITIES else keyword
        condition, bound = _condition(_expression(held, below, "below"), held, wanted, fuzzy=fuzzy)
        conditions.append(condition)
        values += bound
    condition = " and ".join(conditions)
    return f"exists (select 1 from {TABLE[below]} as below where {condition})", values  # noqa: S608 - constants


def _condition(expression: str, keyword: str, wanted: object, *, fuzzy: bool) -> tuple[str, list[str]]:
    if isinstance(wanted, str):
        return _matches(expression, keyword, wanted, fuzzy=fuzzy)
    if isinstance(wanted, tuple):
        return _within(expression, keyword, wanted)
    if not (isinstance(wanted, Sequence) and all(isinstance(one, str) for one in wanted)):
        raise InvalidInputError(f"a filter is a text, a list of texts or a tuple (low, high), that of {keyword} is not")
    if vr_of(keyword) == "UI" or not any(_has_wildcard(one) for one in wanted):
        return f"{expression} in (select value from json_each(?))", [json.dumps(list(wanted))]  # noqa: S608 - constants
    if len(wanted) > _MOST_PATTERNS:
        raise InvalidInputError(f"a list with wildcards, as for {keyword}, has at most {_MOST_PATTERNS} values")
    parts = [_matches(expression, keyword, one, fuzzy=fuzzy) for one in wanted]
    return f"({' or '.join(sql for sql, _ in parts)})", [one for _, bound in parts for one in bound]


def _matches(expression: str, keyword: str, wanted: str, *, fuzzy: bool) -> tuple[str, list[str]]:
    vr = vr_of(keyword)
    if wanted == "":
        return f"coalesce({expression}, '') = ?", [wanted]
    if vr in ("DA", "TM", "DT"):
        return _within(expression, keyword, (wanted, wanted))
    if vr in _NUMBERS:
        return f"cast({expression} as real) = cast(? as real) and {expression} <> ''", [wanted]
    if vr == "PN":
        return (f"name_resembles({expression}, ?)", [wanted]) if fuzzy else _matches_name(expression, wanted)
    return _matches_text(expression, keyword, wanted)


def _matches_name(expression: str, wanted: str) -> tuple[str, list[str]]:
    """Most names are one group of plain letters, which SQLite compares by itself."""
    pattern = trimmed(wanted)
    by_call = f"name_matches({expression}, ?)"
    if len(pattern) > _LONGEST_PATTERN or "\0" in pattern or not is_simple(pattern):
        return by_call, [wanted]
    alone = f"{expression} {PLAIN} and instr({expression}, '=') = 0"
    plain = f"rtrim(lower({expression}), '^= ') glob ?"
    return f"case when {alone} then {plain} else {by_call} end", [pattern.replace("[", "[[]"), wanted]


def _matches_text(expression: str, keyword: str, wanted: str) -> tuple[str, list[str]]:
    if len(wanted) > _LONGEST_PATTERN:
        raise InvalidInputError(f"a value to match, as for {keyword}, has at most {_LONGEST_PATTERN} characters")
    # GLOB knows the wildcards of PS3.4 C.2.2.2.4 and sets in brackets beside; those are matched as they stand.
    pattern = wanted.replace("[", "[[]")
    if keyword == "ImageType":  # several values in one text
        return rf"'\' || {expression} || '\' glob ?", [f"*\\{pattern}\\*"]
    if _has_wildcard(wanted) and vr_of(keyword) != "UI":
        return f"coalesce({expression}, '') glob ?", [pattern]
    return f"{expression} = ?", [wanted]


def _has_wildcard(text: str) -> bool:
    return "*" in text or "?" in text


def _within(expression: str, keyword: str, wanted: tuple[object, ...]) -> tuple[str, list[str]]:
    if len(wanted) != 2 or not all(end is None or isinstance(end, str) for end in wanted):
        raise InvalidInputError(f"a range is (low, high), each a text or None for an open end, that of {keyword} not")
    low, high = (end if isinstance(end, str) else None for end in wanted)
    vr = vr_of(keyword)
    if vr in _NUMBERS:
        ends = [(">=", low), ("<=", high)]
        conditions = [f"cast({expression} as real) {sign} cast(? as real)" for sign, end in ends if end is not None]
        return " and ".join([f"{expression} <> ''", *conditions]), [end for _, end in ends if end is not None]
    if vr == "DA":
        return _dates_within(expression, low, high)
    if vr == "TM":
        expression = f"replace({expression}, ':', '')"
        low, high = (None if end is None else end.replace(":", "") for end in (low, high))
    return _texts_within(expression, low, high)


def _dates_within(expression: str, low: str | None, high: str | None) -> tuple[str, list[str]]:
    """Dates in both of their spellings, ``20240131`` and, before DICOM, ``2024.01.31`` (PS3.5 6.2)."""
    plain = [None if end is None else end.replace(".", "").replace("-", "") for end in (low, high)]
    dotted = [None if end is None else ".".join(filter(None, (end[:4], end[4:6], end[6:]))) for end in plain]
    one, first = _texts_within(expression, plain[0], plain[1])
    two, second = _texts_within(expression, dotted[0], dotted[1])
    return f"(({one} and {expression} not glob '*.*') or ({two} and {expression} glob '*.*'))", [*first, *second]


def _texts_within(expression: str, low: str | None, high: str | None) -> tuple[str, list[str]]:
    """Compare as text; an end that is cut short is its whole period, and no digit comes after a tilde."""
    ends = [(">=", low), ("<=", None if high is None else f"{high}~")]
    conditions = [f"{expression} {sign} ?" for sign, end in ends if end is not None]
    return " and ".join([f"{expression} <> ''", *conditions]), [end for _, end in ends if end is not None]


def _match(
    con: sqlite3.Connection, row: sqlite3.Row, level: Level, counted: dict[tuple[str, ...], sqlite3.Row]
) -> Match:
    attributes: dict[str, str] = {}
    for one in json.loads(row["attributes"]):
        attributes.update(json.loads(one))
    if level == "patient":
        return Match(attributes, "")
    # The rows of one study share what is known of it.
    study = (row["patient_key"], row["study_uid"])
    if study not in counted:
        counted[study] = con.execute(_BELOW_STUDY, {"patient_key": study[0], "study_uid": study[1]}).fetchone()
    found, instances = counted[study], 0
    if level != "study":
        series = (*study, row["series_uid"])
        if series not in counted:
            key = {"patient_key": series[0], "study_uid": series[1], "series_uid": series[2]}
            counted[series] = con.execute(_BELOW_SERIES, key).fetchone()
        instances = counted[series]["instance_count"]
    return Match(
        attributes=attributes,
        sop_class_uid=row["sop_class_uid"] if level == "instance" else "",
        modalities=tuple(sorted(one for one in json.loads(found["modalities"]) if one)),
        study_series=found["series_count"],
        study_instances=found["instance_count"],
        series_instances=instances,
    )
