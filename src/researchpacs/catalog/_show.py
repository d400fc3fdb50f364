"""Tables as people see them in a cell: every value escaped, nobody's name."""

import re
from collections.abc import Sequence
from html import escape
from typing import Any

__all__ = ["HIDDEN", "ROWS", "Persons", "as_html", "as_text", "asks_who", "is_identifying"]

ROWS = 10
"""Rows that a repr shows unless it is told otherwise."""

HIDDEN = "\u2022\u2022\u2022"
"""What stands for a value that would say who the patient is."""

_IDENTIFYING = frozenset(
    keyword.lower()
    for keyword in (
        "AccessionNumber", "AdmissionID", "BirthDate", "CountryOfResidence", "MilitaryRank", "OtherPatientIDs",
        "OtherPatientIDsSequence", "OtherPatientNames", "PatientAddress", "PatientBirthDate", "PatientBirthName",
        "PatientBirthTime", "PatientComments", "PatientID", "PatientMotherBirthName", "PatientName",
        "PatientTelephoneNumbers", "ReferringPhysicianName", "RegionOfResidence", "ResponsiblePerson",
        "StudyID", "tags", "author", "key_text", "report_text", "query_text", "query_params", "attrition",
        "member_columns", "search_text",
    )
)  # fmt: skip
_NAMED = re.compile(r"(patient|physician|operator|person|reader|birth).*(name|names|date|time|_parts)")
_TOUCHING = frozenset({"patients", "pivot", "reports", "search_texts", "summarize"})
"""Words of SQL that bring such values in without naming their column."""
_WORD = re.compile(r"\w+")
_MADE = re.compile(r"\b(?:table|view|macro)\s+(?:if\s+not\s+exists\s+)?\"?(\w+)", re.IGNORECASE)
_SAFE_TAGS = re.compile(r"\btag(?:_num|_list)?\s*\(\s*(?:\w+\.)?tags\s*,", re.IGNORECASE)
_UID = re.compile(r"[0-9][0-9.]{20,}")
_SHORT_UID = 20


def is_identifying(column: str) -> bool:
    """Whether a column of this name can hold what tells who a patient is."""
    lowered = column.lower()
    return lowered in _IDENTIFYING or _NAMED.fullmatch(lowered) is not None


def asks_who(query: str) -> bool:
    """Whether a query touches what says who a patient is, perhaps under another name."""
    without_lookups = _SAFE_TAGS.sub(" ", query)
    return any(word.lower() in _TOUCHING or is_identifying(word) for word in _WORD.findall(without_lookups))


class Persons:
    """Which of a connection's queries touch what says who a patient is, tables that were made of it included."""

    def __init__(self) -> None:
        self._tables: set[str] = set()

    def touched_by(self, query: str) -> bool:
        """Whether a query does; the tables it makes are remembered."""
        touches = asks_who(query) or bool(self._tables & {word.lower() for word in _WORD.findall(query)})
        if touches:
            self._tables |= {name.lower() for name in _MADE.findall(query)}
        return touches


def as_text(columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str) -> str:
    """A table in plain text."""
    cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([caption, *lines])


def as_html(columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str, *, footer: str = "") -> str:
    """A table in HTML. All arguments are plain text and escaped here.

    Parameters
    ----------
    footer
        Shown below on request, such as the query behind the table.
    """
    head = "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(_html_cell(value) for value in row)}</tr>" for row in rows)
    more = f"<details><summary>SQL</summary><pre>{escape(footer)}</pre></details>" if footer else ""
    return (
        f"<table><caption style='text-align:left'>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
    )


def _html_cell(value: Any) -> str:
    text = "" if value is None else str(value)
    if _UID.fullmatch(text):
        return f"<td style='text-align:left'><code title='{escape(text)}'>{escape(_cell(value))}</code></td>"
    side = "right" if isinstance(value, (int, float)) and not isinstance(value, bool) else "left"
    return f"<td style='text-align:{side}'>{escape(_cell(value))}</td>"


def _cell(value: Any) -> str:
    """One line of text; a UID is shortened in its middle."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = " ".join(str(value).split())
    if _UID.fullmatch(text) and len(text) > _SHORT_UID + 1:
        return f"{text[:8]}\u2026{text[-10:]}"
    return text if len(text) <= 60 else f"{text[:59]}\u2026"
