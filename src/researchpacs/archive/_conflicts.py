"""What was kept aside: another content of an identity that was there already."""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Conflict", "conflicts_in", "note_conflict"]

_INSERT = "insert or ignore into conflicts (key, sha256, size, reference_path) values (?, ?, ?, ?)"
_ALL = "select key, sha256, size, reference_path, received_at from conflicts order by received_at, key, sha256"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A file that came for an identity which has another content."""

    key: str
    """Of the identity (`Identity.key`), and so of the instance that stayed."""
    path: Path
    """Where the file is."""
    size: int
    received_at: str
    """ISO 8601, UTC."""


def note_conflict(con: sqlite3.Connection, key: str, sha256: str | None, size: int, reference: Path | None) -> None:
    """Note a file, inside `Ledger.writing`; one that is known already stays as it is."""
    con.execute(_INSERT, (key, sha256, size, os.fsencode(reference) if reference else None))


def conflicts_in(con: sqlite3.Connection, folder: Path) -> list[Conflict]:
    """All files, in the order in which they came.

    Parameters
    ----------
    folder
        Of those that are no references.
    """
    return [
        Conflict(key, Path(os.fsdecode(place)) if place else folder / f"{sha256}.dcm", size, received_at)
        for key, sha256, size, place, received_at in con.execute(_ALL)
    ]
