"""Slashes that change nothing: at the end of a path, and doubled. Peers write both."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["TrailingSlashMiddleware"]


class TrailingSlashMiddleware:
    """Answers ``/studies/`` and ``//studies`` as ``/studies``.

    There is no redirect, which not every client follows with a body.

    Parameters
    ----------
    app
        What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            root = scope.get("root_path", "")
            path = re.sub("/{2,}", "/", scope["path"].removeprefix(root)).rstrip("/")
            scope = {**scope, "path": root + (path or "/")}
        await self.app(scope, receive, send)
