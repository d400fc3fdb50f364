"""`Catalog`: the DuckDB projection of an archive, for one process; any number of processes may have it open."""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb
from filelock import FileLock, Timeout

from researchpacs.catalog import _damage
from researchpacs.catalog._call import as_bindable, may_stray, refuse_transactions
from researchpacs.catalog._damage import DamagedError, may_be_damage
from researchpacs.catalog._errors import telling_sql_errors
from researchpacs.catalog._features import FeatureTables
from researchpacs.catalog._lake import NAME, SCHEMA_VERSION, attach_statement, engine, open_reader
from researchpacs.catalog._past import Past
from researchpacs.catalog._pins import Pin, current_pin
from researchpacs.catalog._report import SyncReport
from researchpacs.catalog._result import Result
from researchpacs.catalog._schema import Schema, read_schema
from researchpacs.catalog._show import Persons
from researchpacs.errors import InvalidInputError, ResearchPacsError

if TYPE_CHECKING:
    import pandas as pd

    from researchpacs.archive import Archive
    from researchpacs.model import Frame
    from researchpacs.storage.home import Home

__all__ = ["Catalog"]

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)

_POLL_S = 0.05
_STATE = f"select feed_id, last_seq, schema_version from {NAME}.main.sync_state"  # noqa: S608


