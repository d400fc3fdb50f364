"""Answer a `Find` from the ledger: attribute filters of one level become one SQL query.

Identifiers and JSON paths come from `INDEXED` only; every value is bound.
"""

import json
import sqlite3
from collections.abc import Sequence

from researchpacs.archive._levels import COLUMN, SOURCE, TABLE
from researchpacs.dicom.keywords import INDEXED, LEVELS, nearest, vr_of
from researchpacs.errors import InvalidInputError
from researchpacs.model import Find, Row

__all__ = ["find_rows"]

_ORDER = {
    "patient": "patient_key",
    "study": "study_uid, patient_key",
    "series": "series_uid, study_uid, patient_key",
    "instance": "sop_uid, key",
}
_MOST_PATTERNS = 500
_NUMBERS = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})


def find_rows(con: sqlite3.Connection, query: Find) -> list[Row]:
    """Main attributes of what matches, its parents' included, in the order of their UIDs."""
    if query.level not in SOURCE:
        raise InvalidInputError(f"level is one of {', '.join(LEVELS)}; found {query.level!r}")
    levels = LEVELS[: LEVELS.index(query.level) + 1]
    conditions, values = ["true"], list[str]()
    for keyword, wanted in query.filters.items():
        condition, bound = _condition(_expression(keyword, levels), keyword, wanted)
        conditions.append(condition)
        values += bound
    sql = f"""
        select {", ".join(f"{TABLE[level]}.attributes" for level in levels)}
        from {SOURCE[query.level]}
        where {" and ".join(conditions)}
        order by {_ORDER[query.level]}
        limit ? offset ?
        """  # noqa: S608 - built from the constants above
    limit = -1 if query.limit is None else query.limit
    found = con.execute(sql, (*values, limit, query.offset)).fetchall()
    return [_merged(row) for row in found]


def _expression(keyword: str, levels: Sequence[str]) -> str:
    for level in reversed(levels):
        if keyword in INDEXED[level]:
            return COLUMN.get(keyword) or f"json_extract({TABLE[level]}.attributes, '$.{keyword}')"
    if any(keyword in keywords for keywords in INDEXED.values()):
        raise InvalidInputError(f"{keyword} belongs to a lower level than {levels[-1]}; find at that level instead")
    meant = nearest(keyword)
    hint = f"; did you mean {meant}?" if meant and meant != keyword else ""
    raise InvalidInputError(f"{keyword} is not among the attributes that an archive indexes{hint}")


def _condition(expression: str, keyword: str, wanted: object) -> tuple[str, list[str]]:
    if isinstance(wanted, str):
        return _matches(expression, wanted)
    if isinstance(wanted, tuple):
        return _within(expression, keyword, wanted)
    if isinstance(wanted, Sequence) and all(isinstance(one, str) for one in wanted):
        if all(one and not set("*?") & set(one) for one in wanted):
            # One value however many there are: SQLite takes only so deep an expression.
            return f"{expression} in (select value from json_each(?))", [json.dumps(list(wanted))]  # noqa: S608 - constants
        if len(wanted) > _MOST_PATTERNS:
            raise InvalidInputError(f"a list with wildcards, as for {keyword}, has at most {_MOST_PATTERNS} values")
        parts = [_matches(expression, one) for one in wanted]
        return f"({' or '.join(sql for sql, _ in parts) or 'false'})", [one for _, bound in parts for one in bound]
    raise InvalidInputError(f"a filter is a text, a list of texts or a tuple (low, high), that of {keyword} is not")


def _matches(expression: str, wanted: str) -> tuple[str, list[str]]:
    if "*" in wanted or "?" in wanted:
        # GLOB knows the wildcards of PS3.4 C.2.2.2.4 and sets in brackets beside; those are matched as they stand.
        return f"coalesce({expression}, '') glob ?", [wanted.replace("[", "[[]")]
    if wanted == "":
        return f"coalesce({expression}, '') = ?", [wanted]
    return f"{expression} = ?", [wanted]


def _within(expression: str, keyword: str, wanted: tuple[object, ...]) -> tuple[str, list[str]]:
    if len(wanted) != 2 or not all(end is None or isinstance(end, str) for end in wanted):
        raise InvalidInputError(f"a range is (low, high), each a text or None for an open end, that of {keyword} not")
    numeric = vr_of(keyword) in _NUMBERS
    left, right = (f"cast({expression} as real)", "cast(? as real)") if numeric else (expression, "?")
    ends = [(sign, end) for sign, end in zip((">=", "<="), wanted, strict=True) if isinstance(end, str)]
    conditions = [f"{left} {sign} {right}" for sign, _ in ends]
    return " and ".join([f"{expression} <> ''", *conditions]), [end for _, end in ends]


def _merged(row: sqlite3.Row) -> Row:
    merged: dict[str, str] = {}
    for attributes in row:
        merged.update(json.loads(attributes))
    return merged
