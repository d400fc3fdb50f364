"""`Index`: a Parquet file in the shape of public indexes, one row a series, columns named by DICOM keywords.

Whoever made the file chose its columns' names and contents: names are quoted, contents only ever read.
"""

import glob
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb

from researchpacs.catalog._call import as_bindable
from researchpacs.catalog._errors import telling_sql_errors
from researchpacs.catalog._lake import load, quoted
from researchpacs.catalog._result import Result
from researchpacs.catalog._tables import column_types
from researchpacs.errors import InvalidInputError, NotFoundError

__all__ = ["Index", "web"]

NEEDED = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")
_URL = re.compile(r"(https?|s3)://[^\s*?@\[\]'\"]+\.parquet", re.IGNORECASE)
_LEVELS = ("series", "studies", "patients")
_RENAMED = {"instancecount": "instance_count"}
_MOST_COLUMNS = 2000
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


class Index:
    """An index that can be attached, and searched by itself.

    Parameters
    ----------
    where
        A path, or an http(s) or s3 address, that ends in ``.parquet``.
    endpoint
        Of the S3-compatible store that s3 addresses mean; Amazon's unless given.

    Raises
    ------
    NotFoundError
        It is not there.
    InvalidInputError
        It is no Parquet file, lacks a column it needs, or has not one row a series.
    """

    has_labels = False
    row_place: tuple[str, ...] = ()
    """Nothing tells the place of a row, as `Catalog.row_place` does."""

    def __init__(self, where: str, endpoint: str | None = None) -> None:
        if "://" in where and not _URL.fullmatch(where):
            raise InvalidInputError("an index is at http(s)://... or s3://..., without user and query, to .parquet")
        self._where = where if _URL.fullmatch(where) else str(Path(where).expanduser().absolute())
        self._endpoint = endpoint
        self._lock = threading.RLock()
        self._read: object | None = None
        """The stamp of what was read."""
        self._columns: dict[str, tuple[str, bool]] = {}
        self._con = duckdb.connect(":memory:", config=_CONFIG)
        try:
            self.prepare(self._con, "")
            self.catch_up()
        except BaseException:
            self._con.close()
            raise

    @property
    def where(self) -> str:
        """The path or address."""
        return self._where

    @property
    def is_remote(self) -> bool:
        """Whether it lies elsewhere."""
        return _URL.fullmatch(self._where) is not None

    @property
    def columns(self) -> frozenset[str]:
        """The columns that can be searched, spelt as the catalog spells them."""
        return frozenset(name for name, (_, typed) in self._columns.items() if typed)

    def sql(self, query: str, /, **params: Any) -> Result:
        """Ask the index by itself; its rows are the table ``series``."""
        self.catch_up()
        bound = {name: as_bindable(value) for name, value in params.items()}
        with self._lock, telling_sql_errors(query, self._con):
            relation = self._con.sql(query, params=bound) if bound else self._con.sql(query)
        return Result(relation, self._con, self._lock, query=query, params=bound, touches_persons=True)

    def close(self) -> None:
        """Close it."""
        self._con.close()

    # -- attached ------------------------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """See that the file is there, and what it has now."""
        if not self.is_remote and not Path(self._where).is_file():
            raise NotFoundError(f"there is no file {self._where}; if it was attached, detach() it")
        with self._lock:
            stamp = self.stamp()
            if stamp != self._read:
                self._columns = self._read_columns()
                self._check_rows()
                for level in _LEVELS:
                    self._con.execute(f"create or replace view {level} as {self._whole(level)}")
                self._read = stamp

    def stamp(self) -> object:
        """What tells the file from another of its name."""
        if self.is_remote:
            return self._where
        stat = Path(self._where).stat()
        return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size

    def prepare(self, con: duckdb.DuckDBPyConnection, alias: str) -> None:
        """Let a connection read it."""
        if self.is_remote:
            web(con, self._endpoint, scope=self._where)

    def views(self, alias: str) -> Iterator[tuple[str, str]]:
        """Its rows, as the table that an archive has and as the view that is called like an index."""
        chosen = ", ".join(f"{expression} as {_name(name)}" for name, (expression, _) in self._columns.items())
        for view in ("series", "series_index"):
            yield view, f"select {chosen} from {self._source}"  # noqa: S608 - names are quoted

    # -- behind --------------------------------------------------------------------------------------------------------

    @property
    def _source(self) -> str:
        return f"read_parquet({quoted(self._where if self.is_remote else glob.escape(self._where))})"

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with telling_sql_errors("", self._con):
                yield
        except InvalidInputError as error:
            raise InvalidInputError(f"{self._where} cannot be read as Parquet: {error}") from None

    def _read_columns(self) -> dict[str, tuple[str, bool]]:
        """Expression by name as the catalog spells it, and whether it has the catalog's type."""
        with self._reading():
            found = self._con.execute(f"describe select * from {self._source}").fetchall()  # noqa: S608 - quoted
        kinds = {str(row[0]): str(row[1]) for row in found}
        spelt = {name.lower(): name for level in _LEVELS for name in column_types(level)}
        missing = [name for name in NEEDED if name.lower() not in {one.lower() for one in kinds}]
        if missing or len(kinds) > _MOST_COLUMNS:
            what = f"has no {', '.join(missing)}" if missing else f"has more than {_MOST_COLUMNS} columns"
            raise InvalidInputError(f"{self._where} {what}; an index has a row a series with columns like Modality")
        texts = {name.lower(): kind for name, kind in kinds.items()}
        if any(texts[name.lower()] != "VARCHAR" for name in NEEDED):
            raise InvalidInputError(f"{self._where} has UIDs, identifiers or modalities that are no texts")
        wanted = {level: column_types(level) for level in _LEVELS}
        columns = {}
        for raw in kinds:
            name = spelt.get(_RENAMED.get(raw.lower(), raw.lower()), raw)
            kind = next((types[name] for types in wanted.values() if name in types), None)
            cast = _cast(_name(raw), kind) if kind else _name(raw)
            fits = kind is not None and not kind.startswith("STRUCT") and self._fits(_name(raw), cast)
            columns[name] = (cast if fits else _name(raw), fits)
        return columns

    def _fits(self, raw: str, cast: str) -> bool:
        """Whether every value becomes one of the catalog's type."""
        ask = f"select count(*) from {self._source} where {raw} is not null and {cast} is null"  # noqa: S608 - quoted
        try:
            ((lost,),) = self._con.execute(ask).fetchall()
        except (duckdb.BinderException, duckdb.ConversionException):
            return False
        return bool(lost == 0)

    def _check_rows(self) -> None:
        uid = self._columns["SeriesInstanceUID"][0]
        ask = f"select count(*), count({uid}), count(distinct {uid}) from {self._source}"  # noqa: S608 - quoted
        with self._reading():
            ((rows, known, distinct),) = self._con.execute(ask).fetchall()
        if not rows == known == distinct:
            raise InvalidInputError(f"{self._where} has {rows} rows of {distinct} series; an index has one a series")

    def _whole(self, level: str) -> str:
        """A query with every column that a search may ask a table for; what the index does not have is NULL."""
        own = {name: expression for name, (expression, _) in self._columns.items()}
        own.setdefault("patient_key", f"coalesce({own['PatientID']}, '')")
        absent = {name: kind for name, kind in column_types(level).items() if name not in own}
        chosen = [f"{expression} as {_name(name)}" for name, expression in own.items()]
        chosen += [f"null::{kind} as {_name(name)}" for name, kind in absent.items()]
        return f"select {', '.join(chosen)} from {self._source}"  # noqa: S608 - quoted


def web(con: duckdb.DuckDBPyConnection, endpoint: str | None, *, scope: str = "s3://") -> None:
    """Let a connection read http(s) and s3 addresses; of s3 with the keys of the environment, where there are any.

    Parameters
    ----------
    con
        The connection.
    endpoint
        Of the store that s3 addresses mean; Amazon's unless given, or told by the environment.
    scope
        The beginning of the addresses that are there: those of another index may be in another store.
    """
    from researchpacs.config import store_options

    load(con, "httpfs")
    if scope.lower().startswith("s3://"):
        given = {"scope": scope} | store_options(endpoint)
        options = ", ".join(f"{name} {quoted(value)}" for name, value in given.items())
        name = f"researchpacs_web_{sha256(scope.encode()).hexdigest()[:16]}"
        con.execute(f"create or replace temporary secret {name} (type s3, {options})")


def _cast(raw: str, kind: str) -> str:
    if kind == "DATE":
        return f"coalesce(try_cast({raw} as date), try_cast(try_strptime({raw}::varchar, '%Y%m%d') as date))"
    return f"try_cast({raw} as {kind})"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
