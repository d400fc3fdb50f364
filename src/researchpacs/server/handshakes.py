"""TLS handshakes that are counted and have an end: who begins them and goes no further keeps nobody out.

asyncio shows a connection to its protocol when the handshake is done, so what is not done yet would be nobody's.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

__all__ = ["Handshake", "Handshakes"]

HANDSHAKE_S = 15.0
"""From the connection to the end of its handshake."""
MOST_HANDSHAKES = 128
"""At one time; beyond it the oldest goes."""


class Handshakes:
    """The handshakes of a server.

    Parameters
    ----------
    context
        Its certificate.
    then
        Makes the protocol of a connection whose handshake is done.
    """

    def __init__(self, context: ssl.SSLContext, then: Callable[[], asyncio.Protocol]) -> None:
        self.context = context
        self.then = then
        self._open: dict[Handshake, asyncio.BaseTransport] = {}

    def begin(self, one: "Handshake", transport: asyncio.Transport) -> None:
        """Count one more."""
        if len(self._open) >= MOST_HANDSHAKES:
            oldest = next(iter(self._open))
            cast("asyncio.Transport", self._open.pop(oldest)).abort()
        self._open[one] = transport

    def end(self, one: "Handshake") -> None:
        """Count one less."""
        self._open.pop(one, None)


class Handshake(asyncio.Protocol):
    """A connection until it is secured; what comes right behind is kept for the protocol that takes over."""

    def __init__(self, handshakes: Handshakes, loop: asyncio.AbstractEventLoop) -> None:
        self._all = handshakes
        self._loop = loop
        self._early = bytearray()
        self._gone = False
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        plain = cast("asyncio.Transport", transport)
        plain.pause_reading()  # what comes is for TLS alone
        self._all.begin(self, plain)
        self._task = self._loop.create_task(self._secure(plain))

    def data_received(self, data: bytes) -> None:
        """Keep what comes before the other protocol is there."""
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember that nobody is there any more."""
        self._gone = True

    async def _secure(self, plain: asyncio.Transport) -> None:
        try:
            secured = await self._loop.start_tls(
                plain, self, self._all.context, server_side=True, ssl_handshake_timeout=HANDSHAKE_S
            )
        except (OSError, ssl.SSLError):  # no TLS, another version, or not in time
            plain.abort()
            return
        finally:
            self._all.end(self)
        if secured is None or self._gone:
            return
        protocol = self._all.then()
        secured.set_protocol(protocol)
        protocol.connection_made(secured)
        if self._early:
            protocol.data_received(bytes(self._early))
