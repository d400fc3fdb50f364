"""Snapshots of the lake by number and time, and those that cohorts are pinned to, which never expire.

A number alone would be taken for another one's: a lake that is made anew after its loss counts from the beginning.
"""

from datetime import datetime
from typing import NamedTuple

import duckdb

from researchpacs.catalog._lake import NAME

__all__ = ["Pin", "current_pin", "is_there", "pinned_snapshots"]

# Without ICU's time zones: a TIMESTAMPTZ as it stands, in UTC.
_AT = "make_timestamp(epoch_us(snapshot_time))"
_SNAPSHOTS = f"select snapshot_id, {_AT} as snapshot_at from ducklake_snapshots('{NAME}')"  # noqa: S608 - our names
_CURRENT = f"from ({_SNAPSHOTS}) where snapshot_id = (select id from {NAME}.current_snapshot())"  # noqa: S608
_PINNED = f"""
select distinct s.snapshot_id
from ({_SNAPSHOTS}) s
join {NAME}.main.cohorts c on s.snapshot_id = c.snapshot and s.snapshot_at = c.snapshot_at
order by all
"""  # noqa: S608


class Pin(NamedTuple):
    """A snapshot of the lake."""

    snapshot: int
    at: str
    """When it was made: UTC, ISO 8601."""


def current_pin(con: duckdb.DuckDBPyConnection) -> Pin:
    """The newest snapshot, or the one that the transaction of this connection sees."""
    row = con.execute(_CURRENT).fetchone()
    assert row is not None, "a lake has a snapshot from the beginning"
    return Pin(int(row[0]), _iso(row[1]))


def is_there(con: duckdb.DuckDBPyConnection, pin: Pin) -> bool:
    """Whether the lake still has a snapshot."""
    row = con.execute(f"select snapshot_at from ({_SNAPSHOTS}) where snapshot_id = ?", [pin.snapshot]).fetchone()  # noqa: S608
    return row is not None and _iso(row[0]) == pin.at


def pinned_snapshots(con: duckdb.DuckDBPyConnection) -> list[int]:
    """The snapshots that cohorts are pinned to, in order: whoever expires snapshots leaves them."""
    return [int(row[0]) for row in con.execute(_PINNED).fetchall()]


def _iso(at: datetime) -> str:
    return f"{at.isoformat(timespec='microseconds')}Z"
