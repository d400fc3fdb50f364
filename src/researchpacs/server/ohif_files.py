"""The files of an OHIF build over HTTP: types, caching, compression, and the page where one of its routes is opened."""

import gzip
import hashlib
import os
import re
import threading
from base64 import b64encode
from pathlib import Path, PurePosixPath

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

__all__ = ["BuildFiles", "policy_of"]

# Named here and not left to the system's table: with nosniff a browser runs nothing under a wrong type.
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".jsonc": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webapp": "application/manifest+json",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}
_COMPRESSED = frozenset({".css", ".js", ".json", ".jsonc", ".map", ".mjs", ".svg", ".wasm"})
_SMALLEST_COMPRESSED = 4 << 10
_LARGEST_COMPRESSED = 32 << 20
_MOST_KEPT = 64 << 20
# Builds name such files by their content: another content has another name.
_NAMED_BY_CONTENT = re.compile(r"(^|\.)[0-9a-f]{16,}\.\w+$")
_INLINE_SCRIPT = re.compile(rb"<script(?:\s[^>]*)?>(.*?)</script>", re.DOTALL)


def policy_of(page: bytes) -> str:
    """The Content-Security-Policy of a build: its own scripts and those in its page run; nobody else is asked.

    OHIF's image codecs make functions of text (``'unsafe-eval'``), and its components write style attributes.

    Parameters
    ----------
    page
        The build's index.html.
    """
    digests = {b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE_SCRIPT.findall(page) if script}
    scripts = " ".join(f"'sha256-{digest}'" for digest in sorted(digests))
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' blob: 'unsafe-eval' {scripts}".rstrip(),
            "worker-src 'self' blob:",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' blob: data:",
            "media-src 'self' blob:",
            "font-src 'self' data:",
            "connect-src 'self' blob: data:",
            "frame-src blob:",
            "object-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


class BuildFiles(StaticFiles):
    """Gives files of a folder, and its page to a browser that opens one of the viewer's own addresses.

    Parameters
    ----------
    folder
        The build.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder)
        self._compressed: dict[str, bytes] = {}
        self._kept = 0
        self._lock = threading.Lock()

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer for a path below the folder."""
        try:
            answer = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or not _opens_a_page(path, scope):
                raise
            answer = await super().get_response("index.html", scope)
        headers = Headers(scope=scope)
        if not isinstance(answer, FileResponse) or "range" in headers or not _takes_gzip(headers):
            return answer
        file, size = Path(answer.path), int(answer.headers["content-length"])
        if file.suffix not in _COMPRESSED or not _SMALLEST_COMPRESSED <= size <= _LARGEST_COMPRESSED:
            return answer
        # The two forms are not equal byte for byte, which a strong validator would say (RFC 9110 8.8.1).
        etag = answer.headers["etag"]
        kept = {name: answer.headers[name] for name in ("cache-control", "vary")}
        content = await run_in_threadpool(self._gzip, file, etag)
        return Response(
            content, headers={**kept, "etag": f"W/{etag}", "content-encoding": "gzip"}, media_type=answer.media_type
        )

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """One file, or that it has not changed."""
        file = Path(full_path)
        # npm dates every file alike: a new version's page would pass for the old one by date and size.
        state = f"{stat_result.st_mtime_ns}-{stat_result.st_ctime_ns}-{stat_result.st_size}"
        headers = {
            "ETag": f'"{hashlib.sha256(state.encode()).hexdigest()[:32]}"',
            "Cache-Control": (
                "private, max-age=31536000, immutable" if _NAMED_BY_CONTENT.search(file.name) else "private, no-cache"
            ),
            "Vary": "Accept-Encoding",
        }
        media_type = _TYPES.get(file.suffix, "application/octet-stream")
        answer = FileResponse(file, status_code, headers, media_type, stat_result=stat_result)
        del answer.headers["last-modified"]
        if self.is_not_modified(answer.headers, Headers(scope=scope)):
            return NotModifiedResponse(answer.headers)
        return answer

    def _gzip(self, file: Path, etag: str) -> bytes:
        """Compress a file once; a build's largest takes a second."""
        with self._lock:
            key = f"{file}{etag}"
            if key not in self._compressed:
                made = gzip.compress(file.read_bytes(), 6)
                if self._kept + len(made) > _MOST_KEPT:
                    return made
                self._compressed[key] = made
                self._kept += len(made)
            return self._compressed[key]


def _opens_a_page(path: str, scope: Scope) -> bool:
    """Whether a person opens an address such as ``/viewer``; never where a script or a program asks for data."""
    return path == "." or (PurePosixPath(path).suffix == "" and "text/html" in Headers(scope=scope).get("accept", ""))


def _takes_gzip(headers: Headers) -> bool:
    codings = headers.get("accept-encoding", "").lower().replace(" ", "").split(",")
    return any(one.partition(";")[0] == "gzip" and not re.search(r";q=0(\.0*)?$", one) for one in codings)
