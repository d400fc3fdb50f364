"""Damage of the lake's files: told from all other errors, looked for, and cleared away."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb

from researchpacs.catalog._ddl import found_version
from researchpacs.catalog._lake import NAME, attach
from researchpacs.errors import InvalidInputError, ResearchPacsError
from researchpacs.storage.home import Home

__all__ = ["DamagedError", "attach_to_write", "file_of", "forget_lost_lake", "is_sound", "lost_files", "may_be_damage"]

_DATABASE = re.compile(r"file is not a database|database disk image is malformed")
_DATA_FILE = re.compile(r"\bducklake-[\w-]+\.parquet")
_INSIDE = re.compile(r"decompress|corrupt", re.IGNORECASE)
_ELSEWHERE = re.compile(r"locked|busy|readonly|read-only|unable to open|disk I/O|is full|no space", re.IGNORECASE)
_WHERE = (duckdb.IOException, duckdb.InvalidInputException)
_TABLES = f"select table_name from duckdb_tables() where database_name = '{NAME}'"  # noqa: S608 - our name
_FILES = f"""
select data_file, data_file_size_bytes from ducklake_list_files('{NAME}', $table)
union all
select delete_file, delete_file_size_bytes from ducklake_list_files('{NAME}', $table) where delete_file is not null
"""  # noqa: S608 - our name


class DamagedError(InvalidInputError):
    """A file cannot be read: the user's own, or one of the catalog, which can be made anew from the archive."""


def may_be_damage(error: duckdb.Error) -> bool:
    """Whether an error may come from a damaged file of the lake; a file of the user's own gives the same."""
    text = str(error)
    if type(error) is duckdb.Error:
        # What libraries below DuckDB say where the inside of a file makes no sense comes without a class of its own.
        return _ELSEWHERE.search(text) is None
    if not isinstance(error, _WHERE):
        return False
    return any(pattern.search(text) for pattern in (_DATABASE, _DATA_FILE, _INSIDE))


def is_sound(con: duckdb.DuckDBPyConnection) -> bool:
    """Read everything that the lake holds now; whether it can be read.

    Parameters
    ----------
    con
        With the lake attached.
    """
    try:
        if lost_files(con):
            return False
        for (table,) in con.execute(_TABLES).fetchall():
            con.execute(f'select count(hash(t)) from {NAME}.main."{table}" t').fetchall()  # noqa: S608 - our names
    except duckdb.Error as error:
        if may_be_damage(error):
            return False
        raise
    return True


def lost_files(con: duckdb.DuckDBPyConnection) -> int:
    """Count the data files on disk that are missing, or not as long as they were when they were written."""
    files = [
        file
        for (table,) in con.execute(_TABLES).fetchall()
        for file in con.execute(_FILES, {"table": table}).fetchall()
        if "://" not in file[0]
    ]
    return sum(_size_of(Path(path)) != size for path, size in files)


def attach_to_write(con: duckdb.DuckDBPyConnection, home: Home, *, discard_broken: Callable[[], None] | None) -> None:
    """Attach a home's lake for writing.

    Parameters
    ----------
    con
        The engine.
    home
        Whose lake.
    discard_broken
        What lets go of a lake that cannot be opened, which is then removed; None keeps it.

    Raises
    ------
    DamagedError
        It is damaged, and was kept.
    ResearchPacsError
        It cannot be opened for another reason.
    """
    try:
        attach(con, home, read_only=False)
    except duckdb.Error as error:
        if discard_broken is None or not home.catalog_metadata.is_file():
            raise (DamagedError if may_be_damage(error) else ResearchPacsError)(
                f"the catalog in {home.path} cannot be opened. It holds nothing that the archive does not: "
                "make it anew with sync(rebuild=True) or `researchpacs sync --rebuild`"
            ) from error
        discard_broken()
        for path in home.path.glob(f"{home.catalog_metadata.name}*"):
            path.unlink()
        _clear(home.catalog_data)
        attach(con, home, read_only=False)


def forget_lost_lake(con: duckdb.DuckDBPyConnection, home: Home) -> bool:
    """Remove the data files beside a lake that has no tables: its metadata were lost; whether there were any."""
    if found_version(con) is not None or not any(home.catalog_data.rglob("*.parquet")):
        return False
    _clear(home.catalog_data)
    return True


def file_of(path: Path) -> tuple[int, int] | None:
    """What tells a file from another of the same name; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
