"""STOW-RS: store instances, which come as parts of one body and go to disk as they come (PS3.18 10.5)."""

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from researchpacs.archive._parts import Begin, Data, End, PartReader
from researchpacs.errors import InvalidInputError
from researchpacs.ingest import Spool, check_spool
from researchpacs.model import Incoming, Outcome, Refusal
from researchpacs.server.dicomweb._answers import RequestError
from researchpacs.server.dicomweb._media import parse_media_type
from researchpacs.server.dicomweb._resources import pacs_of, root_url
from researchpacs.server.dicomweb._stored import OTHER_STUDY, stored_answer
from researchpacs.server.together import store_together, workspace

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["store"]

_DICOM = "application/dicom"
_BLOCK = 1 << 20
"""Bytes that are gathered before a thread writes them."""
_BATCH = 128
_BATCH_BYTES = 256 << 20


async def store(request: Request) -> Response:
    """``POST /studies`` and ``/studies/{study}``."""
    boundary = _boundary(request.headers.get("content-type", ""))
    receiver = await run_in_threadpool(_Receiver, pacs_of(request), boundary, request.path_params.get("study"))
    try:
        waiting = bytearray()
        async for chunk in request.stream():
            waiting += chunk
            if len(waiting) >= _BLOCK:
                block, waiting = bytes(waiting), bytearray()
                await run_in_threadpool(receiver.feed, block)
        await run_in_threadpool(receiver.feed, bytes(waiting))
        outcomes = await run_in_threadpool(receiver.finish)
    except ClientDisconnect:
        raise RequestError(400, "the client went away before the body was complete") from None
    finally:
        await run_in_threadpool(receiver.close)
    return await run_in_threadpool(stored_answer, pacs_of(request).archive, outcomes, root_url(request))


class _Receiver:
    """Writes parts into files, and stores a batch of them whenever there are enough.

    What is complete is stored, also where the body breaks off after it.

    Parameters
    ----------
    study_uid
        The only study whose instances are taken; None for any.
    """

    def __init__(self, pacs: "Pacs", boundary: str, study_uid: str | None) -> None:
        self._archive = pacs.archive
        self._study_uid = study_uid
        self._reader = PartReader(boundary)
        self._workspace = workspace(pacs.archive)
        self._tmp = self._workspace.__enter__()
        self._part: Spool | None = None
        self._waiting: list[Incoming] = []
        self._waiting_bytes = 0
        self._parts = 0
        self._outcomes: dict[str, Outcome] = {}

    def feed(self, data: bytes) -> None:
        """Take more of the body."""
        for event in self._reader.feed(data):
            if isinstance(event, Begin):
                self._begin(event)
            elif isinstance(event, Data):
                if self._part is not None:
                    self._part.write(event.content)
            else:
                self._end(event)

    def finish(self) -> list[Outcome]:
        """Store what is left; the outcomes in the order of the parts."""
        self._store()
        self._reader.close()
        return [self._outcomes[source] for source in sorted(self._outcomes, key=int)]

    def close(self) -> None:
        """Remove the files that are left."""
        if self._part is not None:
            self._part.discard()
        for one in self._waiting:
            _remove(one)
        self._workspace.__exit__(None, None, None)

    def _begin(self, part: Begin) -> None:
        media_type, _ = parse_media_type(part.headers.get("content-type", _DICOM))
        if media_type != _DICOM:
            raise RequestError(415, f"every part is {_DICOM}; metadata with bulk data beside them are not taken")
        self._part = Spool(self._tmp)

    def _end(self, _: End) -> None:
        assert self._part is not None
        checked = check_spool(self._part, str(self._parts))
        self._part.hand_over()
        self._part = None
        self._parts += 1
        self._take(checked)
        if len(self._waiting) >= _BATCH or self._waiting_bytes >= _BATCH_BYTES:
            self._store()

    def _take(self, checked: Incoming | Refusal) -> None:
        if isinstance(checked, Refusal):
            self._outcomes[checked.source] = Outcome(checked.source, "refused", checked.reason)
        elif self._study_uid not in (None, checked.identity.study_uid):
            self._outcomes[checked.source] = Outcome(checked.source, "refused", OTHER_STUDY, checked.identity)
            _remove(checked)
        else:
            self._waiting.append(checked)
            self._waiting_bytes += checked.size

    def _store(self) -> None:
        if self._waiting:
            for outcome in store_together(self._archive, self._waiting):
                self._outcomes[outcome.source] = outcome
        # Only now: what could not be stored is removed by `close`.
        self._waiting, self._waiting_bytes = [], 0


def _remove(item: Incoming) -> None:
    if item.blob:
        item.blob.unlink(missing_ok=True)


def _boundary(content_type: str) -> str:
    media_type, parameters = parse_media_type(content_type or "application/octet-stream")
    if media_type != "multipart/related" or parameters.get("type", _DICOM).lower() != _DICOM:
        raise RequestError(415, f'instances are sent as multipart/related; type="{_DICOM}"')
    if "boundary" not in parameters:
        raise InvalidInputError("the Content-Type of a multipart body names its boundary")
    return parameters["boundary"]
