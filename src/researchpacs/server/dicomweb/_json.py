"""The DICOM JSON Model (PS3.18 F): a data set as JSON, large values as URLs."""

import base64
import math
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement, empty_value_for_VR
from pydicom.tag import BaseTag

from researchpacs.dicom.values import reading_quietly

__all__ = ["Attribute", "attribute", "bulk_value", "json_of"]

Attribute: TypeAlias = dict[str, Any]

LARGEST_INLINE = 1_024
"""Bytes of a binary value that stands in the JSON itself."""

_BULK_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_CHARACTER_SET = 0x00080005
_META_GROUP = 0x0002


def json_of(ds: Dataset, bulk_url: Callable[[str], str]) -> Attribute:
    """Give every attribute of a data set, in the order of their tags; pixel data and File Meta are none.

    A value that breaks its VR is given as UN, in bytes, so that nothing is lost.

    Parameters
    ----------
    bulk_url
        Gives the URL of a large value from its path: ``"00420011"``, or ``"00081140/0/00420011"`` inside a sequence.
    """
    with reading_quietly():
        return _dataset(ds, bulk_url, "")


def attribute(keyword: str, *values: object) -> tuple[str, Attribute]:
    """One attribute of an answer that no data set stands behind; without values it is there and empty.

    Returns
    -------
    tag, attribute
        An entry of the JSON object.
    """
    tag, vr = _entry(keyword)
    made: Attribute = {"vr": vr}
    known = [value for value in values if value not in ("", None)]
    if known:
        made["Value"] = [_person(str(value)) for value in known] if vr == "PN" else known
    return tag, made


@cache
def _entry(keyword: str) -> tuple[str, str]:
    """Tag and VR as the data dictionary has them; a search result asks for dozens."""
    return f"{tag_for_keyword(keyword) or 0:08X}", dictionary_VR(keyword)


def bulk_value(ds: Dataset, path: str) -> bytes | None:
    """The bytes of the value at a path that `json_of` gave; None where there is none."""
    parts = path.split("/")
    with reading_quietly():
        for tag, index in zip(parts[:-1:2], parts[1:-1:2], strict=True):
            element = _element(ds, tag)
            if element is None or element.VR != "SQ" or not index.isdigit() or int(index) >= len(element.value):
                return None
            ds = element.value[int(index)]
        element = _element(ds, parts[-1])
    if element is None or element.VR not in _BULK_VRS or not isinstance(element.value, bytes):
        return None
    return element.value


def _element(ds: Dataset, tag: str) -> DataElement | None:
    if len(tag) != 8 or not all(digit in "0123456789abcdefABCDEF" for digit in tag) or int(tag, 16) not in ds:
        return None
    return ds[int(tag, 16)]


def _dataset(ds: Dataset, bulk_url: Callable[[str], str], prefix: str) -> Attribute:
    found: Attribute = {}
    for tag in sorted(ds.keys()):
        number = int(tag)
        if tag.group == _META_GROUP or number in _PIXELS or tag.element == 0:
            continue
        try:
            found[f"{number:08X}"] = _attribute(ds[tag], bulk_url, prefix)
        except Exception:  # pydicom raises whatever a broken value trips over; its bytes are kept
            found[f"{number:08X}"] = _unread(ds, tag)
    if f"{_CHARACTER_SET:08X}" in found:
        # JSON is in UTF-8, whatever the data set was in (PS3.18 F.2.1.2).
        found[f"{_CHARACTER_SET:08X}"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    return found


def _attribute(element: DataElement, bulk_url: Callable[[str], str], prefix: str) -> Attribute:
    path = f"{prefix}{int(element.tag):08X}"
    if element.VR == "SQ":
        items = [_dataset(item, bulk_url, f"{path}/{index}/") for index, item in enumerate(element.value or ())]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    if element.VR in _BULK_VRS and len(element.value or b"") > LARGEST_INLINE:
        return {"vr": element.VR, "BulkDataURI": bulk_url(path)}
    made: Attribute = element.to_json_dict(None, LARGEST_INLINE)
    if " or " in made["vr"]:
        made["vr"] = "US" if "Value" in made else "OW"
    if "Value" in made:
        made["Value"] = [_json_value(value) for value in made["Value"]]
    return made


def _json_value(value: object) -> object:
    """An empty value among others is null (PS3.18 F.2.5), and JSON has no number for what is not finite."""
    if value == "":
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def _unread(ds: Dataset, tag: BaseTag) -> Attribute:
    raw = ds.get_item(tag)
    value = raw.value if isinstance(raw, (RawDataElement, DataElement)) else empty_value_for_VR("UN")
    if isinstance(value, str):
        value = value.encode("utf-8", "replace")
    if not isinstance(value, bytes) or not value:
        return {"vr": "UN"}
    return {"vr": "UN", "InlineBinary": base64.b64encode(value).decode()}


def _person(name: str) -> dict[str, str]:
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), name.split("="), strict=False)
    return {group: text for group, text in groups if text}
