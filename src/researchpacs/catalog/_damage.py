"""Damage of the lake's files: told from all other errors, looked for, and cleared away."""

import re
from collections.abc import Callable

import duckdb

from researchpacs.catalog._lake import NAME, Lake, attach
from researchpacs.errors import InvalidInputError, ResearchPacsError

__all__ = ["DamagedError", "attach_to_write", "is_sound", "lost_files", "may_be_damage"]

_DATABASE = re.compile(
    r"file is not a database|database disk image is malformed|relation \"[^\"]*ducklake_\w+\" does not exist"
)
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


def is_sound(con: duckdb.DuckDBPyConnection, lake: Lake) -> bool:
    """Read everything that the lake holds now; whether it can be read.

    Parameters
    ----------
    con
        With the lake attached.
    lake
        Which.
    """
    try:
        if lost_files(con, lake):
            return False
        for (table,) in con.execute(_TABLES).fetchall():
            con.execute(f'select count(hash(t)) from {NAME}.main."{table}" t').fetchall()  # noqa: S608 - our names
    except duckdb.Error as error:
        if may_be_damage(error):
            return False
        raise
    return True


def lost_files(con: duckdb.DuckDBPyConnection, lake: Lake) -> int:
    """Count the data files that are missing, or not as long as they were when they were written."""
    files = dict(
        file
        for (table,) in con.execute(_TABLES).fetchall()
        for file in con.execute(_FILES, {"table": table}).fetchall()
    )
    there = lake.sizes(con, files)
    return sum(there.get(path) != size for path, size in files.items())


def attach_to_write(con: duckdb.DuckDBPyConnection, lake: Lake, *, discard_broken: Callable[[], None] | None) -> None:
    """Attach a lake for writing.

    Parameters
    ----------
    con
        The engine.
    lake
        Which.
    discard_broken
        What lets go of a lake that cannot be opened, which is then removed; None keeps it.

    Raises
    ------
    DamagedError
        It is damaged, and was kept.
    RemoteError, AccessError
        Its place does not answer.
    ResearchPacsError
        It cannot be opened for another reason.
    """
    try:
        attach(con, lake, read_only=False)
    except duckdb.Error as error:
        if gone := lake.failure(error):
            raise gone from None
        if discard_broken is not None:
            discard_broken()
        if discard_broken is None or not lake.discard():
            raise (DamagedError if may_be_damage(error) else ResearchPacsError)(
                f"the catalog in {lake.shown} cannot be opened. It holds nothing that the archive does not: "
                "make it anew with sync(rebuild=True) or `researchpacs sync --rebuild`"
            ) from error
        attach(con, lake, read_only=False)
