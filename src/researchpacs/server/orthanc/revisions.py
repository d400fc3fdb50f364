"""Revisions on the wire: ``ETag``, ``If-Match`` and ``If-None-Match`` hold a number and the MD5 of the content."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from researchpacs.archive import Revision
from researchpacs.errors import ConflictError
from researchpacs.server.orthanc.errors import OrthancError

__all__ = ["etag", "is_known", "seen_revision", "telling_conflicts"]

_ETAG = re.compile(r'(?:W/)?"?([0-9]{1,9})-([0-9a-f]{32})"?')
_OUT_OF_RANGE = (3, "Parameter out of range")
_REVISION = (43, "A bad revision number was provided, which might indicate conflict between multiple writers")


def etag(revision: Revision) -> str:
    """The header's value."""
    return f'"{revision.number}-{revision.md5}"'


def seen_revision(request: Request) -> Revision | None:
    """The revision that a change was made for; None for one that replaces whatever is there."""
    text = request.headers.get("if-match", "").strip()
    return _parsed(text, "If-Match") if text and text != "*" else None


def is_known(request: Request, revision: Revision) -> bool:
    """Whether the client says that it has this content already."""
    text = request.headers.get("if-none-match", "").strip()
    if text == "*":
        return True
    return bool(text) and _parsed(text, "If-None-Match") == revision


@contextmanager
def telling_conflicts() -> Iterator[None]:
    """Tell a change that came too late as Orthanc does."""
    try:
        yield
    except ConflictError as error:
        raise OrthancError(409, str(error), orthanc=_REVISION) from error


def _parsed(text: str, header: str) -> Revision:
    found = _ETAG.fullmatch(text)
    if found is None:
        details = f"the header {header} has to hold an ETag: a revision and an MD5 hash"
        raise OrthancError(400, details, orthanc=_OUT_OF_RANGE)
    return Revision(int(found[1]), found[2])
