"""A multipart body taken apart as its bytes come in, in bounded memory (RFC 2046 5.1, RFC 2387, RFC 7578)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from researchpacs.errors import InvalidInputError

__all__ = ["Begin", "Data", "End", "Event", "PartReader"]

_MOST_HEADER_BYTES = 16_384
_MOST_PREAMBLE_BYTES = 65_536
_MOST_PARTS = 1_000_000
_LONGEST_BOUNDARY = 200
"""RFC 2046 allows 70; Orthanc sends 73."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A part begins."""

    headers: Mapping[str, str]
    """By name in lower case."""


@dataclass(frozen=True, slots=True)
class Data:
    """Some of the part's content."""

    content: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The part is complete."""


Event: TypeAlias = Begin | Data | End


class _State(Enum):
    PREAMBLE = "before the first boundary"
    BOUNDARY = "at the end of a boundary"
    HEADERS = "in the header of a part"
    CONTENT = "in the content of a part"
    CLOSED = "after the last boundary"


class PartReader:
    """Takes a body apart as its bytes come in.

    Parameters
    ----------
    boundary
        The parameter of the body's Content-Type.

    Raises
    ------
    InvalidInputError
        From every method: the body is not what its Content-Type says.
    """

    def __init__(self, boundary: str) -> None:
        if not 1 <= len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii():
            raise InvalidInputError(f"a multipart body has a boundary of 1 to {_LONGEST_BOUNDARY} characters")
        self._delimiter = b"\r\n--" + boundary.encode()
        # The first boundary may stand at the very start, where no line ends before it.
        self._buffer = bytearray(b"\r\n")
        self._state = _State.PREAMBLE
        self._skipped = 0
        self._parts = 0
        self._declared: int | None = None
        self._length = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take more bytes; gives what can be told by now, and keeps at most a header's worth."""
        self._buffer += data
        while True:
            before = self._state, len(self._buffer)
            yield from self._step()
            if (self._state, len(self._buffer)) == before:
                return

    def close(self) -> None:
        """End the body, which has to end with its closing boundary."""
        if self._state is not _State.CLOSED:
            raise InvalidInputError(f"the multipart body ends {self._state.value}; it was cut off, or is none")
        if not self._parts:
            raise InvalidInputError("the multipart body has no part")

    def _step(self) -> Iterator[Event]:
        if self._state is _State.PREAMBLE:
            self._skip_preamble()
        elif self._state is _State.BOUNDARY:
            self._end_boundary()
        elif self._state is _State.HEADERS:
            yield from self._read_headers()
        elif self._state is _State.CONTENT:
            yield from self._read_content()
        else:
            self._buffer.clear()

    def _skip_preamble(self) -> None:
        found = self._buffer.find(self._delimiter)
        cut = found if found >= 0 else max(0, len(self._buffer) - len(self._delimiter) + 1)
        self._skipped += cut
        if self._skipped > _MOST_PREAMBLE_BYTES:
            raise InvalidInputError("the multipart body does not begin with the boundary of its Content-Type")
        del self._buffer[:cut]
        if found >= 0:
            del self._buffer[: len(self._delimiter)]
            self._state = _State.BOUNDARY

    def _end_boundary(self) -> None:
        if self._buffer.startswith(b"--"):
            self._state = _State.CLOSED
            return
        line = self._buffer.find(b"\r\n")
        if line < 0 and len(self._buffer) <= _LONGEST_BOUNDARY:
            return
        if line < 0 or self._buffer[:line].strip(b" \t"):
            raise InvalidInputError("the multipart body has a boundary that goes on where its line should end")
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise InvalidInputError(f"the multipart body has more than {_MOST_PARTS} parts")
        # The line's end stays: a header without a field is that end and nothing else.
        del self._buffer[:line]
        self._state = _State.HEADERS

    def _read_headers(self) -> Iterator[Event]:
        end = self._buffer.find(b"\r\n\r\n")
        if end > _MOST_HEADER_BYTES or (end < 0 and len(self._buffer) > _MOST_HEADER_BYTES):
            raise InvalidInputError(f"a part's header has more than {_MOST_HEADER_BYTES} bytes")
        if end < 0:
            return
        headers = _headers(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        self._declared, self._length = _content_length(headers), 0
        self._state = _State.CONTENT
        yield Begin(headers)

    def _read_content(self) -> Iterator[Event]:
        found = self._buffer.find(self._delimiter)
        cut = found if found >= 0 else max(0, len(self._buffer) - len(self._delimiter) + 1)
        self._length += cut
        content = bytes(self._buffer[:cut])
        del self._buffer[:cut]
        if content:
            yield Data(content)
        if found >= 0:
            self._check_length()
            del self._buffer[: len(self._delimiter)]
            self._state = _State.BOUNDARY
            yield End()

    def _check_length(self) -> None:
        if self._declared is not None and self._declared != self._length:
            raise InvalidInputError(f"a part declares {self._declared} bytes and has {self._length}")


def _headers(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in block.decode("latin-1").split("\r\n"):
        if not line:
            continue
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or name != name.strip():
            raise InvalidInputError("a part's header has a line that is no field")
        headers[name.lower()] = value.strip()
    return headers


def _content_length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidInputError("a part's Content-Length is a count of bytes")
    return int(text)
