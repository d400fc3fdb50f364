"""What documents say in words, as plain values: structured reports (PS3.3 C.17.3), encapsulated documents (C.24.2).

The text of a structured report is its content tree, an item a line, indented by depth: ``Concept: value unit``.
Nothing here fails on a broken object.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset

from researchpacs.dicom._content_items import (
    Names,
    as_code,
    below,
    children,
    code_of,
    concept_name,
    first,
    items,
    kind,
    text_of,
)
from researchpacs.dicom._moment import moment_of
from researchpacs.dicom.codes import Code
from researchpacs.dicom.sr import unit_code

__all__ = ["ENCAPSULATED", "LONGEST", "STRUCTURED", "Report", "report_of"]

STRUCTURED = "1.2.840.10008.5.1.4.1.1.88."
"""Beginning of the SOP Class UIDs of structured reports."""
ENCAPSULATED = "1.2.840.10008.5.1.4.1.1.104."
"""Beginning of the SOP Class UIDs of encapsulated documents."""
LONGEST = 1_000_000
"""Characters of a report's text; what is longer ends there."""

_DEEPEST_INDENT = 16
_OBSERVER: Names = frozenset({("121008", "DCM")})
_VALUES = {"TEXT": "TextValue", "UIDREF": "UID", "DATE": "Date", "TIME": "Time", "DATETIME": "DateTime",
           "PNAME": "PersonName"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """One document; None where the object says nothing."""

    kind: str
    """``"structured"`` or ``"encapsulated"``."""
    title_code: Code | None
    title: str | None
    text: str | None
    """None for an encapsulated document: its bytes are not opened here."""
    mime_type: str | None
    completion: str | None
    verification: str | None
    author: str | None
    created_at: datetime | None
    """With a time zone where the object tells one."""


def report_of(ds: Dataset) -> Report | None:
    """Read a document; None of another object."""
    sop_class = text_of(ds, "SOPClassUID") or ""
    if sop_class.startswith(STRUCTURED):
        return _structured(ds)
    return _encapsulated(ds) if sop_class.startswith(ENCAPSULATED) else None


def _structured(ds: Dataset) -> Report:
    title = concept_name(ds)
    named = [item for item in below(ds) if first([item], _OBSERVER) is not None]
    # A person name; some write it as a text.
    observers = (text_of(item, "PersonName") or text_of(item, "TextValue") for item in named)
    return Report(
        kind="structured",
        title_code=title,
        title=title.meaning if title else None,
        text=_text(ds),
        mime_type=None,
        completion=text_of(ds, "CompletionFlag"),
        verification=text_of(ds, "VerificationFlag"),
        author=next((name for name in observers if name), None),
        created_at=moment_of(ds, "ContentDate", "ContentTime"),
    )


def _encapsulated(ds: Dataset) -> Report:
    codes = [code for item in items(ds, "ConceptNameCodeSequence") if (code := as_code(item))]
    return Report(
        kind="encapsulated",
        title_code=codes[0] if codes else None,
        title=text_of(ds, "DocumentTitle") or (codes[0].meaning if codes else None),
        text=None,
        mime_type=text_of(ds, "MIMETypeOfEncapsulatedDocument"),
        completion=text_of(ds, "CompletionFlag"),
        verification=text_of(ds, "VerificationFlag"),
        author=None,
        created_at=moment_of(ds, "ContentDate", "ContentTime"),
    )


def _text(ds: Dataset) -> str | None:
    lines, length = [], 0
    for depth, item in _items(ds):
        line = _line(item)
        if line:
            lines.append("  " * min(depth, _DEEPEST_INDENT) + line)
            length += len(lines[-1]) + 1
        if length > LONGEST:
            break
    return "\n".join(lines)[:LONGEST] or None


def _items(ds: Dataset) -> Iterator[tuple[int, Dataset]]:
    waiting = [(0, child) for child in reversed(children(ds))]
    while waiting:
        depth, item = waiting.pop()
        yield depth, item
        waiting += [(depth + 1, child) for child in reversed(children(item))]


def _line(item: Dataset) -> str:
    """An item in words; empty for what only points at something."""
    name, value = concept_name(item), _value(item)
    if value is None and kind(item) != "CONTAINER":
        return ""
    return ": ".join(part for part in (name.meaning if name else None, value) if part)


def _value(item: Dataset) -> str | None:
    written = kind(item)
    if written == "CODE":
        code = code_of(item)
        return code.meaning if code else None
    if written == "NUM":
        unit = unit_code(item)
        found = next((text_of(one, "NumericValue") for one in items(item, "MeasuredValueSequence")), None)
        return f"{found} {unit.value}" if found and unit and unit.value != "1" else found
    return text_of(item, _VALUES[written]) if written in _VALUES else None
