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
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TypeAlias

from pydicom.datadict import DicomDictionary, keyword_for_tag  # type: ignore[attr-defined]
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filewriter import correct_ambiguous_vr_element
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import PersonName

from researchpacs.dicom.scan import Oddity

__all__ = ["JSON", "read_tags", "reading_quietly", "tags_of"]

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

LONGEST_HEX = 64
"""Bytes up to which a binary value is kept itself."""

_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
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


def read_tags(ds: Dataset) -> tuple[dict[str, JSON], tuple[Oddity, ...]]:
    """Give every attribute of a data set by keyword, and what is odd about their values."""
    reader = _Reader()
    with reading_quietly():
        tags = reader.attributes(ds, [ds])
    return tags, tuple(reader.oddities)


@contextmanager
def reading_quietly() -> Iterator[None]:
    """Keep pydicom's warnings in: they name values, and what is odd is told as an `Oddity` instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _Reader:
    """One pass over a data set."""

    def __init__(self) -> None:
        self.oddities: list[Oddity] = []

    def attributes(self, ds: Dataset, ancestors: list[Dataset]) -> dict[str, JSON]:
        found: dict[str, JSON] = {}
        for tag in sorted(ds.keys()):
            if tag in _PIXEL_DATA:
                continue
            name = _name_of(tag)
            value = self._value(ds, tag, name, ancestors)
            found[name] = {"creator": _creator_of(ds, tag), "value": value} if name[0] == "(" else value
        return found

    def _value(self, ds: Dataset, tag: BaseTag, name: str, ancestors: list[Dataset]) -> JSON:
        try:
            element = _resolved(ds, tag, ancestors)
            value = element.value
            if element.VR == "SQ":
                return [self.attributes(item, [item, *ancestors]) for item in value or ()]
            plain = _plain(value)
        except Exception:  # pydicom raises whatever a broken value trips over; the value itself is kept
            self.oddities.append(Oddity(name, "the value breaks its value representation"))
            return _unread(ds, tag)
        if isinstance(plain, str) and "\ufffd" in plain:
            self.oddities.append(Oddity(name, "the text is not in the character set that is declared"))
        return plain


def _name_of(tag: BaseTag) -> str:
    # Repeating groups (60xx and the like) share one keyword in the dictionary; only the tag tells them apart.
    entry = DicomDictionary.get(tag)
    if entry and entry[4]:
        return str(entry[4])
    if tag.group & 0xFF00 in {0x5000, 0x6000} and tag.group & 0xFF == 0:
        keyword = keyword_for_tag(tag)
        if keyword:
            return keyword
    return f"({tag.group:04x},{tag.element:04x})"


def _creator_of(ds: Dataset, tag: BaseTag) -> str | None:
    """The private creator that reserved the element's block (PS3.5 7.8.1)."""
    if not tag.is_private or tag.element <= 0xFF:
        return None
    reservation = Tag(tag.group, tag.element >> 8)
    try:
        return str(ds[reservation].value or "") or None
    except Exception:  # absent or unreadable: nobody reserved the block
        return None


def _resolved(ds: Dataset, tag: BaseTag, ancestors: list[Dataset]) -> DataElement:
    element = ds[tag]
    if " or " not in element.VR:
        return element
    # Implicit VR leaves open whether a number is signed; Pixel Representation decides, and unsigned is the default.
    try:
        return correct_ambiguous_vr_element(element, ds, True, ancestors)  # type: ignore[return-value]
    except AttributeError:
        if element.VR in _UNSIGNED and isinstance(element.value, bytes) and len(element.value) == 2:
            return DataElement(tag, "US", int.from_bytes(element.value, "little"))
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
    return _text(text) if text.isprintable() else _binary(value)
