"""Handles in other processes: what tells the object apart travels, and the archive is opened there again."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from researchpacs._pacs._lookup import is_indexed
from researchpacs.errors import UnsupportedError

if TYPE_CHECKING:
    from researchpacs._pacs._facade import Pacs
    from researchpacs._pacs._handles import Handle
    from researchpacs.model import Level

__all__ = ["reopened", "travelling"]

_OPENED: dict[tuple[int, str], "Pacs"] = {}
"""Opened for handles that came from elsewhere, by process: what a fork inherits is its parent's."""


def travelling(handle: "Handle") -> tuple[str, "Level", dict[str, Any]]:
    """Give what another process needs: the folder of the archive, the level, the identity; no attribute, no secret.

    Raises
    ------
    UnsupportedError
        The archive is behind a server: where it is and its credentials stay here.
    """
    pacs = handle._pacs
    if not is_indexed(pacs):
        raise UnsupportedError(
            "a handle of an archive behind a server stays in its process, as the credentials do; "
            "send a volume of open_volume(series) instead"
        )
    return str(pacs.home), handle.level, dict(handle._kinship)


def reopened(home: str, level: "Level", identity: Mapping[str, Any]) -> "Handle":
    """Make a handle where it arrives; its attributes are asked for when they are wanted.

    Raises
    ------
    NotFoundError
        It is not in the archive any more; told when an attribute is asked for.
    """
    from researchpacs._pacs._handles import as_handle

    pacs = _opened(home)

    def later() -> Mapping[str, Any]:
        found: Handle = pacs.search(level, **identity).one()
        return found.attributes()

    return as_handle(pacs, level, identity, later=later)


def _opened(home: str) -> "Pacs":
    from researchpacs._pacs._connect import connect

    key = os.getpid(), home
    pacs = _OPENED.get(key)
    if pacs is None or pacs.closed:
        pacs = _OPENED[key] = connect(home)
    return pacs
