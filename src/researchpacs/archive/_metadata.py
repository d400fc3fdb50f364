"""Metadata: small values by name beside patients, studies, series and instances, each with a revision.

A revision guards against lost updates: who changes a value may say which revision it has seen, and is refused where
another one stands.
"""

import sqlite3
from typing import NamedTuple

from researchpacs.archive._subject import Subject, require
from researchpacs.errors import ConflictError, InvalidInputError, NotFoundError
from researchpacs.storage.ledger import Ledger

__all__ = ["Metadata", "MetadataValue", "next_revision"]

MAX_BYTES = 1 << 20
"""Larger values are attachments."""


class MetadataValue(NamedTuple):
    """A value and how often it was replaced."""

    value: bytes
    revision: int
    """Zero for the first."""


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

    def put(self, subject: Subject, name: str, value: bytes, *, seen: int | None = None) -> int:
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
            revision = next_revision(old.revision if old else None, seen)
            row = (subject.level, subject.owner, name, revision, value)
            con.execute("insert or replace into metadata values (?, ?, ?, ?, ?)", row)
        return revision

    def remove(self, subject: Subject, name: str, *, seen: int | None = None) -> None:
        """Remove a value; parameters and errors as for `get` and `put`."""
        with self._ledger.writing() as con:
            old = _find(con, subject, name)
            if old is None:
                raise NotFoundError(f"this {subject.level} has no metadata of this name")
            next_revision(old.revision, seen)
            key = (subject.level, subject.owner, name)
            con.execute("delete from metadata where level = ? and owner = ? and name = ?", key)


def next_revision(stands: int | None, seen: int | None) -> int:
    """Number the revision after the one that stands; None where there is none yet.

    Raises
    ------
    ConflictError
        The caller has seen another one.
    """
    if seen is not None and seen != stands:
        raise ConflictError("another revision stands than the one this change was made for; read it again")
    return 0 if stands is None else stands + 1


def _find(con: sqlite3.Connection, subject: Subject, name: str) -> MetadataValue | None:
    query = "select value, revision from metadata where level = ? and owner = ? and name = ?"
    row = con.execute(query, (subject.level, subject.owner, name)).fetchone()
    return MetadataValue(row["value"], row["revision"]) if row else None
