"""What peers send, on its way through the one door: spooled to the home's workspace, scanned, stored.

Every protocol uses these functions and answers with the outcomes: stored, duplicate and conflict are success to the
sender (a conflict is kept aside), refused is an error. An outcome comes back only when it is durable.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from starlette.concurrency import run_in_threadpool

from researchpacs.ingest import Spool, check_spool, incoming
from researchpacs.model import Incoming, Outcome, Refusal
from researchpacs.server.filling import EXTENSION as FILL
from researchpacs.server.filling import Fill
from researchpacs.server.together import store_together, workspace

if TYPE_CHECKING:
    from starlette.requests import Request

    from researchpacs._pacs import Pacs

__all__ = ["is_for_want_of_space", "receive_body", "store_files", "store_spool", "store_stream", "store_written"]

_CHUNK = 1 << 20


async def receive_body(request: "Request", spool: Spool) -> None:
    """Take the body of a request: straight into memory where it is small, its length is told and the server can."""
    fill: Fill | None = request.scope.get("extensions", {}).get(FILL)
    length = request.headers.get("content-length", "")
    room = spool.room(int(length)) if fill and length.isdecimal() else None
    if fill and room:
        await fill(room, spool.took)
        return
    async for chunk in request.stream():
        if spool.waits_for_disk(len(chunk)):
            await run_in_threadpool(spool.write, chunk)
        else:
            spool.write(chunk)


def store_files(pacs: "Pacs", paths: Sequence[Path]) -> list[Outcome]:
    """Store what files hold: instances, or zip archives of them; the files stay where they are.

    Returns
    -------
    outcomes
        In the order of the paths; the members of a zip archive in the order they stand in it. `Outcome.source` is the
        path, or ``path!member``.
    """
    checked = list[Incoming | Refusal]()
    with workspace(pacs.archive) as tmp:
        try:
            for one in incoming(list(paths), tmp=tmp, progress=False):
                checked.append(one)
            return _stored(pacs, checked)
        except Exception:
            # The workspace is the server's, and nobody sweeps it while it runs.
            for one in checked:
                if isinstance(one, Incoming) and one.blob:
                    one.blob.unlink(missing_ok=True)
            raise


def store_stream(pacs: "Pacs", stream: BinaryIO) -> Outcome:
    """Store one instance that comes as a binary stream, read from where it stands to its end, in blocks."""
    return store_written(pacs, lambda spool: shutil.copyfileobj(stream, spool, _CHUNK))


def store_written(pacs: "Pacs", write: Callable[[Spool], object]) -> Outcome:
    """Store one instance that a function writes into a spool."""
    with workspace(pacs.archive) as tmp:
        spool = Spool(tmp)
        try:
            write(spool)
            return store_spool(pacs, spool)
        finally:
            spool.discard()


def store_spool(pacs: "Pacs", spool: Spool) -> Outcome:
    """Store one instance that has come."""
    (outcome,) = _stored(pacs, [check_spool(spool, "<stream>")])
    spool.hand_over()
    return outcome


def is_for_want_of_space(outcome: Outcome) -> bool:
    """Whether an instance was refused because the disk is full."""
    return outcome.kind == "refused" and outcome.reason.startswith("no space left")


def _stored(pacs: "Pacs", checked: Sequence[Incoming | Refusal]) -> list[Outcome]:
    accepted = [one for one in checked if isinstance(one, Incoming)]
    stored = iter(store_together(pacs.archive, accepted) if accepted else ())
    return [
        next(stored) if isinstance(one, Incoming) else Outcome(one.source, "refused", one.reason) for one in checked
    ]
