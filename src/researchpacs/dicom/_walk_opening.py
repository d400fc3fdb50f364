"""How a DICOM file opens: preamble, File Meta Information, transfer syntax (PS3.10 7)."""

import struct
from dataclasses import dataclass, field

from researchpacs.dicom._walk import looks_implicit, refuse
from researchpacs.dicom._walk_limits import MAX_VALUE_BYTES
from researchpacs.dicom._walk_tags import LONG_FORM, SHORT_FORM, VR_FORMS
from researchpacs.dicom._walk_window import Window
from researchpacs.errors import InvalidInputError

__all__ = ["BIG_ENDIAN", "DEFLATED", "EXPLICIT", "IMPLICIT", "Opening", "read_opening"]

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"

_PREFIX_END = 132
_MAX_GROUP_ELEMENTS = 100
_GROUP_LENGTH = 0x00020000
_GROUP_LENGTH_BYTES = 12
_SOP_CLASS = 0x00020002
_TRANSFER_SYNTAX = 0x00020010
_TARGETS = {
    b"MZ": "a Windows program",
    b"\x7fELF": "a Linux program",
    b"\xfe\xed\xfa": "a macOS program",
    b"\xce\xfa\xed\xfe": "a macOS program",
    b"\xcf\xfa\xed\xfe": "a macOS program",
    b"\xca\xfe\xba\xbe": "a macOS or Java program",
    b"#!": "a script",
    b"<": "a web page",
    b"PK\x03\x04": "a zip archive",
    b"%PDF": "a PDF document",
}


@dataclass(slots=True)
class Opening:
    """What stands before the data set, and what it says about it."""

    dataset_offset: int = 0
    walk_offset: int = 0
    """Where the data set's own elements begin, behind the Command Set that some dumps of messages have (PS3.7 6.3)."""
    transfer_syntax_uid: str = ""
    """As declared; as recognised where nothing is declared."""
    elements: dict[int, bytes] = field(default_factory=dict)
    """Raw values of the File Meta Information by tag."""
    notes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def sop_class_uid(self) -> str:
        """MediaStorageSOPClassUID."""
        return _uid(self.elements.get(_SOP_CLASS, b""))

    @property
    def implicit(self) -> bool:
        """Whether the data set is declared to have no VRs."""
        return self.transfer_syntax_uid == IMPLICIT

    @property
    def little_endian(self) -> bool:
        """Whether the data set is declared to be little endian."""
        return self.transfer_syntax_uid != BIG_ENDIAN

    @property
    def deflated(self) -> bool:
        """Whether the data set is declared to be deflated as a whole."""
        return self.transfer_syntax_uid == DEFLATED


def read_opening(window: Window) -> Opening:
    """Read everything before the data set.

    Raises
    ------
    InvalidInputError
        The bytes are not DICOM.
    """
    opening = Opening()
    if window.size == 0:
        raise InvalidInputError("not DICOM: the file is empty")
    start = 0
    if window.size >= _PREFIX_END and window.take(128, 4) == b"DICM":
        start = _PREFIX_END
        _check_preamble(window.take(0, 128), opening)
    else:
        _expect_data_set(window)
        opening.notes.append(("", "has no preamble"))
    opening.elements, opening.dataset_offset = _read_group(window, start, 0x0002)
    _check_group_length(opening, start)
    if not opening.elements:
        opening.notes.append(("", "has no File Meta Information"))
    declared = _uid(opening.elements.get(_TRANSFER_SYNTAX, b""))
    if not declared and opening.elements:
        opening.notes.append(("TransferSyntaxUID", "is missing"))
    _, opening.walk_offset = _read_group(window, opening.dataset_offset, 0x0000, implicit=True)
    opening.transfer_syntax_uid = declared or _recognise(window, opening.walk_offset)
    return opening


def _check_preamble(preamble: bytes, opening: Opening) -> None:
    for magic, target in _TARGETS.items():
        if preamble.startswith(magic):
            opening.notes.append(("", f"has a preamble that begins like {target}"))


def _expect_data_set(window: Window) -> None:
    """Take bytes without the prefix only if they begin with an element that DICOM objects begin with."""
    if window.size >= SHORT_FORM:
        header = window.take(0, SHORT_FORM)
        for order in "<>":
            group, _, length = struct.unpack(order + "HHI", header)
            if group in (0x0002, 0x0008) and (header[4:6] in VR_FORMS or (order == "<" and length < window.size)):
                return
    raise InvalidInputError("not DICOM: no DICM prefix at byte 128 and no DICOM element at byte 0")


def _read_group(window: Window, position: int, wanted: int, *, implicit: bool = False) -> tuple[dict[int, bytes], int]:
    """Read little endian elements of one group, whatever length it declares; returns them and where they end."""
    elements: dict[int, bytes] = {}
    if not implicit and window.size - position >= SHORT_FORM:
        implicit = looks_implicit(window.take(position, SHORT_FORM))
    for _ in range(_MAX_GROUP_ELEMENTS):
        if window.size - position < SHORT_FORM:
            return elements, position
        group, number, vr, length = struct.unpack("<HH2sH", window.take(position, SHORT_FORM))
        if group != wanted:
            return elements, position
        tag, form = group << 16 | number, VR_FORMS.get(vr, SHORT_FORM)
        if implicit or not (vr in VR_FORMS or b"AA" <= vr <= b"ZZ"):
            form, length = SHORT_FORM, int.from_bytes(window.take(position + 4, 4), "little")
        elif form == LONG_FORM:
            length = int.from_bytes(window.take(position + SHORT_FORM, 4), "little")
        left = window.size - position - form
        if length > left:
            refuse(tag, position, f"declares {length} bytes where {max(left, 0)} are left")
        elements[tag] = window.take(position + form, length) if length <= MAX_VALUE_BYTES else b""
        position += form + length
    raise InvalidInputError(f"more than {_MAX_GROUP_ELEMENTS} elements of group {wanted:04X} by byte {position}")


def _check_group_length(opening: Opening, start: int) -> None:
    if not opening.elements:
        return
    value = opening.elements.get(_GROUP_LENGTH)
    actual = opening.dataset_offset - start - _GROUP_LENGTH_BYTES
    if value is None:
        opening.notes.append(("FileMetaInformationGroupLength", "is missing"))
    elif len(value) != 4 or int.from_bytes(value, "little") != actual:
        opening.notes.append(("FileMetaInformationGroupLength", f"is not {actual}, the length of its group"))


def _uid(value: bytes) -> str:
    return value.rstrip(b"\0 ").decode("latin-1")


def _recognise(window: Window, position: int) -> str:
    """Recognise the encoding of a data set that declares none by its first element.

    A big endian group up to 00FF reads as 0400 or more in little endian.
    """
    if window.size - position < SHORT_FORM:
        return IMPLICIT
    header = window.take(position, SHORT_FORM)
    if header[4:6] not in VR_FORMS:
        return IMPLICIT
    return BIG_ENDIAN if int.from_bytes(header[:2], "little") >= 0x0400 else EXPLICIT
