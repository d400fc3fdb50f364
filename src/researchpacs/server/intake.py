"""What peers send, on its way through the one door: spooled to the home's workspace, scanned, stored.

Every protocol uses these functions and answers with the outcomes: stored, duplicate and conflict are success to the
sender (a conflict is kept aside), refused is an error. An outcome comes back only when it is durable.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from researchpacs.ingest import incoming
from researchpacs.model import Incoming, Outcome, Refusal

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["is_for_want_of_space", "new_spool", "store_files", "store_stream"]

_IN_MEMORY = 4 << 20


def new_spool(pacs: "Pacs") -> BinaryIO:
    """A place for a body while it comes: in memory while it is small, then a nameless file on the archive's disk."""
    spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(pacs.archive.home.tmp))  # noqa: SIM115 - handed out
    return cast("BinaryIO", spool)


def store_files(pacs: "Pacs", paths: Sequence[Path]) -> list[Outcome]:
    """Store what files hold: instances, or zip archives of them; the files stay where they are.

    Returns
    -------
    outcomes
        In the order of the paths; the members of a zip archive in the order they stand in it. `Outcome.source` is the
        path, or ``path!member``.
    """
    with pacs.archive.home.workspace() as tmp:
        return _store(pacs, list(paths), tmp)


def store_stream(pacs: "Pacs", stream: BinaryIO) -> Outcome:
    """Store one instance that comes as a binary stream, read from where it stands to its end, in blocks."""
    with pacs.archive.home.workspace() as tmp:
        (outcome,) = _store(pacs, [stream], tmp)
    return outcome


def is_for_want_of_space(outcome: Outcome) -> bool:
    """Whether an instance was refused because the disk is full."""
    return outcome.kind == "refused" and outcome.reason.startswith("no space left")


def _store(pacs: "Pacs", sources: list[object], tmp: Path) -> list[Outcome]:
    refused: list[Outcome] = []
    order: dict[str, int] = {}

    def accepted(checked: Iterable[Incoming | Refusal]) -> Iterator[Incoming]:
        for one in checked:
            order.setdefault(one.source, len(order))
            if isinstance(one, Refusal):
                refused.append(Outcome(one.source, "refused", one.reason))
            else:
                yield one

    stored = list(pacs.archive.store(accepted(incoming(sources, tmp=tmp, progress=False))))
    return sorted([*stored, *refused], key=lambda outcome: order[outcome.source])
