"""The home's database of truth: SQLite, many processes, nothing lost.

Only Python's `sqlite3` opens it: two SQLite libraries in one process do not see each other's locks. Each room owns its
tables and hands in its migrations. A write is one ``begin immediate`` transaction, so it never fails half-way for
want of a lock; writers of one process queue for a lock of their own, because SQLite's is unfair.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from researchpacs.errors import UnsupportedError

__all__ = ["Ledger", "scripts_of"]

_BUSY_S = 60.0
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
        self._state = _State()

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
        with self._own_state().queue, self._connection() as con:
            con.execute("begin immediate")
            try:
                yield con
                con.execute("commit")
            finally:
                # Nothing is open after a commit, nor where a full disk made SQLite roll back by itself.
                if con.in_transaction:
                    con.execute("rollback")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot: every query in the block sees the same state."""
        with self._connection() as con:
            con.execute("begin")
            try:
                yield con
            finally:
                con.execute("rollback")

    def close(self) -> None:
        """Close this process's idle connections; the next call opens new ones."""
        idle = self._own_state().idle
        while idle:
            idle.pop().close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that nobody else uses."""
        state = self._own_state()
        try:
            con = state.idle.pop()
        except IndexError:
            con = _connect(self._path)
        try:
            yield con
        finally:
            state.idle.append(con)

    def _own_state(self) -> "_State":
        if self._state.pid != os.getpid():
            # A forked child must neither use nor close what its parent opened (sqlite.org/howtocorrupt.html, 2.6).
            _INHERITED.append(self._state)
            self._state = _State()
        return self._state

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_path"])  # type: ignore[misc]


def scripts_of(package: str) -> tuple[str, ...]:
    """The ``migrations/*.sql`` of a package, in the order of their names."""
    folder = resources.files(package) / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(file.read_text(encoding="utf-8") for file in files)


class _State:
    """What belongs to one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.queue = threading.Lock()
        self.idle: list[sqlite3.Connection] = []


_INHERITED: list[_State] = []


def _connect(path: Path) -> sqlite3.Connection:
    con = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    con.row_factory = sqlite3.Row
    _use_wal(con)
    con.execute("pragma synchronous = full")
    con.execute("pragma fullfsync = on")
    con.execute("pragma foreign_keys = on")
    return con


def _use_wal(con: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; SQLite does not wait by itself when another process does so at the same time."""
    give_up = time.monotonic() + _BUSY_S
    while True:
        try:
            con.execute("pragma journal_mode = wal")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


def _statements(script: str) -> Iterator[str]:
    """Cut a script into statements; `executescript` would commit first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement
