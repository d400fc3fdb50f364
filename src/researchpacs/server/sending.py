"""An answer's head goes out with its content: one call of the system and one packet where uvicorn makes two."""

import asyncio
from typing import Any

__all__ = ["Together"]

_ENOUGH = 65_536


class Together:
    """A transport that gathers what is written within one turn of the event loop.

    Parameters
    ----------
    transport
        What sends it; everything but writing is its own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []
        self._size = 0
        self.written = 0
        """Bytes that were to be sent, whether or not the peer has taken them."""

    def write(self, data: bytes) -> None:
        """Send, with what else is written in this turn; much at once."""
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self.written += len(data)
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= _ENOUGH:
            self.flush()

    def flush(self) -> None:
        """Send now."""
        if self._waiting:
            data = b"".join(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
            self._waiting, self._size = [], 0
            self._transport.write(data)

    def close(self) -> None:
        """Send the rest, then end the connection."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._waiting, self._size = [], 0
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        """Bytes that are still here."""
        return self._size + self._transport.get_write_buffer_size()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
