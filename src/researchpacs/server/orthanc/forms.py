"""Files that come as an HTML form does (RFC 7578): one after the other through a spool, however many there are."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from researchpacs.archive._parts import Begin, Data, PartReader
from researchpacs.errors import InvalidInputError
from researchpacs.ingest import Spool

__all__ = ["is_form", "read_form"]

Answer = TypeVar("Answer")

_FORM = "multipart/form-data"
_BLOCK = 1 << 18
"""Bytes that are gathered before a thread takes them."""
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]*)"|([^\s;"]+))', re.IGNORECASE)
_MOST_FILES = 100_000


def is_form(request: Request) -> bool:
    """Whether a request's body is a form."""
    return request.headers.get("content-type", "").lower().startswith(_FORM)


async def read_form(request: Request, tmp: Path, take: Callable[[Spool], Answer]) -> list[Answer]:
    """Give each file of a form to a function, as soon as it is complete; fields are passed over.

    Parameters
    ----------
    tmp
        A workspace (`Home.workspace`) on the disk of the archive.
    take
        Called in a thread; the spool is discarded when it returns.

    Returns
    -------
    answers
        What `take` returned, in the order of the files.

    Raises
    ------
    InvalidInputError
        It is no form. Files that were complete before are taken.
    """
    found = _BOUNDARY.search(request.headers.get("content-type", ""))
    if found is None:
        raise InvalidInputError("the Content-Type of a form names its boundary")
    form = _Form(PartReader(found[1] or found[2] or ""), tmp, take)
    try:
        waiting = bytearray()
        async for chunk in request.stream():
            waiting += chunk
            if len(waiting) >= _BLOCK:
                block, waiting = bytes(waiting), bytearray()
                await run_in_threadpool(form.feed, block)
        await run_in_threadpool(form.feed, bytes(waiting))
        form.reader.close()
    finally:
        await run_in_threadpool(form.discard)
    return form.answers


class _Form(Generic[Answer]):
    """Takes a form apart as its bytes come in."""

    def __init__(self, reader: PartReader, tmp: Path, take: Callable[[Spool], Answer]) -> None:
        self.reader = reader
        self.answers: list[Answer] = []
        self._tmp = tmp
        self._take = take
        self._spool: Spool | None = None

    def feed(self, data: bytes) -> None:
        for event in self.reader.feed(data):
            if isinstance(event, Begin):
                self._begin(event.headers.get("content-disposition", ""))
            elif self._spool is None:
                continue
            elif isinstance(event, Data):
                self._spool.write(event.content)
            else:
                self._end(self._spool)

    def discard(self) -> None:
        if self._spool is not None:
            self._spool.discard()
            self._spool = None

    def _begin(self, disposition: str) -> None:
        if not disposition.lower().startswith("form-data"):
            raise InvalidInputError("each part of a form says Content-Disposition: form-data")
        if not re.search(r";\s*filename\*?=", disposition, re.IGNORECASE):
            return
        if len(self.answers) >= _MOST_FILES:
            raise InvalidInputError(f"a form has at most {_MOST_FILES} files")
        self._spool = Spool(self._tmp)

    def _end(self, spool: Spool) -> None:
        try:
            self.answers.append(self._take(spool))
        finally:
            self.discard()
