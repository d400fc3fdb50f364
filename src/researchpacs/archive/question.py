"""Attribute matching (PS3.4 C.2.2.2) over the ledger's objects, as one SQL query.

Identifiers and JSON paths come from `INDEXED` only; every value is bound.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from researchpacs.archive._levels import COLUMN, KEYS, SOURCE, TABLE
from researchpacs.archive._names import PLAIN, fits, have_name
from researchpacs.dicom.keywords import INDEXED, LEVELS, vr_of
from researchpacs.errors import InvalidInputError
from researchpacs.model import Level

__all__ = ["Order", "Question", "is_indexed", "is_own", "matches_text", "names_of"]

_TIMES = frozenset({"DA", "TM", "DT"})
_NUMBERS = frozenset({"DS", "IS", "US"})
_LONGEST_PATTERN = 10_000
"""SQLite refuses longer ones."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to sort by."""

    by: str
    """A keyword that is indexed at the level or above, or ``"updated_at"``."""
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Which objects of a level are meant."""

    level: Level
    matches: Mapping[str, str] = field(default_factory=dict)
    r"""Matching texts by keyword: ``*`` and ``?``, ``low-high`` for dates and times, ``a\b`` for any of these."""
    case_sensitive: bool = False
    parents: Mapping[Level, str] = field(default_factory=dict)
    """Orthanc's names of objects above, or of the object itself."""
    labels: Sequence[str] = ()
    labels_constraint: str = "all"
    """``"all"`` of the labels, ``"any"`` or ``"none"``."""
    order: Sequence[Order] = ()
    limit: int | None = None
    offset: int = 0


def is_indexed(keyword: str, level: Level) -> bool:
    """Whether the ledger alone can match this attribute for objects of this level.

    Attributes of lower levels match where one object below has them.
    """
    return keyword == "ModalitiesInStudy" or any(keyword in INDEXED[one] for one in LEVELS)


def is_own(keyword: str, level: Level) -> bool:
    """Whether objects of this level have the attribute themselves, or from above."""
    return _level_of(keyword, level) is not None


def names_of(con: sqlite3.Connection, question: Question) -> list[str]:
    """Orthanc's names of what matches, in order.

    Parameters
    ----------
    con
        Of the ledger.
    question
        Every keyword of it is indexed (`is_indexed`).
    """
    con.create_function("fold", 1, _fold, deterministic=True)
    conditions, values = ["true"], list[str]()
    for keyword, text in question.matches.items():
        condition, bound = _condition(keyword, text, question)
        conditions.append(condition)
        values += bound
    for level, name in question.parents.items():
        conditions.append(f"{TABLE[level]}.orthanc_id = ?")
        values.append(name)
    if question.labels:
        condition, bound = _labelled(question)
        conditions.append(condition)
        values += bound
    table = TABLE[question.level]
    sql = f"""
        select {table}.orthanc_id
        from {SOURCE[question.level]}
        where {" and ".join(conditions)}
        group by {table}.orthanc_id
        order by {", ".join([*_orders(question), f"{table}.orthanc_id"])}
        limit ? offset ?
        """  # noqa: S608 - built from the constants above
    limit = -1 if question.limit is None else question.limit
    return [name for (name,) in con.execute(sql, (*values, limit, question.offset))]


def matches_text(found: str, keyword: str, text: str, *, case_sensitive: bool) -> bool:
    """Match a value that is not in the ledger, by the same rules."""
    vr = vr_of(keyword)
    if vr in _TIMES and "-" in text:
        low, _, high = text.partition("-")
        return bool(found) and (not low or found >= low) and (not high or found <= high)
    if not case_sensitive and vr not in ("UI", *_TIMES):
        found, text = found.casefold(), text.casefold()
    if "\\" in text:
        return found in text.split("\\")
    return fits(found, text)


def _level_of(keyword: str, level: Level) -> Level | None:
    for one in reversed(LEVELS[: LEVELS.index(level) + 1]):
        if keyword in INDEXED[one]:
            return one  # type: ignore[return-value]
    return None


def _expression(keyword: str, level: Level) -> str:
    owner = _level_of(keyword, level)
    if owner is None:
        raise ValueError(f"{keyword} is not indexed")
    return COLUMN.get(keyword) or f"json_extract({TABLE[owner]}.attributes, '$.{keyword}')"


