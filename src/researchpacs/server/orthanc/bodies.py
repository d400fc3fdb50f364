"""Bodies of requests, read from a worker thread: whole JSON objects, or a stream chunk by chunk."""

import json
from collections.abc import Iterator
from typing import Any

import anyio.from_thread
from starlette.requests import Request

from researchpacs.server.orthanc.errors import OrthancError

__all__ = ["body_chunks", "body_json", "body_object", "body_text"]

_BAD_JSON = (14, "Cannot parse a JSON document")


def body_chunks(request: Request) -> Iterator[bytes]:
    """The body as it comes, never whole in memory; to be called in one of Starlette's threads."""
    stream = request.stream()

    async def following() -> bytes | None:
        return await anext(stream, None)

    while (chunk := anyio.from_thread.run(following)) is not None:
        if chunk:
            yield chunk


def body_text(request: Request) -> str:
    """The body as text in UTF-8."""
    try:
        return anyio.from_thread.run(request.body).decode()
    except UnicodeDecodeError as error:
        raise OrthancError(400, "the body has to be text in UTF-8") from error


def body_json(request: Request) -> Any:
    """The body as JSON; an empty one is an empty object."""
    text = body_text(request)
    if not text.strip():
        return {}
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OrthancError(400, "the body has to be JSON", orthanc=_BAD_JSON) from error


def body_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object."""
    found = body_json(request)
    if not isinstance(found, dict):
        raise OrthancError(400, "the body has to be a JSON object", orthanc=_BAD_JSON)
    return found
