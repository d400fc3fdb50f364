"""Keep the lake small: rows of many little commits into files, little files into larger ones, what is old away."""

import duckdb

from researchpacs.catalog._lake import NAME

__all__ = ["current_snapshot", "tidy"]

_KEEP = "interval 1 day"
"""How long a query that is running may still need what has been replaced."""

# Files beyond this size stay as they are: to take in a few rows, a large file would have to be written again.
_LARGEST_MERGED_BYTES = 32 << 20

_STEPS = (
    f"call ducklake_flush_inlined_data('{NAME}')",
    f"call ducklake_merge_adjacent_files('{NAME}', max_file_size => {_LARGEST_MERGED_BYTES})",
    f"call ducklake_expire_snapshots('{NAME}', older_than => now()::timestamp - {_KEEP})",
    f"call ducklake_cleanup_old_files('{NAME}', older_than => now()::timestamp - {_KEEP})",
)


def current_snapshot(con: duckdb.DuckDBPyConnection) -> int:
    """Number of the lake's newest snapshot; every commit makes one."""
    row = con.execute(f"select id from {NAME}.current_snapshot()").fetchone()  # noqa: S608
    return int(row[0]) if row else 0


def tidy(con: duckdb.DuckDBPyConnection) -> None:
    """Do the housekeeping; no row changes."""
    for step in _STEPS:
        con.execute(step)
