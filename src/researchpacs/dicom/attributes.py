"""Values of a header whose elements may be absent, broken or of another count than the Standard says: none then.

A header is a pydicom data set, or its attributes by keyword as `researchpacs.dicom.values` has them; equally.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

__all__ = ["HeaderLike", "items_of", "numbers_of", "private_of", "text_of", "texts_of"]

HeaderLike = Dataset | Mapping[str, Any]
_BLOCKS = range(0x10, 0x16)
"""Private blocks that are looked at: scanners reserve the first ones."""


def numbers_of(ds: HeaderLike, keyword: str, count: int | None = None) -> tuple[float, ...] | None:
    """The finite numbers of an attribute; None where it is absent, broken, or has another number of values."""
    try:
        value: Any = ds.get(keyword)
        if value is None or value == "":
            return None
        # Adding zero makes -0.0 plain zero.
        if isinstance(value, int | float):  # most are one number, for which an array would take ten times as long
            return (float(value) + 0.0,) if math.isfinite(value) and count in (None, 1) else None
        numbers = tuple(float(one) + 0.0 for one in np.atleast_1d(np.asarray(value, dtype=float)))
    except Exception:  # pydicom raises whatever a broken value trips over; `values.read_tags` tells it
        return None
    usable = np.isfinite(numbers).all() and len(numbers) == (count or len(numbers))
    return numbers if usable and numbers else None


def texts_of(ds: HeaderLike | None, keyword: str) -> tuple[str, ...]:
    """The texts of an attribute without padding; none where it is absent or broken."""
    if ds is None:
        return ()
    try:
        value = ds.get(keyword)
        if value is None or value == "":
            return ()
        if isinstance(value, str):
            return (str(value).strip(),)
        several = value if isinstance(value, list | tuple | MultiValue) else [value]
        return tuple("" if one is None else str(one).strip() for one in several)
    except Exception:  # as in `numbers_of`
        return ()


def text_of(ds: HeaderLike | None, keyword: str) -> str:
    """The one text of an attribute; empty where it is absent, broken, or has several."""
    found = texts_of(ds, keyword)
    return found[0] if len(found) == 1 else ""


def items_of(ds: HeaderLike, keyword: str) -> Sequence[HeaderLike]:
    """The items of a sequence; none where it is absent or cannot be read."""
    try:
        found = ds.get(keyword) or []
    except Exception:  # as in `numbers_of`
        return []
    return found if isinstance(found, Sequence) and not isinstance(found, str) else []


def private_of(ds: HeaderLike, group: int, creator: str, element: int) -> Any:
    """The value of a private attribute by its creator (PS3.5 7.8.1); None where there is none, or only bytes."""
    for block in _BLOCKS:
        number = block << 8 | element
        if isinstance(ds, Dataset):
            try:
                reserved = ds.get((group, block))
                found = ds.get((group, number)) if reserved is not None and reserved.value == creator else None
            except Exception:  # as in `numbers_of`
                return None
            value = None if found is None else found.value
        else:
            told = ds.get(f"({group:04x},{number:04x})")
            value = told["value"] if isinstance(told, dict) and told.get("creator") == creator else None
        if value is not None and not isinstance(value, bytes | dict):
            return list(value) if isinstance(value, MultiValue) else value
    return None
