"""Answers as Orthanc writes them, and the parameters that many routes share."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from researchpacs.server.orthanc.errors import OrthancError

__all__ = ["as_json", "as_text", "flag", "number"]


def as_json(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON, readable, keys in order."""
    text = json.dumps(value, indent=3, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return Response(text + "\n", status_code=status, media_type="application/json", headers=headers)


def as_text(value: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Plain text."""
    return Response(value, status_code=status, media_type="text/plain", headers=headers)


def flag(request: Request, name: str) -> bool:
    """A parameter that is there or not: ``?expand``, ``?expand=true``, ``?expand=1``."""
    value = request.query_params.get(name)
    return value is not None and value.lower() not in ("false", "0")


def number(request: Request, name: str, default: int) -> int:
    """A parameter that counts, zero or more."""
    text = request.query_params.get(name, "")
    if not text:
        return default
    # More than 18 digits are no count of anything here, and do not fit the ledger's integers.
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise OrthancError(400, f"{name} has to be an integer, zero or more", orthanc=(8, "Bad request"))
    return int(text)
