"""A data set as Orthanc's JSON: every value a text, sequences nested, binary values null."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydicom.datadict import keyword_for_tag, private_dictionary_description, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from researchpacs.archive import Stored
from researchpacs.dicom.header import read_header
from researchpacs.dicom.values import reading_quietly
from researchpacs.server.orthanc.answers import flag

if TYPE_CHECKING:
    from starlette.requests import Request

    from researchpacs._pacs import Pacs
    from researchpacs.server.orthanc.objects import Format

__all__ = ["LONGEST", "as_tags", "form_of_tags", "header_of", "shown_tags", "text_of", "text_value"]

LONGEST = 256
"""Characters of a value that is shown; longer ones are asked for by ``content``."""
_BINARY = frozenset({"OB", "OW", "OF", "OD", "OL", "OV", "UN"})
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})


def header_of(pacs: "Pacs", stored: Stored) -> Dataset:
    """The data set of a stored instance up to its pixels."""
    return read_header(
        pacs.archive.read(stored.key, 0, stored.header_length),
        dataset_offset=stored.dataset_offset,
        transfer_syntax_uid=stored.transfer_syntax_uid,
    )


def form_of_tags(request: "Request") -> "Format":
    """How ``tags`` spells them: in full unless asked otherwise."""
    return "simple" if flag(request, "simplify") else "short" if flag(request, "short") else "full"


def shown_tags(pacs: "Pacs", stored: Stored, form: "Format", *, longest: int = LONGEST) -> dict[str, Any]:
    """The tags of a stored instance."""
    return as_tags(header_of(pacs, stored), form, pixels=stored.header_length < stored.size, longest=longest)


def text_of(ds: Dataset, keyword: str) -> str | None:
    """The text of one attribute; None where it is absent or has none."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in ds:
        return None
    with reading_quietly():
        return text_value(ds, BaseTag(tag))


def as_tags(ds: Dataset, form: "Format", *, pixels: bool = False, longest: int = LONGEST) -> dict[str, Any]:
    """Make the JSON object of a data set.

    Parameters
    ----------
    ds
        Up to its pixels.
    form
        ``"simple"``: name to value; ``"short"``: number to value; ``"full"``: number to name, type and value.
    pixels
        Whether pixel data follow, which are listed without a value.
    longest
        Characters up to which a value is shown; 0 for no limit.
    """
    with reading_quietly():
        made = dict(_shown(ds, form, longest))
    if pixels and not any(tag in ds for tag in _PIXELS):
        made[_key(0x7FE00010, "PixelData", form)] = _value("PixelData", "Null", None, None, form)
    return made


def text_value(ds: Dataset, tag: BaseTag) -> str | None:
    """The text of an element; None for a binary value or a sequence."""
    element = _converted(ds, tag)
    if element is None:
        raw = ds.get_item(tag)
        value = getattr(raw, "value", None)
        return value.decode("latin-1").strip(" \0") if isinstance(value, bytes) else None
    if tag.element == 0 and isinstance(element.value, bytes):
        return str(int.from_bytes(element.value, "little"))
    if element.VR in _BINARY or element.VR == "SQ" or isinstance(element.value, bytes):
        return None
    if element.is_empty:
        return ""
    values = element.value if isinstance(element.value, MultiValue | list | tuple) else [element.value]
    return "\\".join(_one(value, element.VR) for value in values)


def _shown(ds: Dataset, form: "Format", longest: int) -> Iterator[tuple[str, Any]]:
    for tag in sorted(ds.keys()):
        name, creator = _name(ds, tag)
        element = _converted(ds, tag)
        if element is not None and element.VR == "SQ":
            items = [dict(_shown(item, form, longest)) for item in element.value]
            yield _key(tag, name, form), _value(name, "Sequence", items, creator, form)
            continue
        text = None if int(tag) in _PIXELS else text_value(ds, tag)
        kind = "Null" if text is None else "String"
        if text is not None and longest and len(text) > longest:
            kind, text = "TooLong", None
        yield _key(tag, name, form), _value(name, kind, text, creator, form)


def _converted(ds: Dataset, tag: BaseTag) -> DataElement | None:
    try:
        return ds[tag]
    except Exception:  # pydicom raises whatever a broken value trips over; the bytes themselves are shown
        return None


def _one(value: object, vr: str) -> str:
    if isinstance(value, BaseTag):
        return f"{value.group:04x},{value.element:04x}"
    if vr in ("FL", "FD") and isinstance(value, float):
        return f"{value:.17g}"
    if vr in ("DS", "IS"):
        value = getattr(value, "original_string", value)
    return str(value).rstrip("\0 ")


def _name(ds: Dataset, tag: BaseTag) -> tuple[str, str | None]:
    if not tag.is_private:
        return keyword_for_tag(tag) or ("GenericGroupLength" if tag.element == 0 else "Unknown Tag & Data"), None
    if tag.element == 0:
        return "PrivateGroupLength", None
    if tag.is_private_creator:
        return "PrivateCreator", None
    creator = ds.get(BaseTag((tag.group << 16) | (tag.element >> 8)))
    owner = str(creator.value) if creator is not None else None
    try:
        words = private_dictionary_description(tag, owner or "").strip("[]").split()
    except KeyError:
        return "Unknown Tag & Data", owner
    return "".join(word[:1].upper() + word[1:] for word in words), owner


def _key(tag: int, name: str, form: "Format") -> str:
    if form == "simple" and name != "Unknown Tag & Data":
        return name
    return f"{tag >> 16:04x},{tag & 0xFFFF:04x}"


def _value(name: str, kind: str, value: Any, creator: str | None, form: "Format") -> Any:
    if form != "full":
        return value
    return {"Name": name, "Type": kind, "Value": value} | ({"PrivateCreator": creator} if creator else {})
