"""Keep the lake small: rows of many little commits into files, little files into larger ones, what is old away."""

from collections.abc import Callable, Iterator

import duckdb

from researchpacs.catalog._lake import NAME
from researchpacs.catalog._pins import pinned_snapshots

__all__ = ["chores", "committed_snapshot", "tidy"]

_KEEP_S = 24 * 3600
"""How long a query that is running may still need what has been replaced."""

# Files beyond this size stay as they are: to take in a few rows, a large file would have to be written again.
_LARGEST_MERGED_BYTES = 32 << 20

_FLUSH = f"call ducklake_flush_inlined_data('{NAME}')"
_IN_FILES = f"select table_name from ducklake_table_info('{NAME}') where file_count > 1 order by file_count"  # noqa: S608
_MERGE = f"call ducklake_merge_adjacent_files('{NAME}', ?, max_file_size => {_LARGEST_MERGED_BYTES})"
_OLD = f"""
select snapshot_id
from ducklake_snapshots('{NAME}')
where epoch(snapshot_time) <= epoch(now()) - ? and snapshot_id <> (select id from {NAME}.current_snapshot())
"""  # noqa: S608 - our names


def committed_snapshot(con: duckdb.DuckDBPyConnection) -> int:
    """Number of the snapshot that this connection's last commit made; every commit makes one."""
    row = con.execute(f"from ducklake_last_committed_snapshot('{NAME}')").fetchone()
    return int(row[0] or 0) if row else 0


def tidy(con: duckdb.DuckDBPyConnection, *, keep_s: int = _KEEP_S) -> None:
    """Do all the housekeeping; `chores` says what it leaves as it is."""
    for chore in chores(con, keep_s=keep_s):
        chore()


def chores(con: duckdb.DuckDBPyConnection, *, keep_s: int = _KEEP_S) -> Iterator[Callable[[], None]]:
    """Give the housekeeping in small pieces, each a transaction; no row changes, and cohorts' snapshots stay readable.

    Parameters
    ----------
    con
        Nobody else's: its DuckDB works with one thread from now on.
    keep_s
        Seconds for which a snapshot that nothing is pinned to stays.
    """
    # Tables are flushed side by side, and what each has done goes into one list that ducklake 1.5.5 does not lock
    # (DuckLakeTransaction::MarkInlinedDataForDeletion): now and then the process dies of it.
    con.execute("set threads = 1")
    yield lambda: _run(con, _FLUSH)
    for (table,) in con.execute(_IN_FILES).fetchall():
        yield lambda table=table: _run(con, _MERGE, table)  # type: ignore[misc]
    yield lambda: _expire(con, keep_s)
    cleanup = f"'{NAME}', older_than => now()::timestamp - interval {keep_s} seconds"
    yield lambda: _run(con, f"call ducklake_cleanup_old_files({cleanup})")


def _expire(con: duckdb.DuckDBPyConnection, keep_s: int) -> None:
    pinned = set(pinned_snapshots(con))
    old = [int(row[0]) for row in con.execute(_OLD, [keep_s]).fetchall() if row[0] not in pinned]
    if old:
        _run(con, f"call ducklake_expire_snapshots('{NAME}', versions => {old})")


def _run(con: duckdb.DuckDBPyConnection, statement: str, *values: str) -> None:
    con.execute(statement, list(values))
