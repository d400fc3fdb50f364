"""Pieces on their way into a connection: a thread gives the system what it takes, the event loop waits for the rest.

A file may have to come from the disk first, which must not hold up other requests; a peer may be slow, which must not
hold up a thread.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

import anyio.to_thread

from researchpacs.server.pieces import Piece, Stretch, shortened

__all__ = ["Outflow"]

_TURN = 64 << 20
"""Bytes after which a thread is left to others, however fast the peer is."""
_MORE = getattr(socket, "MSG_MORE", 0)


class Outflow:
    """Sends pieces past the transport of a connection, which has nothing to send meanwhile.

    Parameters
    ----------
    sock
        Of the connection, as a duplicate of its own that does not block: it stays this connection's when the transport
        closes, and another connection gets the number. It is closed at the end.
    pieces
        Taken in threads.
    size
        Bytes of all pieces.
    """

    def __init__(self, sock: socket.socket, pieces: Iterator[Piece], size: int) -> None:
        self.went = 0
        """Bytes that the system has taken."""
        self._sock = sock
        self._pieces = pieces
        self._size = size
        self._piece: Piece | None = None
        self._at = 0
        self._stopped = False
        self._waiter: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Send all, unless it is stopped or the peer goes away, which is no error.

        Raises
        ------
        ConflictError
            A file is not what it was, or the pieces are not as long as was said.
        """
        try:
            with contextlib.suppress(ConnectionError):
                while not await anyio.to_thread.run_sync(self._go_on):
                    await self._room()
        finally:
            self._sock.close()
            self._piece = None

    def stop(self) -> None:
        """Send no more: the connection is gone."""
        self._stopped = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _room(self) -> None:
        """Wait until the system takes more."""
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        if self._stopped:
            return
        loop.add_writer(self._sock, lambda: None if waiter.done() else waiter.set_result(None))
        try:
            await waiter
        finally:
            loop.remove_writer(self._sock)

    def _go_on(self) -> bool:
        """Send until all is sent, or it is somebody else's turn."""
        limit = self.went + _TURN
        while not self._stopped and self.went < limit:
            if self._piece is None:
                self._piece, self._at = next(self._pieces, None), 0
            if self._piece is None:
                if self.went != self._size:
                    raise shortened()
                return True
            if self._size_of(self._piece) > self._size - self.went + self._at:
                raise shortened()
            try:
                sent = self._send(self._piece)
            except BlockingIOError:
                return False
            self._at += sent
            self.went += sent
            if self._at == self._size_of(self._piece):
                self._piece = None
        return self._stopped

    def _send(self, piece: Piece) -> int:
        if isinstance(piece, bytes):
            # What follows goes along, so that a small head is no packet of its own.
            is_last = self.went - self._at + len(piece) == self._size
            return self._sock.send(memoryview(piece)[self._at :], 0 if is_last else _MORE)
        left = piece.size - self._at
        sent = os.sendfile(self._sock.fileno(), piece.file.fileno(), piece.offset + self._at, left) if left else 0
        if left and not sent:
            raise shortened()
        return sent

    @staticmethod
    def _size_of(piece: Piece) -> int:
        return piece.size if isinstance(piece, Stretch) else len(piece)
