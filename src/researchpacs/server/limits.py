"""What a request may cost: caps on bodies, and the headers that every answer carries."""

from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Limits", "LimitsMiddleware"]

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_UPLOADS = ("/instances", "/dicom-web")


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest sizes in bytes."""

    upload_bytes: int = 16 << 30
    """A body that brings instances or attachments; it goes to disk as it comes."""
    body_bytes: int = 16 << 20
    """Any other body, which is read into memory."""


class LimitsMiddleware:
    """Cuts off bodies that are longer than allowed, whatever they declare, and sets headers on every answer.

    Parameters
    ----------
    app
        What answers.
    limits
        The caps.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413, or pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        cap = self._cap(scope)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > cap:
            await Response(status_code=413)(scope, receive, guarded)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > cap:
                raise _too_long(cap)
            return message

        await self.app(scope, counted, guarded)

    def _cap(self, scope: Scope) -> int:
        path = scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/")
        brings_files = path.startswith(_UPLOADS) or "/attachments/" in path
        return self.limits.upload_bytes if brings_files else self.limits.body_bytes


def _too_long(cap: int) -> HTTPException:
    return HTTPException(413, f"the body is longer than the {cap} bytes that this server takes here")
