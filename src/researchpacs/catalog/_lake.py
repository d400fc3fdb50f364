"""Open the lake: DuckDB with its extensions, attached to write by one process or to read by any number.

Only DuckDB opens ``catalog.sqlite``: Python's sqlite3 and DuckDB's extension do not see each other's locks.
"""

import importlib.util
import sys
from pathlib import Path

import duckdb

from researchpacs.errors import UnsupportedError
from researchpacs.storage.home import Home

__all__ = ["NAME", "SCHEMA_VERSION", "attach", "attach_statement", "engine", "open_reader"]

NAME = "pacs"
"""What the lake is called in SQL."""

SCHEMA_VERSION = 4
"""Raised with every change of a table; an older catalog is made anew, a newer one refused."""

_EXTENSIONS = ("ducklake", "sqlite_scanner")


def engine(spill: Path) -> duckdb.DuckDBPyConnection:
    """Start a DuckDB in memory that can attach lakes; it fetches nothing from the network by itself.

    Parameters
    ----------
    spill
        A folder of its own, made when a query is larger than memory; else DuckDB leaves rows in the working directory.

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
    if not _is_watched():
        # DuckDB takes every program without a file, as of `python -c`, for a terminal, and draws into what it writes.
        con.execute("set enable_progress_bar = false")
    for name in _EXTENSIONS:
        _load(con, name)
    return con


def attach(con: duckdb.DuckDBPyConnection, home: Home, *, read_only: bool, snapshot: int | None = None) -> None:
    """Attach a home's lake as `NAME`; as it was at a snapshot where one is given."""
    con.execute(attach_statement(home, read_only=read_only, snapshot=snapshot))


def open_reader(home: Home, spill: Path) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB whose default is a home's lake, read-only; DataFrames of its callers are tables."""
    con = engine(spill)
    try:
        attach(con, home, read_only=True)
        con.execute(f"use {NAME}")
        con.execute("set python_scan_all_frames = true")
        con.execute("set parquet_metadata_cache = true")
    except duckdb.Error:
        con.close()
        raise
    return con


def attach_statement(home: Home, *, read_only: bool = True, snapshot: int | None = None) -> str:
    """Write the statement that attaches a home's lake."""
    # DuckLake notes where the data lie relative to nothing, so a home that was moved is told anew.
    options = [f"data_path {_quoted(f'{home.catalog_data}/')}", "override_data_path true"]
    options += ["meta_journal_mode 'WAL'", "meta_busy_timeout 10000"]
    options += ["read_only"] if read_only else []
    options += [f"snapshot_version {int(snapshot)}"] if snapshot is not None else []
    return f"attach {_quoted(f'ducklake:sqlite:{home.catalog_metadata}')} as {NAME} ({', '.join(options)})"


def _is_watched() -> bool:
    """Whether what is written is looked at: on a terminal, in a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return (shell is not None and hasattr(shell, "kernel")) or (sys.stdout is not None and sys.stdout.isatty())


def _load(con: duckdb.DuckDBPyConnection, name: str) -> None:
    path = _packaged(name)
    try:
        if path is not None:
            con.execute(f"load {_quoted(str(path))}")
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


def _packaged(name: str) -> Path | None:
    """The extension's file in its PyPI package, signed and of this very version."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    return path if path.is_file() else None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
