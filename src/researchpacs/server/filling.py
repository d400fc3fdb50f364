"""A request's body straight from the connection into memory: one copy, where uvicorn and ASGI make five.

A server that can offers the extension `EXTENSION` in the scope: a coroutine function that takes a block of memory as
long as the body, and a function that is told how many more bytes of it are filled. It returns when all are.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.requests import ClientDisconnect

__all__ = ["EXTENSION", "Fill", "Filling"]

EXTENSION = "researchpacs.fill"
Fill: TypeAlias = Callable[[memoryview, Callable[[int], None]], Awaitable[None]]


class Filling(asyncio.BufferedProtocol):
    """Takes the place of a connection's protocol until a block of memory is full.

    Parameters
    ----------
    connection
        Is told of all else, and gets its place back before the next byte comes.
    room
        To be filled.
    took
        Told of bytes that came.
    full
        Called when there is no room left.
    """

    def __init__(
        self,
        connection: asyncio.Protocol,
        room: memoryview,
        took: Callable[[int], None],
        full: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._room = room
        self._took = took
        self._full = full
        self._transport: asyncio.Transport | None = None
        self._end = asyncio.get_running_loop().create_future()

    async def run(self, transport: asyncio.Transport) -> None:
        """Return when the block is full.

        Raises
        ------
        ClientDisconnect
            The connection ended before.
        """
        self._transport = transport
        transport.set_protocol(self)
        try:
            await self._end
        finally:
            if not self._end.done() or self._end.cancelled():
                transport.abort()  # nobody knows what the bytes are that would come next

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where bytes go."""
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Count bytes."""
        self._room = self._room[nbytes:]
        if not self._room:
            assert self._transport is not None
            self._transport.set_protocol(self._connection)
            self._full()
        self._took(nbytes)
        if not self._room and not self._end.done():
            self._end.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody."""
        self._connection.connection_lost(exc)
        if not self._end.done():
            self._end.set_exception(ClientDisconnect())

    def pause_writing(self) -> None:
        """Pass it on."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._connection.resume_writing()
