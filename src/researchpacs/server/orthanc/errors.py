"""Errors as Orthanc's clients read them: a JSON object, or for an unknown resource nothing but the status."""

import json
import sqlite3
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from researchpacs.errors import (
    AccessError,
    ConflictError,
    InvalidInputError,
    MissingExtraError,
    NotFoundError,
    PixelDataError,
    RemoteError,
    ResearchPacsError,
    UnsupportedError,
)
from researchpacs.storage.connections import DiskFullError
from researchpacs.storage.full import is_disk_full

__all__ = ["HANDLERS", "OrthancError", "error_response", "unknown_resource"]

# OrthancStatus and its words, as OrthancServer's error codes have them.
_BAD_REQUEST = (8, "Bad request")
_BAD_FORMAT = (15, "Bad file format")
_UNKNOWN = (17, "Unknown resource")
_INTERNAL = (-1, "Internal error")
_NETWORK = (9, "Error in the network protocol")
_BY_STATUS: dict[int, tuple[int, str]] = {
    400: _BAD_REQUEST,
    404: _UNKNOWN,
    403: (36, "Access forbidden"),
    406: (30, "No supported MIME type"),
    409: (40, "Conflict"),
    413: (8, "Bad request"),
    415: (3, "Parameter out of range"),
    501: (2, "Not implemented yet"),
    502: _NETWORK,
    503: (24, "The database is unavailable"),
    507: (4, "The disk is full"),
}
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_BY_ERROR: tuple[tuple[type[ResearchPacsError], int], ...] = (
    (NotFoundError, 404),
    (AccessError, 403),
    (InvalidInputError, 400),
    (ConflictError, 409),
    (PixelDataError, 415),
    (UnsupportedError, 501),
    (MissingExtraError, 501),
    (RemoteError, 500),
)


class OrthancError(Exception):
    """An error with the numbers that Orthanc gives it.

    Parameters
    ----------
    status
        Of HTTP.
    details
        One sentence without patient data.
    orthanc
        OrthancStatus and its words; by default those of the HTTP status.
    """

    def __init__(self, status: int, details: str = "", *, orthanc: tuple[int, str] | None = None) -> None:
        super().__init__(details)
        self.status = status
        self.details = details
        self.orthanc = orthanc or _BY_STATUS.get(status, _INTERNAL)

    @classmethod
    def bad_format(cls, details: str) -> "OrthancError":
        """Bytes that are not what they should be."""
        return cls(400, details, orthanc=_BAD_FORMAT)


def unknown_resource() -> Response:
    """Say that a resource is not there: 404 with an empty body."""
    return Response(status_code=404)


def error_response(request: Request, error: OrthancError) -> Response:
    """The JSON object of an error."""
    code, words = error.orthanc
    body: dict[str, Any] = {
        "HttpError": HTTPStatus(error.status).phrase,
        "HttpStatus": error.status,
        "Message": words,
        "Method": request.method,
        "OrthancError": words,
        "OrthancStatus": code,
        "Uri": request.url.path.removeprefix(request.scope.get("root_path", "")),
    }
    if error.details:
        body["Details"] = error.details
    text = json.dumps(body, indent=3, sort_keys=True, ensure_ascii=False)
    return Response(text, status_code=error.status, media_type="application/json")


def _on_orthanc_error(request: Request, error: Exception) -> Response:
    return error_response(request, error if isinstance(error, OrthancError) else OrthancError(500))


def _on_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return error_response(request, OrthancError(500))
    if error.status_code == 405:
        return Response(status_code=405, headers=error.headers)
    details = "" if error.status_code == 404 else error.detail
    return error_response(request, OrthancError(error.status_code, details))


def _on_our_error(request: Request, error: Exception) -> Response:
    status = next((status for kind, status in _BY_ERROR if isinstance(error, kind)), 500)
    orthanc = _NETWORK if isinstance(error, RemoteError) else None
    return error_response(request, OrthancError(status, str(error), orthanc=orthanc))


def _on_want_of_space(request: Request, error: Exception) -> Response:
    """A full disk, or a ledger that another process writes for too long; anything else is a bug, and told as one."""
    if is_disk_full(error):
        return error_response(request, OrthancError(507, "no space left on the disk of the archive; free some"))
    if isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY:
        return error_response(request, OrthancError(503, "the archive cannot answer now; try again"))
    raise error


HANDLERS: dict[Any, Callable[[Request, Exception], Response]] = {
    OrthancError: _on_orthanc_error,
    HTTPException: _on_http_error,
    ResearchPacsError: _on_our_error,
    DiskFullError: _on_want_of_space,
    OSError: _on_want_of_space,
    sqlite3.OperationalError: _on_want_of_space,
}
"""For Starlette's ``exception_handlers``."""
