"""`Following`: the part of a catalog that follows the archive: reader, writer, lock, and what mends damage."""

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import duckdb
from filelock import Timeout

from researchpacs.catalog import _damage
from researchpacs.catalog._damage import DamagedError, may_be_damage
from researchpacs.catalog._ddl import found_state
from researchpacs.catalog._housekeeping import Housekeeper
from researchpacs.catalog._lake import NAME, SCHEMA_VERSION, Lake, engine, lake_of, no_room, open_reader
from researchpacs.catalog._report import SyncReport
from researchpacs.errors import InvalidInputError, ResearchPacsError, UnsupportedError
from researchpacs.storage.full import is_disk_full

if TYPE_CHECKING:
    from researchpacs.archive import Archive
    from researchpacs.config import CatalogPlace
    from researchpacs.storage.home import Home

__all__ = ["Following"]

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)

_POLL_S = 0.05
_STATE = f"select feed_id, last_seq, schema_version from {NAME}.main.sync_state"  # noqa: S608


class Following:
    """A lake that is brought up to its archive by whoever asks.

    Parameters
    ----------
    home
        Of the archive.
    archive
        What the lake describes.
    place
        Where it lies; None is in the home.
    more
        As of `Committer`: what waits for more to come before a commit.
    """

    def __init__(
        self,
        home: "Home",
        archive: "Archive",
        place: "CatalogPlace | None" = None,
        more: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self._home = home
        self._archive = archive
        self._more = more
        self._lake = lake_of(home, place, lambda: archive.last_change()[0])
        self._one_writer = threading.Lock()
        self._using = threading.RLock()
        self._con: duckdb.DuckDBPyConnection | None = None
        self._stamp: object | None = None  # of the metadata that the reader has open
        self._writer: duckdb.DuckDBPyConnection | None = None
        self._written: object | None = None  # stamp of the metadata that the writer has attached
        self._reached: tuple[str, int] | None = None
        self._opening = threading.Lock()
        self._scratch = ExitStack()
        self._workspace: Path | None = None
        self._housekeeper = Housekeeper(self._lake, self._one_writer, self._spill)
        self._closed = False
        self._process = os.getpid()
        self._pinned_by: int | None = None
        """The thread that is asking within one snapshot."""
        self._mended = False
        self._suspect = False  # a file could not be read when nothing could be done about it

    @property
    def mended(self) -> bool:
        """Whether it was found damaged, and made anew, since it was opened here."""
        return self._mended

    @property
    def home(self) -> "Home":
        """Of the archive."""
        return self._home

    @property
    def lake(self) -> Lake:
        """Where it lies."""
        return self._lake

    @property
    def place(self) -> str:
        """Where it lies, in words."""
        return self._lake.shown

    def catch_up(self) -> None:
        """Return when the catalog has all that the archive has now."""
        self._refuse_closed()
        self._refuse_forked()
        if self._pinned_by == threading.get_ident():
            return
        if self._suspect:
            self._mend()
        wanted = self._archive.last_change()
        while not self._has(wanted):
            try:
                with self._one_writer, self._lake.lock(timeout=_POLL_S):
                    self._follow(rebuild=False)
            except Timeout:
                continue

    def sync(self, *, rebuild: bool = False) -> SyncReport:
        """Bring the catalog up to the archive, or make it anew; waits for another process that is doing so."""
        self._refuse_closed()
        self._refuse_forked()
        with self._one_writer, self._lake.lock():
            return self._follow(rebuild=rebuild)

    def lost_files(self) -> int:
        """How many of its data files are not there as they were written."""
        self.catch_up()
        con = open_reader(self._lake, self._spill())
        try:
            return _damage.lost_files(con, self._lake)
        finally:
            con.close()

    def close(self) -> None:
        """Close the connections for good; temporary tables are gone."""
        self._closed = True
        if os.getpid() != self._process:
            return  # nothing of it can be closed here
        self._housekeeper.end()
        with self._one_writer:
            if self._writer is not None:
                self._writer.close()
                self._writer = self._written = None
        self._close_reader()
        self._lake.close()
        with self._opening:
            self._scratch.close()
            self._workspace = None

    def _close_reader(self) -> None:
        with self._using:
            if self._con is not None:
                self._con.close()
                self._con = self._stamp = None

    def _has(self, wanted: tuple[str, int]) -> bool:
        """Whether the catalog has reached a change of the feed."""
        if not _reaches(self._reached, wanted):
            self._reached = self._state()
        return _reaches(self._reached, wanted)

    def _state(self) -> tuple[str, int] | None:
        """What the lake says it has reached; None where it is not made yet."""
        stamp = self._lake.stamp()
        if stamp is None or self._stamp not in {None, stamp}:
            # Somebody took it away, or put another in its place; the one that is open will never follow again.
            self._close_reader()
        if stamp is None:
            return None
        try:
            with self._using:
                row = self._reader().execute(_STATE).fetchone()
        except duckdb.Error:
            # Half-way through being made by another process, or not to be read; whoever has the lock will know.
            self._close_reader()
            return None
        # A catalog of another version has not reached anything; the committer refuses it or makes it anew.
        return (str(row[0]), int(row[1])) if row and row[2] == SCHEMA_VERSION else None

    def _mend(self) -> None:
        """Make the catalog anew, unless all that it holds can be read: another process may have been here."""
        if self._pinned_by == threading.get_ident():
            raise DamagedError(f"a file of the catalog in {self.place} is missing or damaged; ask again") from None
        self._suspect = False
        with self._one_writer, self._lake.lock():
            try:
                with self._using:
                    sound = _damage.is_sound(self._reader(), self._lake)
            except duckdb.Error as error:
                self._close_reader()
                if gone := self._lake.failure(error):
                    raise gone from None
                sound = False
            if not sound:
                self._tell_damage()
                self._follow(rebuild=True)

    def _mending(self, ask: Callable[[], Answer]) -> Answer:
        """Ask; once more where the catalog had to be made anew for it."""
        try:
            return ask()
        except DamagedError:
            self._mend()
            return ask()

    def _tell_damage(self) -> None:
        self._mended = True
        _log.warning("the catalog in %s was lost or damaged; it is made anew from the archive", self.place)

    def _follow(self, *, rebuild: bool) -> SyncReport:
        """Bring it up, or make it anew, also where it is found damaged; the lock is held."""
        try:
            return self._followed(rebuild=rebuild)
        except DamagedError:
            if rebuild:
                raise
            self._tell_damage()
            return self._followed(rebuild=True)

    def _followed(self, *, rebuild: bool) -> SyncReport:
        from researchpacs.catalog._committer import Committer

        began = time.monotonic()
        if self._writer is None:
            self._writer = engine(self._spill(), self._lake)
        con = self._writer
        try:
            self._attach_to_write(con, anew=rebuild)
            state = found_state(con)
            lost = state is None and self._lake.sweep(con)
            if lost:
                self._tell_damage()
            committer = Committer(con, self._archive, self._more)
            rebuild = committer.prepare(state) or rebuild
            last = committer.rebuild() if rebuild else committer.follow()
            if not self._lake.stays_attached:
                con.execute(f"detach {NAME}")
                self._written = None
            self._housekeeper.put_off()
            if committer.untidy:
                self._housekeeper.ask()
        except BaseException as error:
            # Whatever state it was left in, the next sync starts afresh.
            self._writer = self._written = None
            con.close()
            if isinstance(error, duckdb.Error):
                if gone := self._lake.failure(error):
                    raise gone from None
                kind = DamagedError if may_be_damage(error) else ResearchPacsError
                raise kind(
                    f"the catalog in {self.place} could not be written ({type(error).__name__}); the archive is "
                    "whole, and the next question tries again. Else make the catalog anew with `researchpacs sync "
                    "--rebuild`"
                ) from error
            if is_disk_full(error):
                raise no_room(self.place) from error
            raise
        return SyncReport(committer.instances, committer.deleted, rebuild or lost, last, time.monotonic() - began)

    def _attach_to_write(self, con: duckdb.DuckDBPyConnection, *, anew: bool) -> None:
        """Attach the lake, unless it still is from the last time: to read what tables there are takes a while."""
        if self._written is not None:
            if self._written == self._lake.stamp() and not anew:
                return
            con.execute(f"detach {NAME}")
        _damage.attach_to_write(con, self._lake, discard_broken=self._close_reader if anew else None)
        self._written = self._lake.stamp()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise InvalidInputError(f"the archive in {self._home.path} was closed; connect() opens it again")

    def _refuse_forked(self) -> None:
        if os.getpid() != self._process:
            # DuckDB's threads are not here, and whoever waits for one of them waits for ever.
            raise UnsupportedError(
                "this process was forked from one that has the archive open, and cannot ask what it inherited: "
                "connect() to the archive in it, or start it with 'spawn' or 'forkserver'"
            )

    def _spill(self) -> Path:
        """A folder for what one DuckDB cannot keep in memory, gone with this catalog or, after a kill, soon after."""
        with self._opening:
            if self._workspace is None:
                self._workspace = self._scratch.enter_context(self._home.workspace())
        return self._workspace / secrets.token_hex(8)

    def _reader(self) -> duckdb.DuckDBPyConnection:
        if self._con is None:
            self._stamp = self._lake.stamp()
            self._con = open_reader(self._lake, self._spill())
        return self._con


def _reaches(reached: tuple[str, int] | None, wanted: tuple[str, int]) -> bool:
    return reached is not None and reached[0] == wanted[0] and reached[1] >= wanted[1]
