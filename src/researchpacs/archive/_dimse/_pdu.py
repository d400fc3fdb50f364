"""Protocol Data Units on a socket (PS3.8 9.3): a length is checked before a byte behind it is read.

All integers are big endian (PS3.8 9.3.1). A PDU is type, a reserved byte and four bytes of length; a P-DATA-TF holds
presentation data values, each with a length, a context id, a message control header and a fragment.
"""

import contextlib
import io
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from researchpacs.archive._dimse._errors import GoneError, ProtocolError, TimedOutError

__all__ = [
    "ABORT",
    "ASSOCIATE_AC",
    "ASSOCIATE_RJ",
    "ASSOCIATE_RQ",
    "DATA",
    "LONGEST_PDU",
    "RELEASE_RP",
    "RELEASE_RQ",
    "Fragment",
    "Wire",
    "fragments_of",
]

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

LONGEST_PDU = 131_072
"""Bytes of a P-DATA-TF that we announce and take: what dcmtk takes at most, too."""
_LONGEST_NEGOTIATION = 262_144
"""128 presentation contexts of 40 transfer syntaxes each are 200,000 bytes."""
_LONGEST = {
    ASSOCIATE_RQ: _LONGEST_NEGOTIATION,
    ASSOCIATE_AC: _LONGEST_NEGOTIATION,
    ASSOCIATE_RJ: 4,
    DATA: LONGEST_PDU,
    RELEASE_RQ: 4,
    RELEASE_RP: 4,
    ABORT: 4,
}
_LARGEST_CHUNK = 1 << 20
_DROPPED = 65_536
_QUICK: int | None = getattr(socket, "TCP_QUICKACK", None)
_HEADER = struct.Struct(">BxI")
_VALUE_HEADER = struct.Struct(">IBB")
_DATA_HEADER = struct.Struct(">BxIIBB")
_COMMAND, _LAST = 1, 2


class Fragment(NamedTuple):
    """One presentation data value (PS3.8 9.3.5.1)."""

    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview


