"""Check files that a server has written into a workspace itself: nothing is copied."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from researchpacs.ingest._check import Checker
from researchpacs.ingest._tasks import SpooledTask
from researchpacs.model import Incoming, Refusal

__all__ = ["check_spooled"]


def check_spooled(files: Iterable[tuple[str, Path]], *, tmp: Path) -> Iterator[Incoming | Refusal]:
    """Check one instance a file, in order; a file that is refused is removed.

    Parameters
    ----------
    files
        What a report calls the file, and a complete file in `tmp`, which is the archive's from now on.
    tmp
        A workspace (`Home.workspace`) on the disk of the archive.
    """
    with Checker(tmp) as check:
        for source, path in files:
            yield check(SpooledTask(source, path))
