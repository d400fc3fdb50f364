"""Command sets (PS3.7 6.3.1, E.1): group 0000 in Implicit VR Little Endian, by keyword."""

import struct
from collections.abc import Mapping
from typing import TypeAlias

from researchpacs.archive._dimse._errors import ProtocolError

__all__ = [
    "C_CANCEL",
    "C_ECHO",
    "C_FIND",
    "C_GET",
    "C_MOVE",
    "C_STORE",
    "N_ACTION",
    "N_EVENT_REPORT",
    "RESPONSE",
    "Command",
    "decode_command",
    "encode_command",
    "has_data_set",
]

Command: TypeAlias = Mapping[str, int | str]

C_STORE, C_GET, C_FIND, C_MOVE, C_ECHO = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030
N_EVENT_REPORT, N_ACTION, C_CANCEL = 0x0100, 0x0130, 0x0FFF
RESPONSE = 0x8000
"""Set in the Command Field of a response."""

_NO_DATA_SET = 0x0101
_ANY_DATA_SET = 0x0001
_ELEMENT = struct.Struct("<HHI")
_VRS: Mapping[int, tuple[str, str]] = {
    0x0002: ("AffectedSOPClassUID", "UI"),
    0x0003: ("RequestedSOPClassUID", "UI"),
    0x0100: ("CommandField", "US"),
    0x0110: ("MessageID", "US"),
    0x0120: ("MessageIDBeingRespondedTo", "US"),
    0x0600: ("MoveDestination", "AE"),
    0x0700: ("Priority", "US"),
    0x0800: ("CommandDataSetType", "US"),
    0x0900: ("Status", "US"),
    0x0902: ("ErrorComment", "LO"),
    0x1000: ("AffectedSOPInstanceUID", "UI"),
    0x1001: ("RequestedSOPInstanceUID", "UI"),
    0x1002: ("EventTypeID", "US"),
    0x1008: ("ActionTypeID", "US"),
    0x1020: ("NumberOfRemainingSuboperations", "US"),
    0x1021: ("NumberOfCompletedSuboperations", "US"),
    0x1022: ("NumberOfFailedSuboperations", "US"),
    0x1023: ("NumberOfWarningSuboperations", "US"),
    0x1030: ("MoveOriginatorApplicationEntityTitle", "AE"),
    0x1031: ("MoveOriginatorMessageID", "US"),
}
_NUMBERS = {keyword: number for number, (keyword, _) in _VRS.items()}
_PADDING = {"UI": b"\0", "AE": b" ", "LO": b" "}


def decode_command(data: bytes) -> Command:
    """Read a command set; elements that no message here needs are left out.

    Raises
    ------
    ProtocolError
        The bytes are no command set.
    """
    found: dict[str, int | str] = {}
    position = 0
    while position < len(data):
        if len(data) - position < _ELEMENT.size:
            raise ProtocolError("the peer sent a command set that ends within an element")
        group, number, length = _ELEMENT.unpack_from(data, position)
        position += _ELEMENT.size
        if group != 0 or length > len(data) - position:
            raise ProtocolError(f"the peer sent a command set with the element ({group:04X},{number:04X})")
        if number in _VRS:
            keyword, vr = _VRS[number]
            found[keyword] = _value(data[position : position + length], keyword, vr)
        position += length
    if "CommandField" not in found:
        raise ProtocolError("the peer sent a command set without a command")
    return found


def encode_command(command: Command, *, with_data_set: bool) -> bytes:
    """Write a command set with its group length (0000,0000) and data set type (0000,0800)."""
    full = {**command, "CommandDataSetType": _ANY_DATA_SET if with_data_set else _NO_DATA_SET}
    elements = b"".join(
        _element(_NUMBERS[keyword], full[keyword]) for keyword in sorted(full, key=_NUMBERS.__getitem__)
    )
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<I", len(elements)) + elements


def has_data_set(command: Command) -> bool:
    """Whether a data set follows (PS3.7 E.1: 0101H says that none does)."""
    return command.get("CommandDataSetType", _NO_DATA_SET) != _NO_DATA_SET


def _value(data: bytes, keyword: str, vr: str) -> int | str:
    if vr == "US":
        if len(data) != 2:
            raise ProtocolError(f"the peer sent a {keyword} of {len(data)} bytes")
        return int.from_bytes(data, "little")
    text = data.rstrip(b"\0 ").lstrip(b" ")
    if not text.isascii():
        raise ProtocolError(f"the peer sent a {keyword} that is not ASCII")
    return text.decode("ascii")


def _element(number: int, value: int | str) -> bytes:
    _, vr = _VRS[number]
    if isinstance(value, int):
        data = struct.pack("<H", value)
    else:
        data = value.encode("ascii", "replace")
        data += _PADDING[vr] * (len(data) % 2)
    return _ELEMENT.pack(0, number, len(data)) + data
