"""The OHIF viewer at the root of an address of its own: a stock build, our configuration, and the archive's DICOMweb.

OHIF and ``/dicom-web`` share one origin: the browser asks for a user and password once and sends them along by itself,
and no page of another origin gets an answer.
"""

import re
from importlib.resources import files
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from researchpacs.errors import InvalidInputError
from researchpacs.server.auth import Access, AccessMiddleware
from researchpacs.server.dicomweb import ROOT
from researchpacs.server.ohif_files import BuildFiles, policy_of

__all__ = ["create_ohif", "find_build"]

_PAGE = "index.html"
_CONFIG = "app-config.js"
# Where the build is below what npm unpacks, packs and installs.
_PLACES = (".", "dist", "package/dist", "node_modules/@ohif/app/dist")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Both make the page cross-origin isolated, which threads in WebAssembly need.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def find_build(folder: Path) -> Path:
    """Give the folder of the build: the one that is named, or the one in it where npm puts it.

    Raises
    ------
    InvalidInputError
        There is none, or it was made for another place than the root of an address.
    """
    build = next((folder / place for place in _PLACES if _is_build(folder / place)), None)
    if build is None:
        raise InvalidInputError(
            f"{folder} holds no build of OHIF ({_PAGE} with {_CONFIG}); get one with 'npm pack @ohif/app', unpack it, "
            "and give the folder 'package'"
        )
    if not re.search(rf'src="/{re.escape(_CONFIG)}"', (build / _PAGE).read_text("utf-8", "replace")):
        raise InvalidInputError(
            f"the build of OHIF in {build} was made for a path below an address (PUBLIC_URL); it is served at the root"
        )
    return build


def create_ohif(build: Path, archive: ASGIApp, access: Access) -> ASGIApp:
    """Make the application of OHIF's address.

    Parameters
    ----------
    build
        As `find_build` gives it.
    archive
        The archive's application, which answers below ``/dicom-web`` by its own rules.
    access
        Who may load the viewer.
    """
    viewer = Starlette(
        routes=[Route(f"/{_CONFIG}", _configuration), Mount("/", BuildFiles(build))],
        middleware=[
            Middleware(_HeadersMiddleware, policy=policy_of((build / _PAGE).read_bytes())),
            Middleware(AccessMiddleware, access=access),
        ],
    )

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        of_archive = scope["type"] == "http" and f"{scope['path']}/".startswith(f"{ROOT}/")
        await (archive if of_archive else viewer)(scope, receive, send)

    return answer


def _is_build(folder: Path) -> bool:
    return (folder / _PAGE).is_file() and (folder / _CONFIG).is_file()


def _configuration(_: Request) -> Response:
    content = files("researchpacs.server").joinpath("ohif-config.js").read_text("utf-8")
    return Response(content, media_type="text/javascript", headers={"Cache-Control": "private, no-cache"})


class _HeadersMiddleware:
    """Sets headers on every answer."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self.app = app
        self.headers = {**_HEADERS, "Content-Security-Policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-store")
                headers.update(self.headers)
            await send(message)

        await self.app(scope, receive, with_headers)
