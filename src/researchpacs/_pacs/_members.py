"""Where a cohort's handles come from, here and in the processes it is sent to."""

from functools import cache
from typing import TYPE_CHECKING

from researchpacs._pacs._handles import as_handle
from researchpacs.cohort import Source

if TYPE_CHECKING:
    from researchpacs._pacs._facade import Pacs

__all__ = ["member_source"]


def member_source(pacs: "Pacs") -> Source:
    """Handles of the series of an open archive."""
    return Source(
        pacs.catalog,
        pacs.archive,
        lambda row: as_handle(pacs, "series", row),
        again=(_reopened, (str(pacs.home),)),
    )


@cache
def _reopened(home: str) -> Source:
    """The same in another process: its archive stays open there."""
    from researchpacs._pacs._connect import connect

    return member_source(connect(home))
