"""What a request may cost: caps on bodies, and the headers that every answer carries."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from researchpacs.server.orthanc.errors import OrthancError, error_response

__all__ = ["SAFE_HEADERS", "Limits", "LimitsMiddleware"]

SAFE_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Carried by every answer that does not set them itself."""
_FILES = re.compile(
    r"/instances|/dicom-web/studies(/[^/]+)?|/(patients|studies|series|instances)/[^/]+/attachments/[^/]+"
)
"""Paths whose bodies go to disk as they come."""
_DOCUMENTS = re.compile(r"/tools/create-dicom")
"""Paths whose bodies hold a whole document or picture as text."""
# A browser shows these and runs nothing in them; everything else is a file to be kept.
_SHOWN = ("application/json", "application/dicom+json", "text/plain", "image/png", "image/jpeg", "image/gif")


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest sizes in bytes."""

    upload_bytes: int = 16 << 30
    """A body that brings instances or attachments; it goes to disk as it comes."""
    body_bytes: int = 16 << 20
    """Any other body, which is read into memory."""
    bodies_bytes: int = 64 << 20
    """All such bodies that are being read at one time."""
    document_bytes: int = 64 << 20
    """A body that holds a document, and all of them at one time: as text, in base64, a third longer than it is."""


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
        self._bodies = _Room(limits.body_bytes, limits.bodies_bytes)
        self._documents = _Room(limits.document_bytes, limits.document_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400, 413 or 503, or pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _make_safe(MutableHeaders(scope=message))
            await send(message)

        problem = self._problem(scope)
        if problem is not None:
            answer = error_response(Request(scope), problem)
            # The body is not read, so nothing that follows can be told from it.
            answer.headers["Connection"] = "close"
            await answer(scope, receive, guarded)
        elif self._brings_files(scope):
            await self.app(scope, _counted(receive, self.limits.upload_bytes), guarded)
        else:
            await self._in_memory(scope, receive, guarded, self._room(scope))

    async def _in_memory(self, scope: Scope, receive: Receive, send: Send, room: "_Room") -> None:
        """Pass a request on whose body is kept in memory, as long as all of them together are not too much."""
        taken, counted = 0, _counted(receive, room.one_bytes)

        async def held() -> Message:
            nonlocal taken
            message = await counted()
            size = len(message.get("body", b""))
            taken += size
            room.held += size
            if room.held > room.all_bytes:
                raise HTTPException(503, "the server is reading as much as it can; try again", {"Retry-After": "1"})
            return message

        try:
            await self.app(scope, held, send)
        finally:
            room.held -= taken

    def _problem(self, scope: Scope) -> OrthancError | None:
        declared = [value for name, value in scope["headers"] if name == b"content-length"]
        if declared and any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            # RFC 9112 6.3: whoever is in front may have taken the other for the end of the request.
            return OrthancError(400, "a body has a Content-Length or a Transfer-Encoding, not both")
        cap = self.limits.upload_bytes if self._brings_files(scope) else self._room(scope).one_bytes
        if any(not one.isdigit() or len(one) > 18 or int(one) > cap for one in declared):
            return OrthancError(413, _too_long(cap))
        return None

    def _brings_files(self, scope: Scope) -> bool:
        return _FILES.fullmatch(_path(scope)) is not None

    def _room(self, scope: Scope) -> "_Room":
        return self._documents if _DOCUMENTS.fullmatch(_path(scope)) else self._bodies


@dataclass(slots=True)
class _Room:
    """What bodies of one kind may have in memory."""

    one_bytes: int
    all_bytes: int
    held: int = 0


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")).rstrip("/")


def _make_safe(headers: MutableHeaders) -> None:
    for name, value in SAFE_HEADERS.items():
        headers.setdefault(name, value)
    media_type = headers.get("content-type", "text/plain").partition(";")[0].strip().lower()
    if media_type not in _SHOWN:
        headers.setdefault("Content-Disposition", "attachment")


def _counted(receive: Receive, cap: int) -> Receive:
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > cap:
            raise HTTPException(413, _too_long(cap))
        return message

    return counted


def _too_long(cap: int) -> str:
    return f"the body is longer than the {cap} bytes that this server takes here"
