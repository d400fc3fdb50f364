"""Answers and refusals in the form of DICOMweb: a status and, for people, one sentence as JSON (PS3.18 8.5)."""

import functools
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from researchpacs.errors import (
    AccessError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PixelDataError,
    ResearchPacsError,
    UnsupportedError,
)
from researchpacs.storage.full import is_disk_full

__all__ = ["DICOM_JSON", "Endpoint", "RequestError", "dicom_json", "encoded", "endpoint", "refused", "storing"]

DICOM_JSON = "application/dicom+json"
Endpoint: TypeAlias = Callable[[Request], Response]

_OURS = (ResearchPacsError, HTTPException, sqlite3.OperationalError, OSError)
_STATUS: tuple[tuple[type[ResearchPacsError], int], ...] = (
    (NotFoundError, 404),
    (InvalidInputError, 400),
    (AccessError, 403),
    (PixelDataError, 406),
    (UnsupportedError, 406),
    # A file that is not what was stored: nothing the client asked is wrong.
    (ConflictError, 500),
)


class RequestError(ResearchPacsError):
    """A request that is answered with this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def endpoint(answer: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """Make a route's endpoint of a function that blocks and may raise errors of our tree."""

    @functools.wraps(answer)
    async def answered(request: Request) -> Response:
        try:
            return await run_in_threadpool(answer, request)
        except _OURS as error:
            return refused(error)

    return answered


def storing(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Make a route's endpoint of a coroutine that reads the body as it comes."""

    @functools.wraps(answer)
    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except _OURS as error:
            return refused(error)

    return answered


def refused(error: Exception) -> Response:
    """Say what is wrong, as this protocol does.

    Errors that are neither of our tree, of the ledger nor of the disk are not for this function.
    """
    if isinstance(error, HTTPException):
        return Response(_message(error.status_code, error.detail), error.status_code, error.headers, "application/json")
    message = str(error) if isinstance(error, ResearchPacsError) else "the archive cannot answer now; try again"
    if isinstance(error, RequestError):
        status = error.status
    elif is_disk_full(error):
        # Not its own words, which name a folder of the server.
        status, message = 507, "no space left on the disk of the archive; free some and try again"
    elif isinstance(error, sqlite3.OperationalError):
        status = 503
    else:
        status = next((number for kind, number in _STATUS if isinstance(error, kind)), 500)
    return Response(_message(status, message), status, media_type="application/json")


def encoded(value: object) -> bytes:
    """JSON in UTF-8; text that has no UTF-8, such as a lone surrogate, is replaced."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _message(status: int, text: str) -> str:
    return json.dumps({"HttpStatus": status, "Message": text})


def dicom_json(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = DICOM_JSON
) -> Response:
    """Answer in the DICOM JSON Model."""
    return Response(encoded(value), status_code=status, headers=dict(headers or {}), media_type=media_type)