def _condition(keyword: str, text: str, question: Question) -> tuple[str, list[str]]:
    sensitive, level = question.case_sensitive, question.level
    if keyword == "ModalitiesInStudy":
        return _below("study" if level in ("series", "instance") else level, "Modality", text, sensitive)
    if _level_of(keyword, level) is None:
        return _below(level, keyword, text, sensitive)
    if keyword == "PatientName" and level != "patient":
        name = "json_extract(one.attributes, '$.PatientName')"
        condition, bound = _matching(name, keyword, text, case_sensitive=sensitive)
        return have_name(condition), bound
    return _matching(_expression(keyword, level), keyword, text, case_sensitive=sensitive)


def _below(level: Level, keyword: str, text: str, case_sensitive: bool) -> tuple[str, list[str]]:
    """Whether one object below has the attribute."""
    lower = next(one for one in LEVELS if keyword in INDEXED[one])
    expression = f"json_extract(one.attributes, '$.{keyword}')"
    if keyword in COLUMN:
        expression = f"one.{COLUMN[keyword].partition('.')[2]}"
    condition, bound = _matching(expression, keyword, text, case_sensitive=case_sensitive)
    same = " and ".join(f"one.{key} = {TABLE[level]}.{key}" for key in KEYS[level])
    table = TABLE[lower]
    return f"exists (select 1 from {table} as one where {same} and {condition})", bound  # noqa: S608 - constants


def _matching(expression: str, keyword: str, text: str, *, case_sensitive: bool) -> tuple[str, list[str]]:
    vr = vr_of(keyword)
    if vr in _TIMES and "-" in text:
        low, _, high = text.partition("-")
        ends = [(sign, end) for sign, end in ((">=", low), ("<=", high)) if end]
        conditions = [f"{expression} {sign} ?" for sign, _ in ends]
        return " and ".join([f"{expression} <> ''", *conditions]), [end for _, end in ends]
    folded = not case_sensitive and vr not in ("UI", *_TIMES)
    left, wanted = (_folded(expression), text.casefold()) if folded else (expression, text)
    if "\\" in wanted:
        # One value however many there are: SQLite binds only so many.
        return f"{left} in (select value from json_each(?))", [json.dumps(wanted.split("\\"))]  # noqa: S608 - constants
    if "*" in wanted or "?" in wanted:
        if len(wanted) > _LONGEST_PATTERN:
            raise InvalidInputError(f"a pattern has at most {_LONGEST_PATTERN} characters")
        # GLOB has sets in brackets beside; those are matched as they stand.
        return f"{left} glob ?", [wanted.replace("[", "[[]")]
    return f"{left} = ?", [wanted]


def _folded(expression: str) -> str:
    return f"case when {expression} {PLAIN} then lower({expression}) else fold({expression}) end"


def _labelled(question: Question) -> tuple[str, list[str]]:
    owner = {
        "patient": "patients.patient_key",
        "study": "studies.patient_key || '/' || studies.study_uid",
        "series": "series.patient_key || '/' || series.study_uid || '/' || series.series_uid",
        "instance": "instances.key",
    }[question.level]
    wanted = sorted(set(question.labels))
    count = (
        f"(select count(distinct labels.label) from labels where labels.level = '{question.level}' "  # noqa: S608 - a Level
        f"and labels.owner = {owner} and labels.label in (select value from json_each(?)))"
    )
    least = len(wanted) if question.labels_constraint == "all" else 1
    condition = f"{count} = 0" if question.labels_constraint == "none" else f"{count} >= {least}"
    return condition, [json.dumps(wanted)]


def _orders(question: Question) -> list[str]:
    found = []
    for order in question.order:
        if order.by == "updated_at":
            stamp = "stored_at" if question.level == "instance" else "updated_at"
            expression = f"{TABLE[question.level]}.{stamp}"
        else:
            expression = _expression(order.by, question.level)
            if vr_of(order.by) in _NUMBERS:
                expression = f"cast({expression} as real)"
        found.append(f"{expression} {'desc' if order.descending else 'asc'}")
    return found


def _fold(text: str | None) -> str | None:
    return text.casefold() if isinstance(text, str) else text