class Catalog:
    """Ask an archive in SQL.

    Whoever asks and finds the catalog behind the archive brings it up to date first, or waits for the process that is
    just doing it, so an answer has everything that was stored when the question was put.

    Parameters
    ----------
    home
        Where the catalog lies.
    archive
        What it describes.
    """

    def __init__(self, home: "Home", archive: "Archive") -> None:
        self._home = home
        self._archive = archive
        self._file_lock = FileLock(home.catalog_lock, thread_local=False)
        self._one_writer = threading.Lock()
        self._using = threading.RLock()
        self._con: duckdb.DuckDBPyConnection | None = None
        self._file: tuple[int, int] | None = None  # of metadata, that the reader has open
        self._writer: duckdb.DuckDBPyConnection | None = None
        self._reached: tuple[str, int] | None = None
        self._opening = threading.Lock()
        self._features = FeatureTables(home.features)
        self._scratch = ExitStack()
        self._workspace: Path | None = None
        self._closed = False
        self._pinned_by: int | None = None
        """The thread that is asking within `one_snapshot`."""
        self._astray = False
        self._mended = False
        self._suspect = False  # a file could not be read when nothing could be done about it
        self._persons = Persons()

    @property
    def has_labels(self) -> bool:
        """Whether the archive's labels can be asked for."""
        return "label-feed" in self._archive.capabilities

    @property
    def mended(self) -> bool:
        """Whether it was found damaged, and made anew, since it was opened here."""
        return self._mended

    @property
    def features(self) -> Path:
        """The folder of computed features; each Parquet file in it is a table ``features_<name>``."""
        return self._home.features

    # -- ask -----------------------------------------------------------------------------------------------------------

    def sql(self, query: str, /, **params: Any) -> Result:
        """Run SQL in this process's DuckDB, where the catalog is attached read-only and is the default.

        DataFrames of the caller are tables too, temporary tables last as long as the catalog is open.

        Parameters
        ----------
        query
            One or several statements.
        **params
            Values of ``$name`` in the query.

        Raises
        ------
        InvalidInputError
            DuckDB refuses the query, or it would write to the catalog.
        """
        if not isinstance(query, str):
            raise InvalidInputError("a query is a text, as in sql('select count(*) from series')")
        self.catch_up()
        bound = {name: as_bindable(value) for name, value in params.items()}
        con, relation = self._mending(lambda: self._relation(query, bound))
        touches_persons = self._persons.touched_by(query)
        return Result(relation, con, self._using, query=query, params=bound, touches_persons=touches_persons,
                      ask_again=lambda: self._relation_again(query, bound))  # fmt: skip

    def _relation(self, query: str, bound: dict[str, Any]) -> "tuple[Any, Any]":
        """The connection, and a relation on it that has read nothing yet; None for what answers nothing."""
        with self._using, telling_sql_errors(query, con := self._at_home()):
            refuse_transactions(query)
            self._astray = may_stray(query)
            self._features.show(con, query)
            return con, con.sql(query, params=bound) if bound else con.sql(query)

    def _relation_again(self, query: str, bound: dict[str, Any]) -> Any:
        self._mend()
        return self._relation(query, bound)[1]

    def sql_over(self, tables: Mapping[str, "pd.DataFrame"], query: str) -> list[tuple[Any, ...]]:
        """Run SQL over DataFrames under names of their own beside the catalog, and give all rows."""
        self.catch_up()
        return self._mending(lambda: self._rows_over(tables, query))

    def _rows_over(self, tables: Mapping[str, "pd.DataFrame"], query: str) -> list[tuple[Any, ...]]:
        with self._using, telling_sql_errors(query, con := self._at_home()):
            for name, table in tables.items():
                con.register(name, table)
            try:
                return con.execute(query).fetchall()
            finally:
                for name in tables:
                    con.unregister(name)

    @contextmanager
    def one_snapshot(self) -> Iterator[Pin]:
        """Let all that this thread asks see one snapshot, which has all that was in the archive at the beginning."""
        self.catch_up()
        with self._using:
            con = self._at_home()
            con.execute("begin")
            self._pinned_by = threading.get_ident()
            try:
                yield current_pin(con)
            except DamagedError:
                self._suspect = True
                raise
            finally:
                self._pinned_by = None
                # Views that were made meanwhile are gone with the transaction, so they are made again when asked for.
                self._features = FeatureTables(self._home.features)
                con.execute("rollback")

    def as_of(self, pin: Pin) -> Past:
        """The catalog as it was at a snapshot; its results keep what they need open.

        Raises
        ------
        NotFoundError
            The snapshot is not there any more.
        """
        self.catch_up()
        return Past(self._home, pin, self._spill())

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Open another DuckDB with the catalog attached read-only; the caller closes it."""
        self.catch_up()
        con = open_reader(self._home, self._spill())
        try:
            FeatureTables(self._home.features).show(con)
        except ResearchPacsError:
            con.close()
            raise
        return con

    def frames(self, series_uid: str) -> "list[Frame]":
        """All frames of a series, ready to be placed, found and decoded.

        Raises
        ------
        NotFoundError
            No such series.
        InvalidInputError
            Series of several patients or studies share the UID.
        """
        from researchpacs.catalog._frames import records_of

        self._refuse_closed()
        keeps_frames = "frames" in self._archive.capabilities
        if keeps_frames and (known := self._archive.frames(series_uid)) is not None:
            return known
        self.catch_up()
        found = self._mending(lambda: self._frames_of_series(series_uid))
        if keeps_frames and self._reached:
            self._archive.remember_frames(series_uid, records_of(found), self._reached[1])
        return [frame for frame, _ in found]

    def _frames_of_series(self, series_uid: str) -> "list[tuple[Frame, Any]]":
        from researchpacs.catalog._frames import frames_of_series

        with self._using, telling_sql_errors("frames", con := self._reader()):
            return frames_of_series(con, series_uid)

    def schema(self) -> Schema:
        """The tables and columns with their comments."""
        self.catch_up()
        with self._using:
            con = self._reader()
            self._features.show(con)
            return read_schema(con, self._features.columns(con))

    def attach_sql(self) -> str:
        """The statements with which another DuckDB client opens the catalog, read-only."""
        self.catch_up()
        return f"install ducklake; install sqlite;\n{attach_statement(self._home)};\nuse {NAME};"

    # -- follow the archive --------------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Return when the catalog has all that the archive has now."""
        self._refuse_closed()
        if self._pinned_by == threading.get_ident():
            return
        if self._suspect:
            self._mend()
        wanted = self._archive.last_change()
        while not self._has(wanted):
            try:
                with self._one_writer, self._file_lock.acquire(timeout=_POLL_S):
                    self._follow(rebuild=False)
            except Timeout:
                continue

    def sync(self, *, rebuild: bool = False) -> SyncReport:
        """Bring the catalog up to the archive, or make it anew; waits for another process that is doing so."""
        self._refuse_closed()
        with self._one_writer, self._file_lock:
            return self._follow(rebuild=rebuild)

    def close(self) -> None:
        """Close the connections for good; temporary tables are gone."""
        self._closed = True
        with self._one_writer:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        self._close_reader()
        with self._opening:
            self._scratch.close()
            self._workspace = None

    def _close_reader(self) -> None:
        with self._using:
            if self._con is not None:
                self._con.close()
                self._con = self._file = None

    def _has(self, wanted: tuple[str, int]) -> bool:
        """Whether the catalog has reached a change of the feed."""
        if not _reaches(self._reached, wanted):
            self._reached = self._state()
        return _reaches(self._reached, wanted)

    def _state(self) -> tuple[str, int] | None:
        """What the lake says it has reached; None where it is not made yet."""
        file = _damage.file_of(self._home.catalog_metadata)
        if file is None or self._file not in {None, file}:
            # Somebody took it away, or put another in its place; the one that is open will never follow again.
            self._close_reader()
        if file is None:
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
            raise DamagedError(f"a file of the catalog in {self._home.path} is missing or damaged; ask again") from None
        self._suspect = False
        with self._one_writer, self._file_lock:
            try:
                with self._using:
                    sound = _damage.is_sound(self._reader())
            except duckdb.Error:
                self._close_reader()
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
        _log.warning("the catalog in %s was lost or damaged; it is made anew from the archive", self._home.path)

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
            self._writer = engine(self._spill())
        con = self._writer
        try:
            _damage.attach_to_write(con, self._home, discard_broken=self._close_reader if rebuild else None)
            lost = _damage.forget_lost_lake(con, self._home)
            if lost:
                self._tell_damage()
            committer = Committer(con, self._archive)
            rebuild = committer.prepare() or rebuild
            last = committer.rebuild() if rebuild else committer.follow()
            con.execute(f"detach {NAME}")
        except BaseException as error:
            # Whatever state it was left in, the next sync starts afresh.
            self._writer = None
            con.close()
            if isinstance(error, duckdb.Error):
                kind = DamagedError if may_be_damage(error) else ResearchPacsError
                raise kind(
                    f"the catalog in {self._home.path} could not be written ({type(error).__name__}); the archive is "
                    "whole, and the next question tries again. Look for a full disk, else make the catalog anew with "
                    "`researchpacs sync --rebuild`"
                ) from error
            raise
        return SyncReport(committer.instances, committer.deleted, rebuild or lost, last, time.monotonic() - began)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise InvalidInputError(f"the archive in {self._home.path} was closed; connect() opens it again")

    def _at_home(self) -> duckdb.DuckDBPyConnection:
        """The reader with the catalog as its default again, whatever the last query made of it."""
        con = self._reader()
        if not self._astray:
            return con
        try:
            con.execute(f"use {NAME}")
        except duckdb.Error:
            con.close()
            self._con = None
        self._astray = False
        return self._reader()

    def _spill(self) -> Path:
        """A folder for what one DuckDB cannot keep in memory, gone with this catalog or, after a kill, soon after."""
        with self._opening:
            if self._workspace is None:
                self._workspace = self._scratch.enter_context(self._home.workspace())
        return self._workspace / secrets.token_hex(8)

    def _reader(self) -> duckdb.DuckDBPyConnection:
        if self._con is None:
            self._file = _damage.file_of(self._home.catalog_metadata)
            self._con = open_reader(self._home, self._spill())
        return self._con


def _reaches(reached: tuple[str, int] | None, wanted: tuple[str, int]) -> bool:
    return reached is not None and reached[0] == wanted[0] and reached[1] >= wanted[1]
