"""What a server receives: kept in memory while it is small, hashed while it becomes durable.

The sender waits for the disk, so the disk waits for nothing else: as soon as the scan finds an instance sound, another
thread writes and syncs it while this one hashes it.
"""

import hashlib
import io
import secrets
import threading
from pathlib import Path
from typing import BinaryIO

from researchpacs.dicom.facts import FactReader
from researchpacs.dicom.scan import Scan
from researchpacs.ingest._check import Hashes, checked_or_refused, facts_in, hashed, incoming_of, scanned
from researchpacs.model import Incoming, Refusal
from researchpacs.storage.durable import in_background, sync_file

__all__ = ["IN_MEMORY", "Spool", "check_spool"]

IN_MEMORY = 2 << 20
"""Bytes that are kept in memory while they come; of what is longer, all go to disk as they come."""

_own = threading.local()


MOST_IN_MEMORY = 96 << 20
"""Of all bodies that come at one time; what comes beyond goes to disk as it comes."""


class _Memory:
    """What the bodies of a process may keep in memory."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def has(self, size: int) -> bool:
        return size <= self._left

    def take(self, size: int) -> bool:
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        with self._lock:
            self._left += size


_memory = _Memory(MOST_IN_MEMORY)


class Spool:
    """The bytes of one body as they come: in memory while they are few, else in a file of a workspace.

    Parameters
    ----------
    tmp
        A workspace (`Home.workspace`) on the disk of the archive.

    Attributes
    ----------
    path
        Where the file is, once there is one; its name comes from nobody.
    size
        Bytes that came.
    """

    def __init__(self, tmp: Path) -> None:
        self.path = tmp / f"{secrets.token_hex(12)}.part"
        self.size = 0
        self._memory: io.BytesIO | None = io.BytesIO()
        self._file: io.FileIO | None = None

    @property
    def content(self) -> bytes | None:
        """All bytes, where they are in memory; shared, not copied."""
        return None if self._memory is None else self._memory.getvalue()

    def waits_for_disk(self, more: int) -> bool:
        """Whether `write` of so many bytes more goes to the file."""
        return self._memory is None or self.size + more > IN_MEMORY or not _memory.has(more)

    def write(self, data: bytes | memoryview) -> None:
        """Take more bytes.

        Raises
        ------
        OSError
            The file cannot be made or written.
        """
        if self._memory is not None and (self.size + len(data) > IN_MEMORY or not _memory.take(len(data))):
            self._fill_file(self._memory)
            self._forget_memory()
        if self._memory is not None:
            self._memory.write(data)
        else:
            self._write(data)
        self.size += len(data)

    def reading(self) -> BinaryIO:
        """All bytes as a file that stands at its start; to be closed."""
        return self.path.open("rb") if self.content is None else io.BytesIO(self.content)

    def in_file(self, *, durable: bool = False) -> Path:
        """Have all bytes in the file, which is complete now.

        Parameters
        ----------
        durable
            Return when the bytes are on the disk; the file's name is for whoever gives it one.
        """
        if self._file is None:
            assert self._memory is not None
            self._fill_file(self._memory)
        assert self._file is not None
        if durable:
            sync_file(self._file.fileno())
        self._file.close()
        return self.path

    def hand_over(self) -> None:
        """Leave the file to the archive, which gives it its place or removes it."""
        self._forget_memory()
        self._file = None

    def discard(self) -> None:
        """Forget the bytes, and remove the file unless it was handed over."""
        self._forget_memory()
        if self._file is not None:
            self._file.close()
            self._file = None
            self.path.unlink(missing_ok=True)

    def _forget_memory(self) -> None:
        if self._memory is not None:
            self._memory = None
            _memory.give_back(self.size)

    def _fill_file(self, memory: io.BytesIO) -> None:
        self._file = self.path.open("xb", buffering=0)
        self._write(memory.getvalue())

    def _write(self, data: bytes | memoryview) -> None:
        assert self._file is not None
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]


def check_spool(spool: Spool, source: str, *, durable: bool = True) -> Incoming | Refusal:
    """Check what came, one complete instance; what is refused is discarded.

    Parameters
    ----------
    source
        What a report calls it.
    durable
        Make the file durable meanwhile. False leaves it to the archive, which syncs many files at once.
    """
    checked = checked_or_refused(source, lambda: _checked(spool, source, durable=durable))
    if isinstance(checked, Refusal):
        spool.discard()
    return checked


def _checked(spool: Spool, source: str, *, durable: bool) -> Incoming:
    with spool.reading() as file:
        found = scanned(file)
        filed = in_background(spool.in_file, durable=durable)
        try:
            hashes = hashed(file, found) if spool.content is None else _hashes(spool.content, found)
            facts = facts_in(_reader(), found, file)
        finally:
            path = filed.result()
    return incoming_of(source, found, hashes, blob=path, is_durable=durable, facts=facts)


def _reader() -> FactReader:
    """The thread's own, which remembers what it has read."""
    reader = getattr(_own, "reader", None)
    if reader is None:
        reader = _own.reader = FactReader()
    return reader


def _hashes(content: bytes, found: Scan) -> Hashes:
    dataset = memoryview(content)[found.dataset_offset :]
    return Hashes(hashlib.sha256(content).hexdigest(), hashlib.sha256(dataset).hexdigest(), len(content))
