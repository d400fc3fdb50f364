"""multipart/related as it is sent, part by part, in bounded memory (RFC 2046 5.1, RFC 2387, PS3.18 8.6.1.2)."""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Part", "closing", "gathered", "new_boundary", "opening", "written", "written_size"]

_OWN_BOUNDARY = 32


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an answer."""

    content_type: str
    content: Iterable[bytes]
    """Read once, when the part's turn has come."""
    size: int | None = None
    """Bytes of the content, where they are known before."""
    location: str = ""
    """Content-Location: the part's own URL."""


def new_boundary() -> str:
    """A boundary that no content holds: 128 random bits."""
    return secrets.token_hex(_OWN_BOUNDARY // 2)


def written(parts: Iterable[Part], boundary: str) -> Iterator[bytes]:
    """Write parts one after the other; each is read only when the one before it has gone."""
    for part in parts:
        head = opening(part, boundary)
        for chunk in part.content:
            # Together, so that small parts cost one write each.
            yield head + chunk if head else chunk
            head = b""
        if head:
            yield head
    yield closing(boundary)


def gathered(chunks: Iterable[bytes], *, size: int = 1 << 18) -> Iterator[bytes]:
    """Put small chunks together: each that is sent costs a turn of the event loop and of a thread."""
    waiting, length = list[bytes](), 0
    for chunk in chunks:
        waiting.append(chunk)
        length += len(chunk)
        if length >= size:
            yield b"".join(waiting) if len(waiting) > 1 else chunk
            waiting, length = [], 0
    if waiting:
        yield b"".join(waiting)


def written_size(parts: Iterable[Part]) -> int | None:
    """Bytes that `written` gives for these parts with a `new_boundary`; None where a part's size is not known."""
    boundary = "0" * _OWN_BOUNDARY
    total = len(closing(boundary))
    for part in parts:
        if part.size is None:
            return None
        total += len(opening(part, boundary)) + part.size
    return total


def opening(part: Part, boundary: str) -> bytes:
    """What stands before a part's content."""
    fields = {"Content-Type": part.content_type}
    if part.location:
        fields["Content-Location"] = part.location
    if part.size is not None:
        fields["Content-Length"] = str(part.size)
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"\r\n--{boundary}\r\n{lines}\r\n".encode("latin-1")


def closing(boundary: str) -> bytes:
    """What stands behind the last part."""
    return f"\r\n--{boundary}--\r\n".encode()
