"""uvicorn's server, which tells when it takes connections, and counts those whose TLS handshake is not done."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from researchpacs.server.handshakes import Handshake, Handshakes

__all__ = ["Server"]


class Server(uvicorn.Server):
    """Calls back once it is ready.

    Parameters
    ----------
    config
        What to serve.
    ready
        Called in the event loop, once.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell it."""
        self._count_handshakes()
        await super().startup(sockets)
        if self.started:
            self._ready()

    def _count_handshakes(self) -> None:
        """Give uvicorn connections without TLS, which become those of its protocol when they are secured."""
        config, loop = self.config, asyncio.get_running_loop()
        context, made = config.ssl, config.http_protocol_class
        if context is None:
            return

        def then() -> asyncio.Protocol:
            state, shared = self.lifespan.state, self.server_state
            return made(config=config, server_state=shared, app_state=state)  # type: ignore[call-arg]

        handshakes = Handshakes(context, then)

        def plain(**_: Any) -> asyncio.Protocol:
            return Handshake(handshakes, loop)

        config.ssl, config.http_protocol_class = None, plain  # type: ignore[assignment]
