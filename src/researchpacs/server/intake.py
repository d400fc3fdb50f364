"""What peers send, on its way through the one door: spooled to the home's workspace, scanned, stored.

Every protocol uses these two functions and answers with the outcomes: stored, duplicate and conflict are success to the
sender (a conflict is kept aside), refused is an error. An outcome comes back only when it is durable.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from researchpacs.ingest import incoming
from researchpacs.model import Incoming, Outcome, Refusal

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["store_files", "store_stream"]


def store_files(pacs: "Pacs", paths: Sequence[Path]) -> list[Outcome]:
    """Store what files hold: instances, or zip archives of them; the files stay where they are.

    Returns
    -------
    outcomes
        In the order of the paths; the members of a zip archive in the order they stand in it. `Outcome.source` is the
        path, or ``path!member``.
    """
    return _store(pacs, list(paths))


def store_stream(pacs: "Pacs", stream: BinaryIO) -> Outcome:
    """Store one instance that comes as a binary stream, read to its end in blocks."""
    (outcome,) = _store(pacs, [stream])
    return outcome


def _store(pacs: "Pacs", sources: list[object]) -> list[Outcome]:
    refused: list[Outcome] = []
    order: dict[str, int] = {}

    def accepted(checked: Iterable[Incoming | Refusal]) -> Iterator[Incoming]:
        for one in checked:
            order.setdefault(one.source, len(order))
            if isinstance(one, Refusal):
                refused.append(Outcome(one.source, "refused", one.reason))
            else:
                yield one

    with pacs.archive.home.workspace() as tmp:
        stored = list(pacs.archive.store(accepted(incoming(sources, tmp=tmp, progress=False))))
    return sorted([*stored, *refused], key=lambda outcome: order[outcome.source])
