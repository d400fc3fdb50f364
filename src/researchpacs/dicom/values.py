"""Every attribute of a data set as strict JSON, by keyword (PS3.3, PS3.5 6.2).

| what stands in the data set | what stands in the JSON |
|---|---|
| one value; several | the value; a list of them |
| no value | ``null`` |
| text, dates, times, UIDs | text, without padding |
| PN | text in DICOM form, ``"Family^Given=ideographic=phonetic"`` |
| IS, DS, binary numbers | a number; ``"NaN"``, ``"inf"``, ``"-inf"`` for what JSON has no number for |
| AT | ``"(gggg,eeee)"`` |
| SQ | a list of objects |
| up to 64 bytes: OB, OW, UN, ... | ``{"length": n, "hex": "..."}`` |
| more bytes | ``{"length": n, "sha256": "..."}`` |
| private, and all without a keyword | under ``"(gggg,eeee)"``: ``{"creator": "..." or null, "value": ...}`` |
| a value that breaks its VR | text as it is, or bytes as above; told as an `Oddity` |

Pixel data are not attributes here.
"""

import hashlib
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias

from pydicom.datadict import DicomDictionary, keyword_for_tag  # type: ignore[attr-defined]
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filewriter import correct_ambiguous_vr_element
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import PersonName

from researchpacs.dicom._walk_text import has_form
from researchpacs.dicom.scan import Oddity

__all__ = ["JSON", "Memory", "name_of", "read_tag", "read_tags", "reading_quietly", "tags_of"]

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

Remembered: TypeAlias = tuple["JSON", list[Oddity]]
Memory: TypeAlias = dict[tuple[Any, ...], Remembered]
"""What became of an element's bytes."""

LONGEST_REMEMBERED = 65_536
MOST_REMEMBERED = 50_000
LONGEST_HEX = 64
"""Bytes up to which a binary value is kept itself."""

_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_NUMBERS = frozenset({"IS", "DS"})
_BREAKS = "has a value that breaks its value representation"
_UNSIGNED = ("US or SS", "US or SS or OW", "US or OW")


def tags_of(ds: Dataset) -> dict[str, JSON]:
    """Give every attribute of a data set by keyword, sequences nested, in the order of their tags.

    Parameters
    ----------
    ds
        As pydicom read it; broken elements included.

    Returns
    -------
    tags
        What `json.dumps(tags, allow_nan=False)` accepts.
    """
    return read_tags(ds)[0]


def read_tags(ds: Dataset, memory: Memory | None = None) -> tuple[dict[str, JSON], tuple[Oddity, ...]]:
    """Give every attribute of a data set by keyword, and what is odd about their values.

    Parameters
    ----------
    ds
        As pydicom read it.
    memory
        What was made of the same bytes before. An instance mostly repeats its series: give one memory to many calls.
        Values are shared between the results; do not alter them.
    """
    reader = _Reader({} if memory is None else memory)
    with reading_quietly():
        tags, oddities = reader.attributes(ds, [ds])
    if len(reader.memory) > MOST_REMEMBERED:
        reader.memory.clear()
    return tags, tuple(oddities)


def read_tag(ds: Dataset, tag: int) -> tuple[JSON, tuple[Oddity, ...]]:
    """Give one attribute as `read_tags` does, and what is odd about it."""
    with reading_quietly():
        tags, oddities = _Reader({}).attributes(ds, [ds], only=tag)
    return tags[name_of(tag)], tuple(oddities)


@contextmanager
def reading_quietly() -> Iterator[None]:
    """Keep pydicom's warnings in: they quote values, and what is odd is told as an `Oddity` instead."""
    logger = logging.getLogger("pydicom")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


