"""Tags and value representations as the walk needs them (PS3.5 7, PS3.6)."""

from functools import cache

from pydicom._dicom_dict import DicomDictionary
from pydicom._private_dict import private_dictionaries
from pydicom.datadict import keyword_for_tag

__all__ = [
    "ITEM",
    "ITEM_END",
    "LONG_FORM",
    "PIXEL_TAGS",
    "SEQUENCE_END",
    "SEQUENCE_TAGS",
    "UNDEFINED",
    "VR_FORMS",
    "creators_of_sequences",
    "has_private_sequences",
    "is_known",
    "is_private_sequence",
    "name_of",
]

UNDEFINED = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
PIXEL_TAGS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
"""FloatPixelData, DoubleFloatPixelData, PixelData."""

LONG_FORM = 12
SHORT_FORM = 8
_LONG_VRS = b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()
_SHORT_VRS = b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()
VR_FORMS = {**dict.fromkeys(_LONG_VRS, LONG_FORM), **dict.fromkeys(_SHORT_VRS, SHORT_FORM)}
"""Bytes of an explicit element's header by VR (PS3.5 7.1.2)."""

SEQUENCE_TAGS = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")


def is_known(tag: int) -> bool:
    """Whether the data dictionary has the tag."""
    return tag in DicomDictionary


def is_private_sequence(tag: int, creator: str) -> bool:
    """Whether a private element of this creator is known to be a sequence."""
    return (creator, tag & 0xFFFF00FF) in _private_sequences()


def name_of(tag: int) -> str:
    """Keyword of a tag, ``"(gggg,eeee)"`` where it has none."""
    return keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def has_private_sequences(creator: str) -> bool:
    """Whether any private element of this creator is known to be a sequence."""
    return creator in creators_of_sequences()


@cache
def creators_of_sequences() -> frozenset[str]:
    """Private creators of whom any element is known to be a sequence."""
    return frozenset(creator for creator, _ in _private_sequences())


@cache
def _private_sequences() -> frozenset[tuple[str, int]]:
    """Creators and tags, the creator's block number taken out, of every private sequence that pydicom would parse."""
    return frozenset(
        (creator, int(pattern.replace("x", "0"), 16) & 0xFFFF00FF)
        for creator, entries in private_dictionaries.items()
        for pattern, entry in entries.items()
        if entry[0] == "SQ" and not pattern[:4].count("x")
    )
