"""Bodies of requests, read from a worker thread: whole JSON objects, or a stream chunk by chunk."""

import json
from collections.abc import Iterator
from typing import Any

import anyio.from_thread
from starlette.requests import Request

from researchpacs.server.orthanc.errors import OrthancError

__all__ = ["body_chunks", "body_json", "body_object", "body_or_word", "body_text"]

_BAD_JSON = (14, "Cannot parse a JSON document")
_MOST_VALUES = 500_000
"""In one document: each costs far more memory than the few bytes that it is written in."""


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
        return _parsed(text)
    except (ValueError, RecursionError) as error:
        raise OrthancError(400, "the body has to be JSON", orthanc=_BAD_JSON) from error


def body_or_word(request: Request) -> Any:
    """The body as JSON; the text itself where it is none, as an empty one."""
    text = body_text(request).strip()
    try:
        return _parsed(text)
    except (ValueError, RecursionError):
        return text


def body_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object."""
    found = body_json(request)
    if not isinstance(found, dict):
        raise OrthancError(400, "the body has to be a JSON object", orthanc=_BAD_JSON)
    return found


def _parsed(text: str) -> Any:
    """Read JSON; ValueError or RecursionError where it is none, OrthancError where it may not be."""
    if sum(text.count(mark) for mark in ",[{") > _MOST_VALUES:
        raise OrthancError(413, f"the body holds more than {_MOST_VALUES} values")
    found = json.loads(text, parse_constant=_refuse_constant)
    if "\\ud" in text or "\\uD" in text:
        # An escape may be half of a surrogate pair, which is no text that anything is compared with or stored as.
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise OrthancError(400, "the body holds text that is no Unicode", orthanc=_BAD_JSON) from error
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