class _Reader:
    """One pass over a data set."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def attributes(
        self, ds: Dataset, ancestors: list[Dataset], *, only: int | None = None
    ) -> tuple[dict[str, JSON], list[Oddity]]:
        found: dict[str, JSON] = {}
        oddities: list[Oddity] = []
        charset = str(ds.original_character_set)
        creators: dict[int, str | None] = {}
        # items() gives elements as they were read; asking for one by its tag converts it.
        for tag, element in sorted(ds.items(), key=_by_tag):
            number = int(tag)
            if number in _PIXEL_DATA or (only is not None and number != only):
                continue
            name = name_of(number)
            block = number >> 8
            if name[0] == "(" and block not in creators:
                creators[block] = _creator_of(ds, tag)
            creator = creators.get(block) if name[0] == "(" else None
            value, odd = self._remembered(ds, tag, element, (creator, charset), ancestors)
            found[name] = {"creator": creator, "value": value} if name[0] == "(" else value
            oddities += odd
        return found, oddities

    def _remembered(
        self, ds: Dataset, tag: BaseTag, element: Any, context: tuple[str | None, str], ancestors: list[Dataset]
    ) -> Remembered:
        raw = element.value if isinstance(element, RawDataElement) else None
        if not isinstance(raw, bytes) or len(raw) > LONGEST_REMEMBERED:
            return self._value(ds, tag, ancestors)[0]
        key = (int(tag), element.VR, raw, element.is_little_endian, context)
        known = self.memory.get(key)
        if known is None:
            known, depends_on_others = self._value(ds, tag, ancestors)
            if not depends_on_others:
                self.memory[key] = known
        return known

    def _value(self, ds: Dataset, tag: BaseTag, ancestors: list[Dataset]) -> tuple[Remembered, bool]:
        """The value with its oddities, and whether it depends on other elements of the data set."""
        name = name_of(int(tag))
        try:
            element = ds[tag]
            if element.VR == "SQ":
                return self._items(element.value, ancestors), ds.original_encoding[0] is not False
            ambiguous = " or " in element.VR
            plain = _plain(_resolved(ds, element, ancestors).value if ambiguous else element.value)
        except Exception:  # pydicom raises whatever a broken value trips over; the value itself is kept
            return (_unread(ds, tag), [Oddity(name, _BREAKS)]), True
        problem = _problem_of(element.VR, plain)
        return (plain, [Oddity(name, problem)] if problem else []), ambiguous

    def _items(self, items: Any, ancestors: list[Dataset]) -> Remembered:
        found = [self.attributes(item, [item, *ancestors]) for item in items or ()]
        return [tags for tags, _ in found], [oddity for _, oddities in found for oddity in oddities]


def _problem_of(vr: str, plain: JSON) -> str:
    parts = plain if isinstance(plain, list) else [plain]
    texts = [part for part in parts if isinstance(part, str)]
    is_broken = bool(texts) if vr in _NUMBERS else not all(has_form(text, vr) for text in texts)
    if is_broken or (vr == "IS" and any(isinstance(part, float) for part in parts)):
        return f"has a value that is no {vr}"
    if any("\ufffd" in text for text in texts):
        return "has text that is not in the character set declared"
    return ""


def _by_tag(pair: tuple[BaseTag, Any]) -> int:
    return int(pair[0])


@lru_cache(maxsize=16_384)
def name_of(number: int) -> str:
    """The keyword of an attribute; ``"(gggg,eeee)"`` for one without."""
    # Repeating groups (60xx and the like) share one keyword in the dictionary; only the tag tells them apart.
    entry = DicomDictionary.get(number)
    if entry and entry[4]:
        return str(entry[4])
    group, element = number >> 16, number & 0xFFFF
    keyword = keyword_for_tag(number) if group in {0x5000, 0x6000} else ""
    return keyword or f"({group:04x},{element:04x})"


def _creator_of(ds: Dataset, tag: BaseTag) -> str | None:
    """The private creator that reserved the element's block (PS3.5 7.8.1)."""
    if not tag.is_private or tag.element <= 0xFF:
        return None
    reservation = Tag(tag.group, tag.element >> 8)
    try:
        return str(ds[reservation].value or "") or None
    except Exception:  # absent or unreadable: nobody reserved the block
        return None


def _resolved(ds: Dataset, element: DataElement, ancestors: list[Dataset]) -> DataElement:
    """Settle a VR that implicit VR leaves open: Pixel Representation says whether numbers are signed."""
    try:
        return correct_ambiguous_vr_element(element, ds, True, ancestors)  # type: ignore[return-value]
    except AttributeError:
        # There is no Pixel Representation: nothing says that they are.
        if element.VR in _UNSIGNED and isinstance(element.value, bytes) and len(element.value) == 2:
            return DataElement(element.tag, "US", int.from_bytes(element.value, "little"))
        return element


def _plain(value: Any) -> JSON:  # noqa: PLR0911
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, BaseTag):
        return f"({value.group:04x},{value.element:04x})"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _binary(bytes(value))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (float, Decimal)):
        return _number(float(value))
    if isinstance(value, (str, PersonName)):
        return _text(str(value))
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, (MultiValue, list, tuple)):
        return [_plain(one) for one in value] or None
    return _text(str(value))


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("inf" if value > 0 else "-inf")


def _text(value: str) -> str | None:
    # Lone surrogates have no UTF-8; padding is blanks, and NUL from careless writers.
    return value.encode("utf-8", "replace").decode().rstrip(" \0") or None


def _binary(value: bytes) -> dict[str, JSON] | None:
    if not value:
        return None
    if len(value) <= LONGEST_HEX:
        return {"length": len(value), "hex": value.hex()}
    return {"length": len(value), "sha256": hashlib.sha256(value).hexdigest()}


def _unread(ds: Dataset, tag: BaseTag) -> JSON:
    """Keep what pydicom cannot make sense of: text where it reads as such, else bytes."""
    raw = ds.get_item(tag)
    value = raw.value if isinstance(raw, (RawDataElement, DataElement)) else None
    if not isinstance(value, bytes):
        return None if value is None else _text(str(value))
    text = value.decode("latin-1").rstrip(" \0")
    return _text(text) if text and text.isprintable() else _binary(value)
