"""Housekeeping of a lake beside the work: a thread of its own, one small chore at a time, when nobody is writing.

Between two chores the lock is free, so that a question that finds the catalog behind waits for one of them at most; no
reader waits for any. Every chore is a transaction: a process that ends in the middle of one leaves the lake as it was.
"""

import atexit
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from filelock import Timeout

from researchpacs.catalog._lake import Lake, attach, engine
from researchpacs.catalog._tidy import chores
from researchpacs.errors import ResearchPacsError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["Housekeeper"]

_log = logging.getLogger(__name__)

QUIET_S = 1.0
"""So long nothing was committed: a moment to begin."""
LATEST_S = 30.0
"""It begins by then, however busy this process is."""
PATIENCE_S = 10.0
"""How long a program that ends waits for it."""
PAUSE_S = 0.1
"""Between two chores: longer than others wait before they try the lock again."""


class Housekeeper:
    """Keeps the house of one lake, when it is asked to.

    Parameters
    ----------
    lake
        Which.
    one_writer
        Held by whoever writes in this process.
    spill
        Gives a folder for what DuckDB cannot keep in memory.
    """

    def __init__(self, lake: Lake, one_writer: "AbstractContextManager[object]", spill: Callable[[], Path]) -> None:
        self._lake = lake
        self._one_writer = one_writer
        self._spill = spill
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._con: duckdb.DuckDBPyConnection | None = None
        self._asked_at = 0.0
        self._ending = threading.Event()
        self._given_up = threading.Event()

    def ask(self) -> None:
        """Have it done soon; once, where it is on its way already."""
        with self._starting:
            self._asked_at = time.monotonic()
            if self._ending.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(target=self._keep_house, name="researchpacs-housekeeping", daemon=True)
            atexit.register(self.end)
            self._thread.start()

    def put_off(self) -> None:
        """Say that something was committed: this is no quiet moment."""
        self._asked_at = time.monotonic()

    def end(self) -> None:
        """Wait until what was asked for is done, which begins at once; interrupt it if that takes too long."""
        with self._starting:
            self._ending.set()
        thread = self._thread
        if thread is None:
            return
        thread.join(PATIENCE_S)
        self._given_up.set()
        while thread.is_alive():
            if (con := self._con) is not None:
                with suppress(duckdb.Error):  # it was closed at this very moment
                    con.interrupt()
            thread.join(PAUSE_S)

    # -- in the thread -------------------------------------------------------------------------------------------------

    def _keep_house(self) -> None:
        try:
            self._await_quiet()
            self._do_all()
        except (duckdb.Error, ResearchPacsError, OSError, RuntimeError) as error:
            # The rows are committed, and what is wrong with a file is told by the next question that reads it. As
            # RuntimeError DuckDB tells that it was interrupted.
            if not self._given_up.is_set():
                _log.warning(
                    "housekeeping of the catalog in %s stopped (%s); it is tried again after the next commits",
                    self._lake.shown,
                    type(error).__name__,
                )
        finally:
            atexit.unregister(self.end)

    def _await_quiet(self) -> None:
        latest = time.monotonic() + LATEST_S
        while (now := time.monotonic()) < latest and now < self._asked_at + QUIET_S:
            if self._ending.wait(min(latest, self._asked_at + QUIET_S) - now):
                return

    def _do_all(self) -> None:
        stamp = self._lake.stamp()
        con = self._con = engine(self._spill(), self._lake)
        try:
            if self._alone(stamp, lambda: attach(con, self._lake, read_only=False)):
                for chore in chores(con):
                    if not self._alone(stamp, chore):
                        return
                    self._ending.wait(PAUSE_S)
        finally:
            self._con = None
            con.close()

    def _alone(self, stamp: object, chore: Callable[[], None]) -> bool:
        """Do a chore when nobody else writes; False where this lake is gone by then, or time is up."""
        while not self._given_up.is_set():
            try:
                with self._one_writer, self._lake.lock(timeout=0):
                    if stamp is None or self._lake.stamp() != stamp:
                        return False
                    chore()
                    return True
            except Timeout:
                self._given_up.wait(PAUSE_S)
        return False
