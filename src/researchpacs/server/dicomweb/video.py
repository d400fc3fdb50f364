"""Videos as they are stored: whole, or the range that a player jumps to (RFC 9110 14)."""

import re
from collections.abc import Iterator
from itertools import islice

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from researchpacs.archive import Stored
from researchpacs.server.dicomweb._instance import CHUNK, OpenInstance

__all__ = ["video_answer", "video_stream"]

_ITEM = b"\xfe\xff\x00\xe0"
_RANGE = re.compile(r"bytes=(?:([0-9]{1,15})-([0-9]{1,15})?|-([0-9]{1,15}))")
_MOST_FRAGMENTS = 10_000
"""Of one video whose ranges are told: a fragment holds up to 4 GiB, and most videos are one."""


def video_answer(request: Request, stored: Stored, content_type: str) -> Response:
    """Answer with a video; with the part of it that is asked for where that is one range."""
    headers = {"Content-Type": content_type}
    with OpenInstance(stored) as instance:
        fragments = list(islice(_fragments(instance, stored), _MOST_FRAGMENTS + 1))
    if len(fragments) > _MOST_FRAGMENTS:
        return StreamingResponse(video_stream(stored), headers=headers)
    size = sum(length for _, length in fragments)
    headers["Accept-Ranges"] = "bytes"
    wanted = _range(request, size)
    if wanted is None:
        return StreamingResponse(video_stream(stored), headers={**headers, "Content-Length": str(size)})
    first, last = wanted
    if first > last:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    headers |= {"Content-Length": str(last - first + 1), "Content-Range": f"bytes {first}-{last}/{size}"}
    return StreamingResponse(_between(stored, fragments, first, last + 1), 206, headers)


def video_stream(stored: Stored) -> Iterator[bytes]:
    """The fragments of a video one after the other: its frames cannot be told apart without decoding it."""
    with OpenInstance(stored) as instance:
        for offset, length in _fragments(instance, stored):
            yield from _read(instance, offset, offset + length)


def _fragments(instance: OpenInstance, stored: Stored) -> Iterator[tuple[int, int]]:
    """Offset and length of what is in each item but the first, which is the offset table (PS3.5 A.4)."""
    # Encapsulated pixels are always written with an explicit VR: 12 bytes before the first item.
    position, is_table = stored.header_length + 12, True
    while (item := instance.read(position, 8))[:4] == _ITEM:
        position, end = position + 8, min(position + 8 + int.from_bytes(item[4:], "little"), stored.size)
        if not is_table:
            yield position, end - position
        position, is_table = end, False


def _range(request: Request, size: int) -> tuple[int, int] | None:
    """First and last byte that are asked for; None for all, as where the field is another's or of several ranges."""
    found = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if found is None or "if-range" in request.headers or request.method != "GET":
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        return max(0, size - int(suffix)), size - 1 if int(suffix) else -1
    if last is not None and int(last) < int(first):
        return None
    return int(first), min(int(last) if last else size - 1, size - 1)


def _between(stored: Stored, fragments: list[tuple[int, int]], first: int, end: int) -> Iterator[bytes]:
    """Bytes of the video from `first` up to `end`."""
    before = 0
    with OpenInstance(stored) as instance:
        for offset, length in fragments:
            start, stop = max(first - before, 0), min(end - before, length)
            if start < stop:
                yield from _read(instance, offset + start, offset + stop)
            before += length


def _read(instance: OpenInstance, position: int, end: int) -> Iterator[bytes]:
    return (instance.read(at, min(CHUNK, end - at)) for at in range(position, end, CHUNK))
