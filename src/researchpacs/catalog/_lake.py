"""Open the lake: DuckDB with its extensions, attached to write by one process or to read by any number.

A lake lies in the home, or outside of it where the settings say so; here is the form in the home. Only DuckDB opens
``catalog.sqlite``: Python's sqlite3 and DuckDB's extension do not see each other's locks.
"""

import importlib.util
import re
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import duckdb
from filelock import FileLock

from researchpacs.errors import ResearchPacsError, UnsupportedError
from researchpacs.storage.home import Home

if TYPE_CHECKING:
    from researchpacs.config import CatalogPlace

__all__ = [
    "NAME",
    "SCHEMA_VERSION",
    "HomeLake",
    "Lake",
    "attach",
    "engine",
    "lake_of",
    "load",
    "no_room",
    "open_reader",
    "quoted",
]

NAME = "pacs"
"""What the lake is called in SQL."""

SCHEMA_VERSION = 5
"""Raised with every change of a table; an older catalog is made anew, a newer one refused."""


_FULL = re.compile(r"disk is full|no space left", re.IGNORECASE)
_LEAST_FREE_BYTES = 1 << 20


class Lake(Protocol):
    """Where one archive's catalog lies."""

    @property
    def extensions(self) -> tuple[str, ...]:
        """Of DuckDB, that it needs."""
        ...

    @property
    def stays_attached(self) -> bool:
        """Whether a connection that had it attached once can be relied on later."""
        ...

    @property
    def shown(self) -> str:
        """Where it lies, in words; without credentials."""
        ...

    def prepare(self, con: duckdb.DuckDBPyConnection) -> None:
        """Tell a connection what it has to know before it attaches the lake."""
        ...

    def statement(self, *, name: str = NAME, read_only: bool = True, snapshot: int | None = None) -> str:
        """Write the statement that attaches the lake."""
        ...

    def preamble(self) -> str:
        """What another DuckDB client has to do before the statement."""
        ...

    def stamp(self) -> object | None:
        """What tells its metadata from others that were put in their place; None where there are none."""
        ...

    def lock(self, timeout: float | None = None) -> AbstractContextManager[object]:
        """Be the only writer; `filelock.Timeout` where another process is, and was for `timeout` seconds."""
        ...

    def discard(self) -> bool:
        """Throw metadata away that cannot be opened; False where that is not for a program to do."""
        ...

    def sweep(self, con: duckdb.DuckDBPyConnection) -> bool:
        """Remove the data files beside a lake without tables, attached for writing; whether there were any."""
        ...

    def sizes(self, con: duckdb.DuckDBPyConnection, files: Collection[str]) -> Mapping[str, int]:
        """Bytes of those of its data files that are there."""
        ...

    def failure(self, error: duckdb.Error) -> ResearchPacsError | None:
        """What an error says of the place, such as that it does not answer; None where it is about something else."""
        ...

    def close(self) -> None:
        """Give back what it holds open."""
        ...


class HomeLake:
    """The lake in a home: SQLite and a folder of Parquet files.

    Parameters
    ----------
    home
        The home.
    """

    extensions = ("ducklake", "sqlite_scanner")
    stays_attached = True

    def __init__(self, home: Home) -> None:
        self._home = home
        self._file_lock = FileLock(home.catalog_lock, thread_local=False)

    @property
    def shown(self) -> str:
        """The folder of the home."""
        return str(self._home.path)

    def prepare(self, con: duckdb.DuckDBPyConnection) -> None:
        """Nothing: there are no credentials."""

    def statement(self, *, name: str = NAME, read_only: bool = True, snapshot: int | None = None) -> str:
        """Write the statement that attaches the lake."""
        # DuckLake notes where the data lie relative to nothing, so a home that was moved is told anew.
        options = [f"data_path {quoted(f'{self._home.catalog_data}/')}", "override_data_path true"]
        options += ["meta_journal_mode 'WAL'", "meta_busy_timeout 10000"]
        options += ["read_only"] if read_only else []
        options += [f"snapshot_version {int(snapshot)}"] if snapshot is not None else []
        return f"attach {quoted(f'ducklake:sqlite:{self._home.catalog_metadata}')} as {name} ({', '.join(options)})"

    def preamble(self) -> str:
        """The extensions it needs."""
        return "install ducklake; install sqlite;"

    def stamp(self) -> object | None:
        """Device and number of the file."""
        try:
            found = self._home.catalog_metadata.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    @contextmanager
    def lock(self, timeout: float | None = None) -> Iterator[None]:
        """Be the only writer, by a lock on a file."""
        with self._file_lock.acquire(timeout=-1 if timeout is None else timeout):
            yield

    def discard(self) -> bool:
        """Remove the database and the files, unless something else than a file stands there."""
        if not self._home.catalog_metadata.is_file():
            return False
        for path in self._home.path.glob(f"{self._home.catalog_metadata.name}*"):
            path.unlink()
        self._clear()
        return True

    def sweep(self, con: duckdb.DuckDBPyConnection) -> bool:
        """Empty the folder; whether there were any."""
        if not any(self._home.catalog_data.rglob("*.parquet")):
            return False
        self._clear()
        return True

    def _clear(self) -> None:
        if self._home.catalog_data.exists():
            shutil.rmtree(self._home.catalog_data)
        self._home.catalog_data.mkdir()

    def sizes(self, con: duckdb.DuckDBPyConnection, files: Collection[str]) -> Mapping[str, int]:
        """Bytes of those of its data files that are there."""
        found = {}
        for file in files:
            with suppress(OSError):
                found[file] = Path(file).stat().st_size
        return found

    def failure(self, error: duckdb.Error) -> ResearchPacsError | None:
        """That the disk is full: else a folder always answers."""
        text = str(error)
        # SQLite calls it an I/O error where the file beside its log cannot grow.
        free = shutil.disk_usage(self._home.path).free if "disk I/O" in text else _LEAST_FREE_BYTES
        return no_room(self.shown) if _FULL.search(text) or free < _LEAST_FREE_BYTES else None

    def close(self) -> None:
        """Nothing is held open."""


