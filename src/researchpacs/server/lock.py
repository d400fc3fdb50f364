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

__all__ = ["serving"]


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
    lock, note = FileLock(home / "server.lock"), home / "server.json"
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        raise ConflictError(
            f"{home} is served already{_holder(note)}; stop that server, or serve another home"
        ) from None
    try:
        told = {"pid": os.getpid(), "address": address, "since": datetime.now(UTC).isoformat(timespec="seconds")}
        write_atomically(note, json.dumps(told).encode())
        yield
        note.unlink(missing_ok=True)
    finally:
        lock.release()


def _holder(note: Path) -> str:
    try:
        told = json.loads(note.read_bytes())
        return f" by process {told['pid']} at {told['address']} since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
