"""Keep the lake small: rows of many little commits into files, little files into larger ones, what is old away."""

import duckdb

from researchpacs.catalog._lake import NAME
from researchpacs.catalog._pins import pinned_snapshots

__all__ = ["current_snapshot", "tidy"]

_KEEP_S = 24 * 3600
"""How long a query that is running may still need what has been replaced."""

# Files beyond this size stay as they are: to take in a few rows, a large file would have to be written again.
_LARGEST_MERGED_BYTES = 32 << 20

_MERGE = (
    f"call ducklake_flush_inlined_data('{NAME}')",
    f"call ducklake_merge_adjacent_files('{NAME}', max_file_size => {_LARGEST_MERGED_BYTES})",
)
_OLD = f"""
select snapshot_id
from ducklake_snapshots('{NAME}')
where epoch(snapshot_time) <= epoch(now()) - ? and snapshot_id <> (select id from {NAME}.current_snapshot())
"""  # noqa: S608 - our names


def current_snapshot(con: duckdb.DuckDBPyConnection) -> int:
    """Number of the lake's newest snapshot; every commit makes one."""
    row = con.execute(f"select id from {NAME}.current_snapshot()").fetchone()  # noqa: S608
    return int(row[0]) if row else 0


def tidy(con: duckdb.DuckDBPyConnection, *, keep_s: int = _KEEP_S) -> None:
    """Do the housekeeping; no row changes, and what cohorts are pinned to can still be read.

    Parameters
    ----------
    con
        Nobody else's: its DuckDB works with one thread meanwhile.
    keep_s
        Seconds for which a snapshot that nothing is pinned to stays.
    """
    # Tables are flushed side by side, and what each has done goes into one list that ducklake 1.5.5 does not lock
    # (DuckLakeTransaction::MarkInlinedDataForDeletion): now and then the process dies of it.
    con.execute("set threads = 1")
    try:
        for step in _MERGE:
            con.execute(step)
    finally:
        con.execute("reset threads")
    pinned = set(pinned_snapshots(con))
    old = [int(row[0]) for row in con.execute(_OLD, [keep_s]).fetchall() if row[0] not in pinned]
    if old:
        con.execute(f"call ducklake_expire_snapshots('{NAME}', versions => {old})")
    con.execute(
        f"call ducklake_cleanup_old_files('{NAME}', older_than => now()::timestamp - interval {keep_s} seconds)"
    )
