"""What peers send, on its way through the one door: spooled to the home's workspace, scanned, stored.

Every protocol uses these functions and answers with the outcomes: stored, duplicate and conflict are success to the
sender (a conflict is kept aside), refused is an error. An outcome comes back only when it is durable.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from researchpacs.ingest import incoming
from researchpacs.model import Incoming, Outcome
from researchpacs.server.together import store_together, workspace

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["IN_MEMORY", "is_for_want_of_space", "new_spool", "store_files", "store_stream"]

IN_MEMORY = 4 << 20
"""Bytes of a body that are kept in memory while it comes."""


def new_spool(pacs: "Pacs") -> BinaryIO:
    """A place for a body while it comes: in memory while it is small, then a nameless file on the archive's disk."""
    spool = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, dir=str(pacs.archive.home.tmp))  # noqa: SIM115 - handed out
    return cast("BinaryIO", spool)


def store_files(pacs: "Pacs", paths: Sequence[Path]) -> list[Outcome]:
    """Store what files hold: instances, or zip archives of them; the files stay where they are.

    Returns
    -------
    outcomes
        In the order of the paths; the members of a zip archive in the order they stand in it. `Outcome.source` is the
        path, or ``path!member``.
    """
    with workspace(pacs.archive) as tmp:
        return _store(pacs, list(paths), tmp)


def store_stream(pacs: "Pacs", stream: BinaryIO) -> Outcome:
    """Store one instance that comes as a binary stream, read from where it stands to its end, in blocks."""
    with workspace(pacs.archive) as tmp:
        (outcome,) = _store(pacs, [stream], tmp)
    return outcome


def is_for_want_of_space(outcome: Outcome) -> bool:
    """Whether an instance was refused because the disk is full."""
    return outcome.kind == "refused" and outcome.reason.startswith("no space left")


def _store(pacs: "Pacs", sources: list[object], tmp: Path) -> list[Outcome]:
    checked = list(incoming(sources, tmp=tmp, progress=False))
    accepted = [one for one in checked if isinstance(one, Incoming)]
    stored = iter(store_together(pacs.archive, accepted))
    return [
        next(stored) if isinstance(one, Incoming) else Outcome(one.source, "refused", one.reason) for one in checked
    ]
