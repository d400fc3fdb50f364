"""SQLite connections of one process: lent to one thread at a time, and all closed before the process forks.

SQLite keeps the locks a process holds in memory of its own. A forked child inherits that memory but not the locks, so
even a connection of its own would trust locks that nobody holds (sqlite.org/howtocorrupt.html, 2.6). Closed connections
leave nothing to inherit: a fork waits until the other threads have given theirs back, and closes them.
"""

import errno
import os
import sqlite3
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from researchpacs.errors import AccessError, ResearchPacsError, UnsupportedError

__all__ = ["BUSY_S", "Connections", "DiskFullError"]

BUSY_S = 60.0
"""How long a connection waits for another process's write."""


class DiskFullError(ResearchPacsError, OSError):
    """No space for what the ledger has to note; nothing of it is noted."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"no space left on the disk of {path}; free some and try again")
        self.errno = errno.ENOSPC


class Connections:
    """Connections to one database.

    Parameters
    ----------
    path
        The database; made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.queue = threading.Lock()
        """Held by the thread that writes: SQLite's own lock is unfair."""
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        with _process.gate:
            _process.members.add(self)

    @contextmanager
    def lent(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that nobody else uses."""
        process = _process
        process.lend()
        try:
            con = self._taken() or _connected(self._path)
            try:
                yield con
            except sqlite3.DatabaseError as error:
                _tell(error, self._path)
                raise
            finally:
                if process is not _process:
                    process.inherited.append(con)  # in a forked child; closing it would break the parent's
                elif con.in_transaction:
                    con.close()
                else:
                    self._idle.append(con)
        finally:
            process.take_back()

    def close(self) -> None:
        """Close what is not lent."""
        while (con := self._taken()) is not None:
            con.close()

    def _taken(self) -> sqlite3.Connection | None:
        try:
            return self._idle.pop()  # one step: another thread may take the last one
        except IndexError:
            return None


class _Process:
    """What the threads of one process share."""

    def __init__(self) -> None:
        self.gate = threading.Condition()
        self.lent: Counter[int] = Counter()
        self.members: weakref.WeakSet[Connections] = weakref.WeakSet()
        self.inherited: list[sqlite3.Connection] = []
        self.unsafe = False
        """Forked while a connection was open: SQLite cannot be trusted here."""

    def lend(self) -> None:
        with self.gate:
            if self.unsafe:
                raise UnsupportedError(
                    "this process was forked while its parent was reading or writing the archive, so it cannot use the "
                    "archive safely; start it with multiprocessing's 'spawn' or 'forkserver'"
                )
            self.lent[threading.get_ident()] += 1

    def take_back(self) -> None:
        with self.gate:
            self.lent[threading.get_ident()] -= 1
            self.gate.notify_all()

    def others(self) -> bool:
        """Whether another thread has a connection."""
        own = threading.get_ident()
        return any(count for thread, count in self.lent.items() if thread != own)


_process = _Process()


def _before_fork() -> None:
    _process.gate.acquire()
    _process.gate.wait_for(lambda: not _process.others(), timeout=BUSY_S)
    for connections in list(_process.members):
        connections.close()


def _after_fork_in_parent() -> None:
    _process.gate.release()


def _after_fork_in_child() -> None:
    global _process
    parent, _process = _process, _Process()
    _process.unsafe = any(parent.lent.values())
    _process.inherited = parent.inherited
    for connections in list(parent.members):
        connections.queue = threading.Lock()
        _process.members.add(connections)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _connected(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        _tell(error, path)
        raise


def _tell(error: sqlite3.DatabaseError, path: Path) -> None:
    """Raise an error of the contract where the database cannot be used by this user, or by nobody."""
    # What Python's module finds itself has no code.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        raise ResearchPacsError(
            f"{path} is damaged. Restore it from a backup; without one, ingest the folder {path.parent / 'archive'} "
            "into a new home: the instances are in its files, only what was kept beside them is lost"
        ) from error
    if code == sqlite3.SQLITE_FULL:
        raise DiskFullError(path) from error
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        raise AccessError(
            f"{path} cannot be opened for writing by this user; see who owns the folder and its files"
        ) from error


def _connect(path: Path) -> sqlite3.Connection:
    con = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    con.row_factory = sqlite3.Row
    _use_wal(con)
    con.execute("pragma synchronous = full")
    con.execute("pragma fullfsync = on")
    con.execute("pragma foreign_keys = on")
    return con


def _use_wal(con: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; SQLite does not wait by itself when another process does so at the same time."""
    give_up = time.monotonic() + BUSY_S
    while True:
        try:
            con.execute("pragma journal_mode = wal")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                con.close()
                raise
            time.sleep(0.01)
        else:
            return
