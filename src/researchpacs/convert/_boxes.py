"""Boxes of an MP4 file (ISO/IEC 14496-12): offsets into the bytes, none of them believed before it is checked."""

from collections.abc import Iterator
from dataclasses import dataclass

from researchpacs.errors import InvalidInputError

__all__ = ["Box", "boxes", "only", "unsigned"]

_TRUNCATED = "the MP4 file is damaged or truncated"
_MOST_BOXES = 10_000


@dataclass(frozen=True, slots=True)
class Box:
    """One box."""

    kind: bytes
    start: int
    """Of its header."""
    body: int
    end: int


def boxes(content: bytes | bytearray, start: int, end: int) -> Iterator[Box]:
    """Walk the boxes between two offsets, which they have to fill to the last byte.

    Raises
    ------
    InvalidInputError
        They do not.
    """
    for _ in range(_MOST_BOXES):
        if start == end:
            return
        if end - start < 8:
            raise InvalidInputError(_TRUNCATED)
        size, body = unsigned(content, start, 4), start + 8
        if size == 1:
            size, body = unsigned(content, start + 8, 8), start + 16
        elif size == 0:
            size = end - start
        if size < body - start or size > end - start:
            raise InvalidInputError(_TRUNCATED)
        yield Box(bytes(content[start + 4 : start + 8]), start, body, start + size)
        start += size
    raise InvalidInputError(_TRUNCATED)


def only(content: bytes | bytearray, box: Box, *path: bytes) -> Box:
    """Follow a path of boxes that there is one of each.

    Raises
    ------
    InvalidInputError
        There is none, or more.
    """
    for kind in path:
        found = [one for one in boxes(content, box.body, box.end) if one.kind == kind]
        if len(found) != 1:
            raise InvalidInputError(f"{_TRUNCATED}: {len(found)} boxes {kind.decode()!r} where one was expected")
        box = found[0]
    return box


def unsigned(content: bytes | bytearray, offset: int, length: int) -> int:
    """Read a big endian number.

    Raises
    ------
    InvalidInputError
        The file ends before.
    """
    value = content[offset : offset + length]
    if len(value) != length:
        raise InvalidInputError(_TRUNCATED)
    return int.from_bytes(value, "big")
