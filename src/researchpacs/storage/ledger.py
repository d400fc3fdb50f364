"""The home's database of truth: SQLite, many processes, nothing lost.

Only Python's `sqlite3` opens it: two SQLite libraries in one process do not see each other's locks. Each room owns its
tables and hands in its migrations. A write is one ``begin immediate`` transaction, so it never fails half-way for
want of a lock; writers of one process queue for a lock of their own, because SQLite's is unfair.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from researchpacs.errors import UnsupportedError
from researchpacs.storage.connections import Connections, DiskFullError

__all__ = ["Ledger", "scripts_of"]

_MIGRATIONS = """
create table if not exists migrations (
    room text not null,
    version integer not null,
    applied_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    primary key (room, version)
) strict
"""


class Ledger:
    """Connections to one ledger: safe across threads, forks and spawns.

    Parameters
    ----------
    path
        The database; made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connections = Connections(path)

    def migrate(self, room: str, scripts: Sequence[str]) -> None:
        """Bring a room's tables to its newest version, once, whoever comes first.

        Parameters
        ----------
        room
            The owner of the tables.
        scripts
            SQL, one script a version, oldest first; a script never changes once it is released.

        Raises
        ------
        UnsupportedError
            The tables were made by a newer program.
        """
        known = "select coalesce(max(version), 0) from migrations where room = ?"
        with self.writing() as con:
            con.execute(_MIGRATIONS)
            (version,) = con.execute(known, (room,)).fetchone()
            if version > len(scripts):
                raise UnsupportedError(
                    f"the ledger's {room} tables have version {version}, this version of researchpacs knows "
                    f"{len(scripts)}. Upgrade with: pip install --upgrade researchpacs"
                )
            for number, script in enumerate(scripts[version:], start=version + 1):
                for statement in _statements(script):
                    con.execute(statement)
                con.execute("insert into migrations (room, version) values (?, ?)", (room, number))

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, durable when the block ends without an exception, undone otherwise."""
        with self._connections.queue, self._connections.lent() as con:
            owner = os.getpid()
            con.execute("begin immediate")
            try:
                yield con
                if os.getpid() != owner:
                    raise UnsupportedError("a forked process cannot end its parent's write; nothing is written by it")
                con.execute("commit")
            finally:
                # Nothing is open after a commit, nor where a full disk made SQLite roll back by itself.
                if con.in_transaction and os.getpid() == owner:
                    con.execute("rollback")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot: every query in the block sees the same state."""
        with self._connections.lent() as con:
            owner = os.getpid()
            con.execute("begin")
            try:
                yield con
            finally:
                if os.getpid() == owner:
                    con.execute("rollback")

    def copy_to(self, path: Path) -> None:
        """Copy what is committed now into a new database, while others go on writing.

        Raises
        ------
        DiskFullError
            There is no space for it; what there is of the copy is of no use.
        """
        with self.reading() as con, closing(sqlite3.connect(path, isolation_level=None)) as copy:
            copy.execute("pragma synchronous = off")
            try:
                con.backup(copy)
                # Without a log beside it the copy is one file, and opens where nothing may be written.
                copy.execute("pragma journal_mode = delete")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
                    raise DiskFullError(path) from error
                raise

    def close(self) -> None:
        """Close this process's idle connections; the next call opens new ones."""
        self._connections.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_path"])  # type: ignore[misc]


def scripts_of(package: str) -> tuple[str, ...]:
    """The ``migrations/*.sql`` of a package, in the order of their names."""
    folder = resources.files(package) / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(file.read_text(encoding="utf-8") for file in files)


def _statements(script: str) -> Iterator[str]:
    """Cut a script into statements; `executescript` would commit first."""
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip(" ;\n"):
        yield statement
