"""Web pages of other origins that may ask DICOMweb (CORS): those that are named, and no other.

A page shows who asks in an ``Authorization`` field of its own; what the browser keeps is not let through.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from researchpacs.errors import InvalidInputError
from researchpacs.server.dicomweb import ROOT

__all__ = ["CrossOriginMiddleware", "as_origin", "is_shared"]

_SCHEMES = ("http", "https")


def as_origin(text: str) -> str:
    """Read an origin, as a browser writes it (RFC 6454 6.2).

    Raises
    ------
    InvalidInputError
        It is no single origin; a wildcard would let in every page there is.
    """
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError:
        port, host, parts = None, None, urlsplit("")
    rest = (parts.path.rstrip("/"), parts.query, parts.fragment, parts.username)
    if parts.scheme not in _SCHEMES or not host or "*" in host or any(rest):
        raise InvalidInputError(
            f"{text!r} is no origin: give scheme, host and port of a page, as in https://viewer.example.org; "
            "every page (*) cannot be let in"
        )
    name = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{name}" + ("" if port in (None, default) else f":{port}")


def is_shared(scope: Scope) -> bool:
    """Whether a request is for what pages of named origins may ask."""
    path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
    # What we send to other servers, and fetch from them, is no page's business.
    return f"{path}/".startswith((f"{ROOT}/", "/wado/")) and not f"{path}/".startswith(f"{ROOT}/servers/")


class CrossOriginMiddleware:
    """Answers the browser's question whether a page may ask, and lets the page read what comes.

    It stands before all others: a browser asks without credentials first.

    Parameters
    ----------
    app
        What answers otherwise.
    origins
        As `as_origin` gives them.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self.app = app
        self.asked = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Accept", "Authorization", "Content-Type", "Range"],
            expose_headers=["Content-Length", "Content-Location", "ETag", "Warning"],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        app = self.asked if is_shared(scope) else self.app
        await app(scope, receive, send)
