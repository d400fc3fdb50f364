"""`Catalog`: the DuckDB projection of an archive, for one process; any number of processes may have it open."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from researchpacs.catalog._attached import Attached, Foreign, check_name
from researchpacs.catalog._call import as_bindable, may_stray, refuse_transactions
from researchpacs.catalog._damage import DamagedError
from researchpacs.catalog._errors import telling_sql_errors
from researchpacs.catalog._features import FeatureTables
from researchpacs.catalog._following import Following
from researchpacs.catalog._lake import NAME, open_reader
from researchpacs.catalog._past import Past
from researchpacs.catalog._pins import Pin, current_pin
from researchpacs.catalog._result import Result
from researchpacs.catalog._schema import Schema, read_schema
from researchpacs.catalog._show import Persons
from researchpacs.errors import InvalidInputError, ResearchPacsError

if TYPE_CHECKING:
    import pandas as pd

    from researchpacs.archive import Archive
    from researchpacs.config import CatalogPlace
    from researchpacs.model import Frame
    from researchpacs.storage.home import Home

__all__ = ["Catalog"]


class Catalog(Following):
    """Ask an archive in SQL.

    Whoever asks and finds the catalog behind the archive brings it up to date first, or waits for the process that is
    just doing it, so an answer has everything that was stored when the question was put.

    Parameters
    ----------
    home
        Of the archive; the catalog lies in it unless told otherwise.
    archive
        What it describes.
    place
        Where it lies, unless it is in the home.
    """

    row_place = ("filename", "file_row_number")
    """Columns of each table, left out by ``*``, that tell where a row lies, and lead to it at once."""

    def __init__(self, home: "Home", archive: "Archive", place: "CatalogPlace | None" = None) -> None:
        super().__init__(home, archive, place)
        self._features = FeatureTables(home.features)
        self._attached = Attached()
        self._astray = False
        self._persons = Persons()

    @property
    def has_labels(self) -> bool:
        """Whether the archive's labels can be asked for."""
        return "label-feed" in self._archive.capabilities

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
        self._attached.catch_up(query)
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
            self._attached.show(con, query, self._spill())
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
        return Past(self._lake, pin, self._spill())

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Open another DuckDB with the catalog attached read-only; the caller closes it."""
        self.catch_up()
        con = open_reader(self._lake, self._spill())
        try:
            FeatureTables(self._home.features).show(con)
        except ResearchPacsError:
            con.close()
            raise
        return con

    def attach(self, name: str, foreign: Foreign) -> None:
        """Put another catalog or an index beside this one, as the database `name` of queries.

        Raises
        ------
        InvalidInputError
            The name is none, is reserved or is taken; or what is attached cannot be read.
        """
        self.catch_up()
        foreign.catch_up()
        with self._using, telling_sql_errors(name, con := self._at_home()):
            check_name(con, name)
            self._attached.add(name, foreign)
            try:
                self._attached.show(con, name, self._spill())
            except BaseException:
                self._attached.remove(name)
                raise

    def detach(self, name: str) -> None:
        """Take away what was attached."""
        with self._using:
            self._attached.remove(name)

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
        return f"{self._lake.preamble()}\n{self._lake.statement()};\nuse {NAME};"

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
