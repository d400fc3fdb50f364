"""``POST /instances``: one instance, a zip archive of many, either of them in gzip, or a form with files."""

import logging
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.ingest import Spool
from researchpacs.model import Outcome
from researchpacs.server.intake import is_for_want_of_space, receive_body, store_files, store_spool
from researchpacs.server.orthanc.answers import as_json
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.forms import is_form, read_form
from researchpacs.server.together import workspace

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

_log = logging.getLogger(__name__)

_ZIP = b"PK\x03\x04"
_GZIP = b"\x1f\x8b\x08"
_CHUNK = 1 << 20
_SMALL = 64 << 20
_RATIO = 200
"""How much larger than itself a body may inflate to, once it is not small."""
_LARGEST = 16 << 30
_MEMBERS = 10_000
_TOLD = 5
"""Reasons for what is left out that the log has at most."""
_BLOCK = 1 << 16
"""Of a gzip body at once: zlib copies what it could not yet take."""


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    async def upload(request: Request) -> Response:
        if is_form(request):
            with workspace(pacs.archive) as tmp:
                files = await read_form(request, tmp, lambda spool: _store_file(pacs, spool))
            if not files:
                raise OrthancError.bad_format("the form has no file")
            outcomes = [outcome for found, _ in files for outcome in found]
            return _answer(outcomes, many=len(files) > 1 or files[0][1])
        with workspace(pacs.archive) as tmp, _spool(tmp) as spool:
            await receive_body(request, spool)
            outcomes, many = await run_in_threadpool(_store_body, pacs, spool)
        return _answer(outcomes, many=many)

    return [Route("/instances", upload, methods=["POST"])]


@contextmanager
def _spool(tmp: Path) -> Iterator[Spool]:
    spool = Spool(tmp)
    try:
        yield spool
    finally:
        spool.discard()  # what was stored has another name now


def _store_file(pacs: "Pacs", file: Spool) -> tuple[list[Outcome], bool]:
    """Store a file of a form; what is wrong with one is not the others' fault."""
    try:
        return _store_body(pacs, file)
    except OrthancError as error:
        return [Outcome("<form>", "refused", error.details)], False


def _store_body(pacs: "Pacs", body: Spool) -> tuple[list[Outcome], bool]:
    """Store a body, and say whether it was an archive of many."""
    start = _start_of(body)
    if start.startswith(_GZIP):
        with _spool(body.path.parent) as inflated:
            _inflate(body, inflated)
            if _start_of(inflated).startswith(_GZIP):
                raise OrthancError.bad_format("gzip within gzip")
            return _store_body(pacs, inflated)
    if start.startswith(_ZIP):
        return store_files(pacs, [body.in_file()]), True
    if not start:
        raise OrthancError.bad_format("the body is empty")
    return [store_spool(pacs, body)], False


def _start_of(body: Spool) -> bytes:
    with body.reading() as file:
        return file.read(4)


def _inflate(body: Spool, target: Spool) -> None:
    """Inflate gzip, all of its members, but not beyond what instances can be."""
    with body.reading() as file:
        _inflate_file(file, target)


def _inflate_file(body: BinaryIO, target: Spool) -> None:
    engine, begun = zlib.decompressobj(wbits=31), False
    taken = given = members = 0
    while data := body.read(_BLOCK):
        taken += len(data)
        while data:
            try:
                block = engine.decompress(data, _CHUNK)
            except zlib.error:
                raise OrthancError.bad_format("the gzip body is damaged") from None
            begun = True
            target.write(block)
            given += len(block)
            if given > min(_LARGEST, max(_SMALL, _RATIO * taken)):
                raise OrthancError.bad_format("the gzip body inflates to more than a body may")
            data = engine.unconsumed_tail
            if engine.eof:
                members += 1
                if members > _MEMBERS:
                    raise OrthancError.bad_format(f"the gzip body has more than {_MEMBERS} members")
                data = engine.unused_data
                engine, begun = zlib.decompressobj(wbits=31), False
    if given == 0 or begun:  # a member that does not end was cut off
        raise OrthancError.bad_format("the gzip body is damaged")


def _answer(outcomes: Sequence[Outcome], *, many: bool) -> Response:
    for outcome in outcomes:
        if is_for_want_of_space(outcome):
            raise OrthancError(507, outcome.reason)
    if many:
        # What is no instance is left out, as a zip archive may hold anything.
        reasons = Counter(outcome.reason for outcome in outcomes if outcome.kind == "refused")
        if reasons:
            told = "; ".join(reason for reason, _ in reasons.most_common(_TOLD))
            _log.warning("%d of %d files of an upload are left out: %s", reasons.total(), len(outcomes), told)
        return as_json([_told(outcome) for outcome in outcomes if outcome.kind != "refused"])
    (outcome,) = outcomes
    if outcome.kind == "refused":
        raise OrthancError.bad_format(outcome.reason)
    return as_json(_told(outcome))


def _told(outcome: Outcome) -> dict[str, Any]:
    assert outcome.identity is not None
    name = outcome.identity.orthanc_id("instance")
    return {
        "ID": name,
        "ParentPatient": outcome.identity.orthanc_id("patient"),
        "ParentSeries": outcome.identity.orthanc_id("series"),
        "ParentStudy": outcome.identity.orthanc_id("study"),
        "Path": f"/instances/{name}",
        "Status": "Success" if outcome.kind == "stored" else "AlreadyStored",
    }
