"""Tell a full disk from other errors."""

import errno
import sqlite3

__all__ = ["is_disk_full"]

# EFBIG: a limit on the size of files, which is no more room either.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means that nothing more can be written here until somebody makes room."""
    if isinstance(error, sqlite3.OperationalError):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in _FULL