def no_room(shown: str) -> ResearchPacsError:
    """The error of a full disk."""
    return ResearchPacsError(
        f"no space is left on the disk of the catalog in {shown}. The archive is whole: make room, and the next "
        "question brings the catalog up to it"
    )


def lake_of(home: Home, place: "CatalogPlace | None", feed_id: Callable[[], str]) -> Lake:
    """Say where the catalog of an archive lies.

    Parameters
    ----------
    home
        Of the archive.
    place
        Outside of the home; None is in it.
    feed_id
        Gives the id of the archive's change feed.
    """
    if place is None:
        return HomeLake(home)
    from researchpacs.catalog._shared import SharedLake

    return SharedLake(home, place, feed_id)


def engine(spill: Path, lake: Lake) -> duckdb.DuckDBPyConnection:
    """Start a DuckDB in memory that can attach a lake; it fetches nothing from the network by itself.

    Parameters
    ----------
    spill
        A folder of its own, made when a query is larger than memory; else DuckDB leaves rows in the working directory.
    lake
        What it will attach.

    Raises
    ------
    UnsupportedError
        An extension is neither installed from PyPI nor to be had from DuckDB's server.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": str(spill),
    }
    con = duckdb.connect(":memory:", config=config)
    try:
        if not _is_watched():
            # DuckDB takes every program without a file, as of `python -c`, for a terminal, and draws into its output.
            con.execute("set enable_progress_bar = false")
        for name in lake.extensions:
            load(con, name)
        lake.prepare(con)
    except BaseException:
        con.close()
        raise
    return con


def attach(con: duckdb.DuckDBPyConnection, lake: Lake, *, read_only: bool, snapshot: int | None = None) -> None:
    """Attach a lake as `NAME`; as it was at a snapshot where one is given."""
    con.execute(lake.statement(read_only=read_only, snapshot=snapshot))


def open_reader(lake: Lake, spill: Path) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB whose default is a lake, read-only; DataFrames of its callers are tables."""
    con = engine(spill, lake)
    try:
        attach(con, lake, read_only=True)
        con.execute(f"use {NAME}")
        con.execute("set python_scan_all_frames = true")
        con.execute("set parquet_metadata_cache = true")
        # As many as a search shows on a page: they are found by a few columns before the others are unpacked.
        con.execute("set late_materialization_max_rows = 1000")
    except duckdb.Error:
        con.close()
        raise
    return con


def load(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load one of DuckDB's extensions.

    Raises
    ------
    UnsupportedError
        It is not to be had.
    """
    path = _packaged(name)
    try:
        if path is not None:
            con.execute(f"load {quoted(str(path))}")
        else:
            con.execute(f"install {name}")
            con.execute(f"load {name}")
    except duckdb.Error as error:
        package = f"duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}"
        raise UnsupportedError(
            f"DuckDB {duckdb.__version__} cannot load its extension {name!r}. Install it with: pip install {package}; "
            f"where that wheel does not exist, connect this machine to the internet once, or run "
            f'"install {name}" in DuckDB on one that is.'
        ) from error


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _packaged(name: str) -> Path | None:
    """The extension's file in its PyPI package, signed and of this very version."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    return path if path.is_file() else None


def _is_watched() -> bool:
    """Whether what is written is looked at: on a terminal, in a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return (shell is not None and hasattr(shell, "kernel")) or (sys.stdout is not None and sys.stdout.isatty())
