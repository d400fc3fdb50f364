"""Change attributes of a data set by rules: what to replace, remove and keep, and which UIDs become new ones."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.tag import BaseTag, Tag

from researchpacs.dicom.deidentify import map_uids
from researchpacs.errors import InvalidInputError

__all__ = ["Rules", "apply_rules", "as_tag", "set_value", "use_unicode"]

_UTF_8 = "ISO_IR 192"

_BYTES_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_INTEGERS = frozenset({"SL", "SS", "SV", "UL", "US", "UV"})
_FLOATS = frozenset({"FL", "FD"})


@dataclass(frozen=True)
class Rules:
    """What becomes of attributes."""

    replace: Mapping[int, Any] = field(default_factory=dict, repr=False)
    """Value by tag: a text (several values with backslashes), or for a sequence a list of mappings by keyword."""
    remove: frozenset[int] = frozenset()
    keep: frozenset[int] = frozenset()
    remove_private: bool = False


def apply_rules(ds: Dataset, rules: Rules, *, new_uid: Callable[[str], str] = lambda uid: uid) -> None:
    """Change a data set in place.

    Parameters
    ----------
    ds
        Any composite object.
    rules
        What to change; what is kept is neither removed nor given a new UID.
    new_uid
        Gives the UID that stands for one from now on, in sequences too; itself where nothing changes.

    Raises
    ------
    InvalidInputError
        A value does not fit its attribute.
    """
    map_uids(ds, new_uid, keep=rules.keep)
    if rules.remove_private:
        ds.remove_private_tags()
    for tag in rules.remove - rules.keep:
        if tag in ds:
            del ds[tag]
    if not json.dumps(list(rules.replace.values()), ensure_ascii=False, default=str).isascii():
        use_unicode(ds)
    for tag, value in rules.replace.items():
        set_value(ds, tag, value)


def use_unicode(ds: Dataset) -> None:
    """Write all texts in UTF-8 from now on, so that texts of any language fit (PS3.3 C.12.1.1.2)."""
    if ds.get("SpecificCharacterSet") != _UTF_8:
        ds.decode()
        ds.SpecificCharacterSet = _UTF_8


def as_tag(name: str) -> BaseTag:
    """Read a keyword, ``gggg,eeee``, ``gggg-eeee`` or ``ggggeeee``; private tags have numbers only.

    Raises
    ------
    InvalidInputError
        Neither a keyword of the data dictionary nor a tag.
    """
    tag = tag_for_keyword(name) if isinstance(name, str) else None
    if tag is not None:
        return Tag(tag)
    digits = str(name).replace(",", "").replace("-", "").strip("()")
    try:
        found = Tag(int(digits, 16)) if len(digits) == 8 else None
    except ValueError:
        found = None
    if found is None or not (found.is_private or dictionary_has_tag(found)):
        raise InvalidInputError("a tag that the data dictionary does not know; write a keyword or gggg,eeee")
    return found


def set_value(ds: Dataset, tag: int, value: Any) -> None:
    """Give an attribute a value as requests write it; see `Rules.replace`.

    Raises
    ------
    InvalidInputError
        The value does not fit the attribute.
    """
    known = Tag(tag)
    vr = dictionary_VR(known) if dictionary_has_tag(known) else (ds[known].VR if known in ds else "LO")
    vr = {"US or SS": "US", "OB or OW": "OW"}.get(vr, vr)
    try:
        ds[known] = DataElement(known, vr, _converted(vr, value))
    except InvalidInputError:
        raise
    except Exception as error:
        # The message may quote the value.
        raise InvalidInputError(f"the value for {known} does not fit its value representation {vr}") from error


def _converted(vr: str, value: Any) -> Any:
    if vr == "SQ":
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            raise InvalidInputError("a sequence is written as a list of objects by keyword")
        return [_item(item) for item in value]
    if isinstance(value, list):
        value = "\\".join(str(one) for one in value)
    if vr in _BYTES_VRS:
        raise InvalidInputError("binary values cannot be replaced")
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise InvalidInputError("a value is a text, a number or a list of these")
    parts = str(value).split("\\") if value != "" else []
    if vr in _INTEGERS:
        return [int(one) for one in parts]
    if vr in _FLOATS:
        return [float(one) for one in parts]
    return str(value)


def _item(values: Mapping[str, Any]) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        set_value(item, as_tag(name), value)
    return item
