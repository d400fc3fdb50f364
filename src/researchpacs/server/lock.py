"""One server to a home: the second one refuses at once, and says who holds it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from researchpacs.errors import ConflictError
from researchpacs.storage.durable import write_atomically
from researchpacs.storage.full import is_disk_full

__all__ = ["refuse_second", "serving"]


@contextmanager
def serving(home: Path, address: str) -> Iterator[None]:
    """Hold a home for one server; the system lets go of it when the process ends, however it ends.

    Parameters
    ----------
    home
        The folder of the archive.
    address
        Where the server answers, told to whoever comes second.

    Raises
    ------
    ConflictError
        Another process serves this home.
    """
    note = home / "server.json"
    lock = _acquired(home)
    try:
        _leave(note, address)
        yield
        note.unlink(missing_ok=True)
    finally:
        lock.release()


def refuse_second(home: Path) -> None:
    """Refuse early where another process serves a home, before anything slow is loaded; `serving` decides.

    Raises
    ------
    ConflictError
        As `serving`.
    """
    if (home / "server.lock").exists():
        _acquired(home).release()


def _acquired(home: Path) -> FileLock:
    lock = FileLock(home / "server.lock")
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        raise ConflictError(
            f"{home} is served already{_holder(home / 'server.json')}; stop that server, or serve another home"
        ) from None
    return lock


def _leave(note: Path, address: str) -> None:
    """Say who serves; on a full disk nothing is said, rather than what a killed server left."""
    told = {"pid": os.getpid(), "address": address, "since": datetime.now(UTC).isoformat(timespec="seconds")}
    note.unlink(missing_ok=True)
    try:
        write_atomically(note, json.dumps(told).encode())
    except OSError as error:
        if not is_disk_full(error):
            raise


def _holder(note: Path) -> str:
    try:
        told = json.loads(note.read_bytes())
        return f" by process {told['pid']} at {told['address']} since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
