"""Make bytes and names survive a power cut.

A file is durable after `sync_file`, a name (created, renamed or removed) after `sync_directory` of its folder.
"""

import os
import secrets
import sys
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

__all__ = [
    "begin_to_write",
    "in_background",
    "sync_all",
    "sync_content",
    "sync_directory",
    "sync_file",
    "write_atomically",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_AT_ONCE = 16
_WRITE = 2
"""SYNC_FILE_RANGE_WRITE (sync_file_range(2))."""


def write_atomically(path: Path, data: bytes) -> None:
    """Give `path` the content `data`: a reader sees the old file or the new one, whole, also after a power cut."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            sync_file(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_all(paths: Collection[Path]) -> None:
    """Make many files or folders durable; several at once, because a file system then writes its journal for all."""
    if len(paths) < 2:
        for path in paths:
            _sync(path)
        return
    syncing = [in_background(_sync, path) for path in paths]
    wait(syncing)
    for one in syncing:
        one.result()


def in_background(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
    """Begin what waits for the disk, in another thread; it must not wait for another call of this kind."""
    return _threads.pool().submit(call, *args, **kwargs)


def begin_to_write(descriptor: int) -> None:
    """Have the system write the bytes of an open file from now on, where it can: who syncs it later waits less.

    Nothing is promised, and nothing waits.
    """
    start = _sync_file_range()
    if start is not None:
        start(descriptor, 0, 0, _WRITE)


def sync_content(path: Path) -> None:
    """Make what a file holds durable."""
    with path.open("r+b", buffering=0) as file:
        sync_file(file.fileno())


def sync_file(descriptor: int) -> None:
    """Return when the bytes of an open file are on the disk, not in its cache."""
    if sys.platform == "darwin":
        import fcntl

        # On macOS fsync() hands over to the drive, which may keep the bytes in its own cache (fsync(2)).
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    elif hasattr(os, "fdatasync"):
        # All that is needed to read the file again, its size included, but not its times (fdatasync(2)).
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Return when the names in a folder are on the disk; Windows keeps them in its journal by itself."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    if sys.platform != "linux":
        return None
    import ctypes

    found = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return cast("Callable[[int, int, int, int], int] | None", found)


def _sync(path: Path) -> None:
    if path.is_dir():
        sync_directory(path)
    else:
        sync_content(path)


class _Threads:
    """Threads of this process, from the first time they are wanted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="durable")
            return self._pool

    def forget(self) -> None:
        """A forked child inherits no thread, only the belief that there are some."""
        self._lock = threading.Lock()
        self._pool = None


_threads = _Threads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.forget)
