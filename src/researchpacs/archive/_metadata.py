"""Metadata: small values by name beside patients, studies, series and instances, each with a revision.

A revision guards against lost updates: who changes a value may say which revision it has seen, and is refused where
another one stands.
"""

import hashlib
import sqlite3
from typing import NamedTuple

from researchpacs.archive._subject import Subject, require
from researchpacs.errors import ConflictError, InvalidInputError, NotFoundError
from researchpacs.storage.ledger import Ledger

__all__ = ["Metadata", "MetadataValue", "Revision", "next_number"]

MAX_BYTES = 1 << 20
"""Larger values are attachments."""


class Revision(NamedTuple):
    """What tells one content of a name from its earlier and later ones."""

    number: int
    """Zero for the first; counting starts over where the name was removed."""
    md5: str
    """Of the content: peers tell by it, too."""


class MetadataValue(NamedTuple):
    """A value and which one it is."""

    value: bytes
    revision: Revision


class Metadata:
    """Values by name beside an archive's objects.

    Parameters
    ----------
    ledger
        The home's ledger, with the archive's tables.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def names(self, subject: Subject) -> list[str]:
        """The names that an object has values for."""
        query = "select name from metadata where level = ? and owner = ? order by name"
        with self._ledger.reading() as con:
            return [row["name"] for row in con.execute(query, (subject.level, subject.owner))]

    def get(self, subject: Subject, name: str) -> MetadataValue:
        """Read a value.

        Raises
        ------
        NotFoundError
            The object has none of this name.
        """
        with self._ledger.reading() as con:
            found = _find(con, subject, name)
        if found is None:
            raise NotFoundError(f"this {subject.level} has no metadata of this name")
        return found

    def put(self, subject: Subject, name: str, value: bytes, *, seen: Revision | None = None) -> Revision:
        """Set a value; its new revision.

        Parameters
        ----------
        seen
            The revision that the caller has read; None replaces whatever is there.

        Raises
        ------
        ConflictError
            Another revision than `seen` stands; nothing is changed.
        """
        if len(value) > MAX_BYTES:
            raise InvalidInputError(f"metadata has at most {MAX_BYTES} bytes; attach larger content")
        with self._ledger.writing() as con:
            require(con, subject)
            old = _find(con, subject, name)
            number = next_number(old.revision if old else None, seen)
            row = (subject.level, subject.owner, name, number, value)
            con.execute("insert or replace into metadata values (?, ?, ?, ?, ?)", row)
        return Revision(number, _md5(value))

    def remove(self, subject: Subject, name: str, *, seen: Revision | None = None) -> None:
        """Remove a value; parameters and errors as for `get` and `put`."""
        with self._ledger.writing() as con:
            old = _find(con, subject, name)
            if old is None:
                raise NotFoundError(f"this {subject.level} has no metadata of this name")
            next_number(old.revision, seen)
            key = (subject.level, subject.owner, name)
            con.execute("delete from metadata where level = ? and owner = ? and name = ?", key)


def next_number(stands: Revision | None, seen: Revision | None) -> int:
    """Number the revision after the one that stands; None where there is none yet.

    Raises
    ------
    ConflictError
        The caller has seen another one.
    """
    if seen is not None and seen != stands:
        raise ConflictError("another revision stands than the one this change was made for; read it again")
    return 0 if stands is None else stands.number + 1


def _find(con: sqlite3.Connection, subject: Subject, name: str) -> MetadataValue | None:
    query = "select value, revision from metadata where level = ? and owner = ? and name = ?"
    row = con.execute(query, (subject.level, subject.owner, name)).fetchone()
    return MetadataValue(row["value"], Revision(row["revision"], _md5(row["value"]))) if row else None


def _md5(value: bytes) -> str:
    return hashlib.md5(value, usedforsecurity=False).hexdigest()