class Wire:
    """PDUs in both directions over one connection.

    Parameters
    ----------
    sock
        Connected; the wire closes it.
    patience_s
        A PDU that has begun has to be complete, and what we send taken, after this time.

    Attributes
    ----------
    received_at
        When the last PDU was complete (`time.monotonic`).
    """

    def __init__(self, sock: socket.socket, *, patience_s: float) -> None:
        self._sock = sock
        self._patience_s = patience_s
        self.received_at = time.monotonic()
        # A message waits for its answer: Nagle's algorithm with delayed acknowledgements would stall each by 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive(self, *, wait_s: float | None) -> tuple[int, bytearray]:
        """Read one PDU: its type and what is behind its length.

        Parameters
        ----------
        wait_s
            How long until its first byte; None waits for ever.
        """
        self._acknowledge_at_once()
        first = self._read(1, None if wait_s is None else time.monotonic() + wait_s)
        until = time.monotonic() + self._patience_s
        kind, length = _HEADER.unpack(first + self._read(_HEADER.size - 1, until))
        longest = _LONGEST.get(kind)
        if longest is None:
            raise ProtocolError(f"the peer sent a PDU of the unknown type {kind:#04x}")
        if length > longest:
            raise ProtocolError(f"the peer sent a PDU of {length} bytes where {longest} are allowed")
        body = self._read(length, until)
        self.received_at = time.monotonic()
        return kind, body

    def send(self, kind: int, body: bytes = bytes(4)) -> None:
        """Send one PDU."""
        self._write(_HEADER.pack(kind, len(body)) + body)

    def send_data(
        self, context_id: int, data: bytes | BinaryIO, *, is_command: bool, longest: int, length: int | None = None
    ) -> None:
        """Send a command set or a data set in P-DATA-TF PDUs of at most `longest` bytes (0: no limit, PS3.8 D.1).

        Parameters
        ----------
        length
            Bytes to send from a file, from where it stands.
        """
        chunk = min(longest - _VALUE_HEADER.size if longest else _LARGEST_CHUNK, _LARGEST_CHUNK) & ~1
        file = io.BytesIO(data) if isinstance(data, bytes) else data
        left = len(data) if isinstance(data, bytes) else length or 0
        control = _COMMAND if is_command else 0
        buffer = bytearray(_DATA_HEADER.size + min(chunk, left + 1))
        while True:
            size = min(chunk, left)
            # A fragment has an even number of bytes (PS3.8 9.3.5.1); only a deflated data set may have an odd one
            # (PS3.5 A.5), which a zero completes.
            padded = size + size % 2
            body = memoryview(buffer)[: _DATA_HEADER.size + padded]
            body[-1:] = b"\0"
            if file.readinto(body[_DATA_HEADER.size : _DATA_HEADER.size + size]) != size:  # type: ignore[attr-defined]
                raise GoneError("the file that is being sent ended early")
            left -= size
            _DATA_HEADER.pack_into(
                body, 0, DATA, padded + _VALUE_HEADER.size, padded + 2, context_id, control | (0 if left else _LAST)
            )
            self._write(body)
            if not left:
                return

    def is_readable(self) -> bool:
        """Whether the peer has sent something that waits to be read."""
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return True
        return bool(select.select([self._sock], [], [], 0)[0])

    def linger(self, seconds: float) -> None:
        """Read and drop what still comes until the peer closes (PS3.8 9.2.3, Sta13).

        Closing with bytes unread resets the connection, which may take back the last answer on its way.
        """
        until = time.monotonic() + seconds
        with contextlib.suppress(OSError, ValueError):
            while (left := until - time.monotonic()) > 0:
                self._sock.settimeout(left)
                if not self._sock.recv(_DROPPED):
                    return

    def close(self) -> None:
        """End the connection; whoever waits for it in another thread gets `GoneError`."""
        with contextlib.suppress(OSError):  # the peer was first
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _acknowledge_at_once(self) -> None:
        """Keep a peer from stalling that writes a PDU in pieces without TCP_NODELAY, as dcmtk does by default.

        It sends the second piece when the first is acknowledged, which the system would put off by 40 ms. Linux
        forgets the option by itself (tcp(7)); other systems do not have it.
        """
        if _QUICK is not None:
            with contextlib.suppress(OSError):  # the connection is gone, which reading will tell
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICK, 1)

    def _read(self, length: int, until: float | None) -> bytearray:
        data = bytearray(length)
        view, done = memoryview(data), 0
        while done < length:
            try:
                self._sock.settimeout(None if until is None else max(0.001, until - time.monotonic()))
                got = self._sock.recv_into(view[done:])
            except TimeoutError:
                raise TimedOutError("the peer sent nothing, or not all, in time") from None
            except (OSError, ValueError):
                raise GoneError("the connection to the peer broke") from None
            if not got:
                raise GoneError("the peer closed the connection")
            done += got
        return data

    def _write(self, data: bytes | memoryview) -> None:
        try:
            self._sock.settimeout(self._patience_s)
            self._sock.sendall(data)
        except TimeoutError:
            raise TimedOutError("the peer did not take what was sent in time") from None
        except (OSError, ValueError):
            raise GoneError("the connection to the peer broke") from None


def fragments_of(body: bytearray) -> Iterator[Fragment]:
    """Take a P-DATA-TF apart, checking every length (PS3.8 9.3.5)."""
    view, position = memoryview(body), 0
    while position < len(view):
        if len(view) - position < _VALUE_HEADER.size:
            raise ProtocolError("the peer sent a presentation data value without a complete header")
        length, context_id, control = _VALUE_HEADER.unpack_from(view, position)
        end = position + 4 + length
        if length < 2 or end > len(view):
            raise ProtocolError(f"the peer sent a presentation data value of {length} bytes in a PDU of {len(view)}")
        data = view[position + _VALUE_HEADER.size : end]
        yield Fragment(context_id, bool(control & _COMMAND), bool(control & _LAST), data)
        position = end
