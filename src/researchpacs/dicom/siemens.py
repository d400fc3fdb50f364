"""The CSA Image Header of Siemens: numbers by name out of a private binary attribute.

Laid out as elements of a fixed head (name, VM, VR, count of items) and items of a length and text, padded to four
bytes; version 2 begins with ``SV10``. Siemens has not published it.
"""

import math
import struct
from collections.abc import Iterator

from pydicom.dataset import Dataset

from researchpacs.dicom.attributes import HeaderLike

__all__ = ["csa_numbers"]

_CREATOR = "SIEMENS CSA HEADER"
_BLOCKS = range(0x10, 0x14)
_ELEMENT = struct.Struct("<64si4siii")
_ITEM = struct.Struct("<4i")
_MOST_ELEMENTS = 1000
_MOST_ITEMS = 1000


def csa_numbers(ds: HeaderLike, name: str) -> list[float]:
    """The numbers of an element of the CSA Image Header (0029,xx10); none where it, or the header, is not there.

    Attributes by keyword do not have it: of binary values they keep the length alone.
    """
    data = _header(ds)
    try:
        texts = next((items for found, items in _elements(data) if found == name), [])
        numbers = [float(text) for text in texts]
        return numbers if all(map(math.isfinite, numbers)) else []
    except (struct.error, ValueError):
        return []


def _header(ds: HeaderLike) -> bytes:
    if not isinstance(ds, Dataset):
        return b""
    for block in _BLOCKS:
        try:
            reserved, found = ds.get((0x0029, block)), ds.get((0x0029, block << 8 | 0x10))
        except Exception:  # pydicom raises whatever a broken value trips over
            return b""
        if reserved is not None and found is not None and reserved.value == _CREATOR and isinstance(found.value, bytes):
            return found.value
    return b""


def _elements(data: bytes) -> Iterator[tuple[str, list[str]]]:
    """Name and texts of each element, as far as the bytes are sound."""
    at = 8 if data[:4] == b"SV10" else 0
    if len(data) < at + 8:
        return
    (count,) = struct.unpack_from("<I", data, at)
    at += 8
    for _ in range(min(count, _MOST_ELEMENTS)):
        name, _, _, _, items, _ = _ELEMENT.unpack_from(data, at)
        at += _ELEMENT.size
        texts = []
        for _ in range(min(max(items, 0), _MOST_ITEMS)):
            length = _ITEM.unpack_from(data, at)[1]
            at += _ITEM.size
            if not 0 <= length <= len(data) - at:
                return
            text = data[at : at + length].split(b"\0")[0].strip().decode("latin-1")
            texts += [text] if text else []
            at += (length + 3) // 4 * 4
        yield name.split(b"\0")[0].decode("latin-1"), texts
