"""Content items of a structured report, read so that nothing in them can fail (PS3.3 C.17.3).

What is absent, empty or not what it should be is None or an empty list.
"""

import struct
from collections.abc import Iterable, Iterator

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from researchpacs.dicom.codes import Code

__all__ = [
    "BROKEN",
    "Names",
    "as_code",
    "below",
    "children",
    "code_of",
    "concept_name",
    "first",
    "is_named",
    "items",
    "kind",
    "text_of",
]

Names = frozenset[tuple[str, str]]
"""(code value, coding scheme) of one concept, in each scheme that has been used for it."""

BROKEN = (AttributeError, LookupError, NotImplementedError, OverflowError, TypeError, ValueError, struct.error)
"""What pydicom raises where an element cannot be read as what it should be."""


def children(item: Dataset) -> list[Dataset]:
    """Content items directly below."""
    return items(item, "ContentSequence")


def below(item: Dataset) -> Iterator[Dataset]:
    """All content items below, in the order of the tree; as deep as it may be."""
    waiting = children(item)[::-1]
    while waiting:
        yield (found := waiting.pop())
        waiting += children(found)[::-1]


def first(candidates: Iterable[Dataset], names: Names) -> Dataset | None:
    """The first item of that concept name."""
    return next((item for item in candidates if is_named(item, names)), None)


def is_named(item: Dataset, names: Names) -> bool:
    """Whether an item has that concept name."""
    name = concept_name(item)
    return name is not None and (name.value, name.scheme) in names


def concept_name(item: Dataset) -> Code | None:
    """What an item is about."""
    return next((code for name in items(item, "ConceptNameCodeSequence") if (code := as_code(name))), None)


def code_of(item: Dataset | None) -> Code | None:
    """The value of a CODE item."""
    codes = items(item, "ConceptCodeSequence") if item is not None else []
    return next((code for coded in codes if (code := as_code(coded))), None)


def as_code(item: Dataset) -> Code | None:
    """A code from an item of a code sequence."""
    value = text_of(item, "CodeValue") or text_of(item, "LongCodeValue") or text_of(item, "URNCodeValue")
    if not value:
        return None
    return Code(value, text_of(item, "CodingSchemeDesignator") or "", text_of(item, "CodeMeaning") or value)


def kind(item: Dataset) -> str | None:
    """Value Type: CONTAINER, NUM, CODE, ..."""
    return text_of(item, "ValueType")


def items(item: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence."""
    try:
        value = item[keyword].value
    except BROKEN:
        return []
    return [child for child in value or () if isinstance(child, Dataset)]


def text_of(item: Dataset | None, keyword: str) -> str | None:
    """The one text of an element; None where it has several, is absent, empty or cannot be read."""
    if item is None:
        return None
    try:
        value = item[keyword].value
        text = None if value is None or isinstance(value, bytes | MultiValue | Sequence) else str(value).strip()
    except BROKEN:
        return None
    return text or None
