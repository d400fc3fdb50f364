"""uvicorn's server, which tells when it takes connections."""

import socket
from collections.abc import Callable

import uvicorn

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
        await super().startup(sockets)
        if self.started:
            self._ready()
