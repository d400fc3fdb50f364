"""Answers that are made of stretches of files: the system sends them where it can, without a byte passing through here.

A server that can offers the extension `EXTENSION` in the scope (ASGI, "Extensions"); ours does without TLS. After
``http.response.start`` it takes one message of that type with an iterator of `Piece` under ``pieces``, and the length
that was declared; anything else, and every other server, gets the bytes in blocks.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from starlette.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from researchpacs.errors import ConflictError

__all__ = ["CAN_SEND_FILES", "EXTENSION", "Piece", "PiecesResponse", "Stretch", "read_out", "shortened"]

EXTENSION = "researchpacs.pieces"
CAN_SEND_FILES = hasattr(os, "sendfile")
_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of an open file; it is read by place, and stays where it stands."""

    file: BinaryIO
    offset: int
    size: int


Piece: TypeAlias = bytes | Stretch


class PiecesResponse(StreamingResponse):
    """An answer of known length.

    Parameters
    ----------
    pieces
        Taken one after the other in threads; the file of a stretch is open until the next is asked for.
    size
        Bytes of all of them.
    """

    def __init__(
        self, pieces: Iterable[Piece], *, size: int, headers: Mapping[str, str], status_code: int = 200
    ) -> None:
        self._pieces = iter(pieces)
        fields = {**headers, "Content-Length": str(size)}
        super().__init__(iterate_in_threadpool(read_out(self._pieces)), status_code=status_code, headers=fields)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await self._send(scope, receive, send)
        finally:
            if isinstance(self._pieces, Generator):
                self._pieces.close()  # and with it the file that it stands in, which would wait for the collector

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        if EXTENSION not in scope.get("extensions", {}):
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": EXTENSION, "pieces": self._pieces})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def read_out(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The bytes of pieces in blocks, small ones together: each that is sent costs a turn of the event loop.

    Raises
    ------
    ConflictError
        A file became shorter meanwhile.
    """
    waiting, length = list[bytes](), 0
    for block in _blocks(pieces):
        waiting.append(block)
        length += len(block)
        if length >= _BLOCK:
            yield b"".join(waiting) if len(waiting) > 1 else block
            waiting, length = [], 0
    if waiting:
        yield b"".join(waiting)


def shortened() -> ConflictError:
    """A file, or an answer, that is not as long as was said."""
    return ConflictError("a file changed while it was sent; restore it, or delete the instance and ingest again")


def _blocks(pieces: Iterable[Piece]) -> Iterator[bytes]:
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        piece.file.seek(piece.offset)
        left = piece.size
        while left:
            block = piece.file.read(min(left, _BLOCK))
            if not block:
                raise shortened()
            left -= len(block)
            yield block
