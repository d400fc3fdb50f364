"""The number of the next change of an archive's feed."""

import sqlite3

__all__ = ["next_change"]


def next_change(con: sqlite3.Connection) -> int:
    """Take it, so that whoever follows the feed finds itself behind; to be called inside a transaction."""
    (seq,) = con.execute("update feed set last = last + 1 returning last").fetchone()
    return int(seq)
