"""Keys of a query to filters of the archive, and texts of the archive to elements (PS3.4 C.2.2.2)."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue

from researchpacs.dicom.values import reading_quietly

__all__ = ["Filter", "filter_of", "set_text", "texts_of"]

Filter: TypeAlias = str | Sequence[str] | tuple[str | None, str | None]

_RANGES = frozenset({"DA", "DT", "TM"})
_NUMBERS: Mapping[str, type[int] | type[float]] = {
    **dict.fromkeys(("US", "UL", "SS", "SL"), int),
    **dict.fromkeys(("FL", "FD"), float),
}


def texts_of(ds: Dataset) -> dict[str, list[str]]:
    """Give a query's own elements by keyword, each with its values; none is universal matching (PS3.4 C.2.2.2.3).

    Sequences are left out.
    """
    found: dict[str, list[str]] = {}
    with reading_quietly():
        for tag in ds.keys():  # noqa: SIM118 - iterating a Dataset would convert every element at once
            keyword, element = keyword_for_tag(tag), ds[tag]
            if keyword and element.VR != "SQ":
                values = element.value if isinstance(element.value, MultiValue) else [element.value]
                found[keyword] = [str(one).strip() for one in values if one not in (None, "", b"")]
    return found


def filter_of(keyword: str, values: Sequence[str]) -> Filter:
    """Turn the values of one key into a filter: a range, any of several, or one."""
    if len(values) == 1 and dictionary_VR(keyword) in _RANGES and "-" in values[0]:
        low, _, high = values[0].partition("-")
        return (low.strip() or None, high.strip() or None)
    return values[0] if len(values) == 1 else list(values)


def set_text(ds: Dataset, keyword: str, values: Sequence[str]) -> None:
    """Set an element from stored text; what its VR cannot hold is given without a value."""
    tag, vr = tag_for_keyword(keyword), dictionary_VR(keyword).split(" ")[0]
    if tag is None:
        return
    number = _NUMBERS.get(vr, str)
    try:
        given = [number(one) for one in values]
        ds[tag] = DataElement(tag, vr, given[0] if len(given) == 1 else given)
    except (ValueError, TypeError, OverflowError):
        ds[tag] = DataElement(tag, vr, None)
