"""Values that take no thought, from bytes to the JSON text that `researchpacs.dicom.values` gives (PS3.5 6.2)."""

import re
import struct
from collections.abc import Callable

from researchpacs.dicom._walk_text import has_form

__all__ = ["CHARACTER_SETS", "plain_json"]

_ONE_UID = rb"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*"
_UID = re.compile(rb"(" + _ONE_UID + rb"(?:\\" + _ONE_UID + rb")*)[\0 ]*")
_NUMBER = rb" *[-+]?(?:\d{1,20}\.?\d{0,20}|\.\d{1,20})(?:[eE][-+]?\d{1,2})? *"
_DECIMAL = re.compile(_NUMBER + rb"(?:\\" + _NUMBER + rb")*")
_INTEGER = re.compile(rb" *[-+]?\d{1,9} *(?:\\ *[-+]?\d{1,9} *)*")
_TEXT = re.compile(rb"([!#-\[\]-~](?:[ !#-\[\]-~]*[!#-\[\]-~])?) *")
"""Printable ASCII without quotes and backslashes."""
CHARACTER_SETS = frozenset((b"", b"ISO_IR 6", b"ISO_IR 6 ", b"ISO_IR 100", b"ISO_IR 192"))
"""Where ASCII is ASCII beyond all doubt."""


def plain_json(vr: bytes, value: bytes, character_set: bytes) -> str | None:
    """Give the JSON of a little endian value of this explicit VR; None for one that `values` has to look at."""
    if not value:
        return None
    convert = _CONVERTERS.get(vr)
    if convert is not None:
        return convert(value)
    if vr in _TEXTS and character_set in CHARACTER_SETS:
        found = _TEXT.fullmatch(value)
        text = found[1].decode() if found else ""
        if text and (vr not in _WITH_FORM or has_form(text, vr.decode())):
            return f'"{text}"'
    return None


def _uid(value: bytes) -> str | None:
    found = _UID.fullmatch(value)
    return _listed([f'"{one}"' for one in found[1].decode().split("\\")]) if found else None


def _decimal(value: bytes) -> str | None:
    if not _DECIMAL.fullmatch(value):
        return None
    return _listed([repr(float(one)) for one in value.split(b"\\")])


def _integer(value: bytes) -> str | None:
    if not _INTEGER.fullmatch(value):
        return None
    return _listed([str(int(one)) for one in value.split(b"\\")])


def _numbers(code: str) -> Callable[[bytes], str | None]:
    width = struct.calcsize("=" + code)

    def convert(value: bytes) -> str | None:
        if len(value) % width or len(value) > 64 * width:
            return None
        return _listed([str(one) for one in struct.unpack(f"<{len(value) // width}{code}", value)])

    return convert


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"[{','.join(parts)}]"


_CONVERTERS: dict[bytes, Callable[[bytes], str | None]] = {
    b"UI": _uid,
    b"DS": _decimal,
    b"IS": _integer,
    **{vr: _numbers(code) for vr, code in ((b"US", "H"), (b"SS", "h"), (b"UL", "I"), (b"SL", "i"))},
}
_WITH_FORM = frozenset((b"CS", b"DA", b"DT", b"TM"))
_TEXTS = frozenset((b"CS", b"DA", b"DT", b"LO", b"LT", b"SH", b"ST", b"TM", b"UT"))
