"""The one object that a UID, or the beginning of one, names."""

import itertools
from typing import TYPE_CHECKING, Any

from researchpacs._pacs._handles import as_handle
from researchpacs._pacs._lookup import is_indexed, look_up
from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.model import Level

if TYPE_CHECKING:
    from researchpacs._pacs._facade import Pacs

__all__ = ["one_of"]

_LONGEST_UID = 64


def one_of(pacs: "Pacs", level: Level, keyword: str, uid: str) -> Any:
    """Make the handle of the one object whose UID is this, else begins so.

    Raises
    ------
    NotFoundError
        There is none.
    InvalidInputError
        There are several, or it is no UID.
    """
    plain = _plain_uid(uid)
    if is_indexed(pacs):
        found = [as_handle(pacs, level, row, later=later) for row, later in look_up(pacs, level, plain)]
    else:
        found = list(itertools.islice(pacs.search(level, limit=2, **{keyword: f"{plain}*"}), 2))
    exact = [handle for handle in found if handle.uid == uid]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise NotFoundError(f"no {level} here has a {keyword} that begins with {_shown(uid)}; search() lists them")
    raise InvalidInputError(f"more than one {level} has a {keyword} that begins with {_shown(uid)}; give more of it")


def _shown(uid: str) -> str:
    """Repeat what is a UID; a patient's identifier given in its place stays out of the message."""
    return uid if "." in uid and uid.replace(".", "").isdecimal() else "that"


def _plain_uid(uid: str) -> str:
    """A UID is digits and dots; anything else, wildcards among them, names nothing."""
    plain = isinstance(uid, str) and uid.isascii() and all(c.isalnum() or c in ".-_" for c in uid)
    if not plain or not 0 < len(uid) <= _LONGEST_UID:
        raise InvalidInputError(
            f"a UID, or the beginning of one, is expected: digits and dots, {_LONGEST_UID} characters at most"
        )
    return uid
