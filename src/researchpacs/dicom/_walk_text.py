"""Header values as text, and what breaks their value representation (PS3.5 6.1, 6.2)."""

import re
import struct
import warnings
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.valuerep import TEXT_VR_DELIMS

__all__ = ["as_text", "has_form", "knows_character_set", "problem_of"]

_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_BYTES = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN", "SQ", "AT"))
"""Without a text of their own."""
_ONE_VALUE = frozenset(("LT", "ST", "UT", "UR"))
_CHARACTER_SETS = frozenset(("SH", "LO", "ST", "LT", "UC", "UT", "PN"))
_PLAIN = re.compile(rb"[\t\n\f\r -~]*\Z")

_MISSPELT = re.compile(
    r"ISO[^_]IR|(?!ISO 2022 IR )ISO.2022.IR."
    r"|(?i:utf[-_]?8|latin[-_]?1|iso[-_]?8859[-_]?\d{1,2}|(us-)?ascii|(cp|windows-)125\d)\Z"
)
_LONGEST = 64
"""Bytes of one value beyond which no pattern is tried: none of the VRs below allows more."""
_FORMS = {
    "AE": re.compile(rb"[ -~]{1,16}"),
    "AS": re.compile(rb"\d{3}[DWMY]"),
    "CS": re.compile(rb"[A-Z0-9_ ]{1,16}"),
    "DA": re.compile(rb"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])|\d{4}\.\d\d\.\d\d"),
    "DT": re.compile(
        rb"\d{4}((0[1-9]|1[0-2])((0[1-9]|[12]\d|3[01])(([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?)?)?)?"
        rb"([+-]\d{4})?"
    ),
    "DS": re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"),
    "IS": re.compile(rb"[-+]?\d{1,12}"),
    "TM": re.compile(rb"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?"),
    "UI": re.compile(rb"(0|[1-9]\d*)(\.(0|[1-9]\d*))*"),
}


def as_text(value: bytes, vr: str, character_set: bytes, *, little_endian: bool) -> str:
    r"""Decode a value as pydicom does.

    Parameters
    ----------
    value
        Raw bytes.
    vr
        Value representation; ``"US or SS"`` and the like read as the first.
    character_set
        Raw value of SpecificCharacterSet, empty where it is absent.
    little_endian
        Byte order of binary numbers.

    Returns
    -------
    text
        Without padding, values separated by ``\``.
    """
    if code := _NUMBERS.get(vr[:2]):
        order, width = "<" if little_endian else ">", struct.calcsize("=" + code)
        count = len(value) // width
        return "\\".join(str(number) for number in struct.unpack_from(f"{order}{count}{code}", value))
    if vr in _BYTES:
        return ""
    if vr in _CHARACTER_SETS and not _PLAIN.match(value):
        text = _decode(value, character_set)
    else:
        text = value.decode("latin-1")
    if vr in _ONE_VALUE:
        return text.rstrip("\0 ")
    values = text.rstrip("\0 ").split("\\")
    if vr in ("SH", "LO", "UC"):
        values = [one.rstrip("\0 ") for one in values]
    elif vr in ("AE", "DS", "IS", "UI"):
        values = [one.strip() for one in values]
    elif vr == "PN":  # empty component groups at the end are no part of a name
        values = [one.rstrip("=") for one in values]
    return "\\".join(values)


def has_form(text: str, vr: str) -> bool:
    """Whether one value that is a text has the form that its VR demands; where it demands none, any has."""
    form = _FORMS.get(vr)
    # Latin-1 has a byte for each of the few characters that the forms know.
    value = text.encode("latin-1", "replace")
    return form is None or (len(value) <= _LONGEST and form.fullmatch(value.strip(b" ")) is not None)


def problem_of(value: bytes, vr: str) -> str:
    """Say how a value breaks its VR, without the value; empty where it does not."""
    if form := _FORMS.get(vr):
        for one in value.rstrip(b"\0 ").split(b"\\"):
            if one and (len(one) > _LONGEST or not form.fullmatch(one.strip(b" "))):
                return f"has a value that is no {vr}"
    if (code := _NUMBERS.get(vr)) and len(value) % struct.calcsize("=" + code):
        return f"has {len(value)} bytes, no whole number of {vr} values"
    if len(value) % 2:
        return f"has an odd length of {len(value)} bytes"
    return ""


def _decode(value: bytes, character_set: bytes) -> str:
    encodings = _encodings(character_set)
    with warnings.catch_warnings():
        # pydicom warns where it falls back to another character set; the text it then gives is what it gives later too.
        warnings.simplefilter("ignore")
        return str(decode_bytes(value.rstrip(b"\0 "), list(encodings), set(TEXT_VR_DELIMS)))


@lru_cache(maxsize=256)
def _encodings(character_set: bytes) -> tuple[str, ...]:
    names = [name if _is_known(name) else "ISO_IR 6" for name in _names(character_set)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(convert_encodings(names))


def knows_character_set(character_set: bytes) -> bool:
    """Whether SpecificCharacterSet names what DICOM defines, or what its writers mistake for that."""
    return all(map(_is_known, _names(character_set)))


def _names(character_set: bytes) -> list[str]:
    return character_set.decode("latin-1").rstrip("\0 ").split("\\")


def _is_known(name: str) -> bool:
    """Whether pydicom maps the name itself.

    It takes any other for one of Python's codecs, of which some are slow and some no text at all.
    """
    return name in python_encoding or _MISSPELT.match(name) is not None
