"""Attachments: files beside patients, studies, series and instances, content-addressed like the instances themselves.

A file is durable before its row is committed, so a row always has its file. A file that no row needs any more is noted
in the same transaction and removed after it.
"""

import hashlib
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from researchpacs.archive._metadata import Revision, next_number
from researchpacs.archive._subject import Subject, require
from researchpacs.errors import NotFoundError
from researchpacs.storage.durable import sync_directory, sync_file
from researchpacs.storage.home import Home
from researchpacs.storage.ledger import Ledger

__all__ = ["Attachment", "Attachments"]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file beside an object."""

    name: str
    revision: Revision
    sha256: str
    size: int
    path: Path


class Attachments:
    """Files by name beside an archive's objects.

    Parameters
    ----------
    home
        Where the files go.
    ledger
        The home's ledger, with the archive's tables.
    """

    def __init__(self, home: Home, ledger: Ledger) -> None:
        self._home = home
        self._ledger = ledger

    def of(self, subject: Subject) -> list[Attachment]:
        """The attachments of an object by name."""
        query = "select * from attachments where level = ? and owner = ? order by name"
        with self._ledger.reading() as con:
            return [self._attachment(row) for row in con.execute(query, (subject.level, subject.owner))]

    def get(self, subject: Subject, name: str) -> Attachment:
        """Find one attachment.

        Raises
        ------
        NotFoundError
            The object has none of this name.
        """
        with self._ledger.reading() as con:
            return self._found(con, subject, name)

    def put(self, subject: Subject, name: str, chunks: Iterable[bytes], *, seen: Revision | None = None) -> Attachment:
        """Attach content, replacing what has the same name.

        Parameters
        ----------
        chunks
            The content, piece by piece; never whole in memory.
        seen
            The revision that the caller has read; None replaces whatever is there.

        Raises
        ------
        ConflictError
            Another revision than `seen` stands; nothing is changed.
        NotFoundError
            The object is not in the archive.
        """
        with self._home.workspace() as tmp:
            blob, sha256, md5, size = _spool(chunks, tmp)
            place = self._place(sha256)
            with self._ledger.writing() as con:
                require(con, subject)
                old = self._row(con, subject, name)
                number = next_number(Revision(old["revision"], old["md5"]) if old else None, seen)
                self._make_folder(place.parent)
                blob.replace(place)
                sync_directory(place.parent)
                if old is not None:
                    _delete(con, subject, name)
                con.execute(
                    "insert into attachments values (?, ?, ?, ?, ?, ?, ?)",
                    (subject.level, subject.owner, name, number, sha256, md5, size),
                )
        self._sweep()
        return Attachment(name, Revision(number, md5), sha256, size, place)

    def remove(self, subject: Subject, name: str, *, seen: Revision | None = None) -> None:
        """Detach; parameters and errors as for `get` and `put`."""
        with self._ledger.writing() as con:
            next_number(self._found(con, subject, name).revision, seen)
            _delete(con, subject, name)
        self._sweep()

    def _found(self, con: sqlite3.Connection, subject: Subject, name: str) -> Attachment:
        row = self._row(con, subject, name)
        if row is None:
            raise NotFoundError(f"this {subject.level} has no attachment of this name")
        return self._attachment(row)

    def _row(self, con: sqlite3.Connection, subject: Subject, name: str) -> sqlite3.Row | None:
        query = "select * from attachments where level = ? and owner = ? and name = ?"
        row: sqlite3.Row | None = con.execute(query, (subject.level, subject.owner, name)).fetchone()
        return row

    def _attachment(self, row: sqlite3.Row) -> Attachment:
        place = self._place(row["sha256"])
        revision = Revision(row["revision"], row["md5"])
        return Attachment(row["name"], revision, row["sha256"], row["size"], place)

    def _place(self, sha256: str) -> Path:
        return self._home.attachments / sha256[:2] / sha256

    def _make_folder(self, folder: Path) -> None:
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            sync_directory(self._home.path)
            sync_directory(self._home.attachments)

    def _sweep(self) -> None:
        """Remove files that no row needs, under the lock that keeps others from attaching them meanwhile."""
        with self._ledger.writing() as con:
            for (sha256,) in con.execute("select sha256 from loose_attachments").fetchall():
                if con.execute("select 1 from attachments where sha256 = ?", (sha256,)).fetchone() is None:
                    self._place(sha256).unlink(missing_ok=True)
            con.execute("delete from loose_attachments")


def _spool(chunks: Iterable[bytes], tmp: Path) -> tuple[Path, str, str, int]:
    """Write content to a durable file of its own and hash it on the way."""
    blob = tmp / f"{secrets.token_hex(12)}.part"
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with blob.open("xb") as file:
        for chunk in chunks:
            sha256.update(chunk)
            md5.update(chunk)
            size += len(chunk)
            file.write(chunk)
        file.flush()
        sync_file(file.fileno())
    return blob, sha256.hexdigest(), md5.hexdigest(), size


def _delete(con: sqlite3.Connection, subject: Subject, name: str) -> None:
    key = (subject.level, subject.owner, name)
    con.execute("delete from attachments where level = ? and owner = ? and name = ?", key)
