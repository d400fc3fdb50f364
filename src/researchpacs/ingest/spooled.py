"""What a server receives: hashed while it comes, kept in memory while it is small, written once it is found sound.

The sender waits, so nothing is done twice, and no other thread is woken for what takes less time than waking it. The
archive makes the file durable.
"""

import hashlib
import io
import secrets
import threading
from pathlib import Path
from typing import BinaryIO, cast

from researchpacs.dicom.facts import FactReader
from researchpacs.ingest._check import Hashes, checked_or_refused, facts_in, incoming_of, scanned
from researchpacs.model import Incoming, Refusal
from researchpacs.storage.durable import begin_to_write

__all__ = ["IN_MEMORY", "Spool", "check_spool"]

IN_MEMORY = 2 << 20
"""Bytes that are kept in memory while they come; of what is longer, all go to disk as they come."""
MOST_IN_MEMORY = 96 << 20
"""Of all bodies that come at one time; what comes beyond goes to disk as it comes."""
_HASHED_AT_ONCE = 1 << 18

_own = threading.local()


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
        self._memory: bytearray | None = bytearray()
        self._held = 0
        """Bytes of the memory of all bodies that are this one's."""
        self._hash = hashlib.sha256()
        self._hashed = 0
        self._file: io.FileIO | None = None

    @property
    def content(self) -> memoryview | None:
        """All bytes, where they are in memory; shared, not copied."""
        return None if self._memory is None else memoryview(self._memory)[: self.size]

    def sha256(self) -> str:
        """Of all bytes that came, in hex digits."""
        self._hash_on()
        return self._hash.hexdigest()

    def room(self, size: int) -> memoryview | None:
        """Memory for all bytes of a body, before the first has come; None where that is too much.

        It is to be filled from its start on, and `took` to be told; nothing else may be written.
        """
        if self.size or size > IN_MEMORY or not _memory.take(size):
            return None
        self._held = size
        self._memory = bytearray(size)
        return memoryview(self._memory)

    def took(self, more: int) -> None:
        """Count bytes that are in the `room` now."""
        self.size += more
        if self.size - self._hashed >= _HASHED_AT_ONCE:
            self._hash_on()

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
            self._hash_on()
            self._fill_file(self._memory)
            self._forget_memory()
        if self._memory is None:
            self._write(data)
            self._hash.update(data)
            self.size += len(data)
            return
        self._held += len(data)
        self._memory += data
        self.took(len(data))

    def reading(self) -> BinaryIO:
        """All bytes as a file that stands at its start; to be closed."""
        content = self.content
        return self.path.open("rb") if content is None else cast("BinaryIO", _View(content))

    def in_file(self) -> Path:
        """Have all bytes in the file, which is complete now, but not yet durable."""
        if self._file is None:
            assert self._memory is not None
            self._fill_file(self._memory)
        assert self._file is not None
        begin_to_write(self._file.fileno())
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

    def _hash_on(self) -> None:
        if self._memory is not None and self._hashed < self.size:
            with memoryview(self._memory) as content:
                self._hash.update(content[self._hashed : self.size])
            self._hashed = self.size

    def _forget_memory(self) -> None:
        self._memory = None
        _memory.give_back(self._held)
        self._held = 0

    def _fill_file(self, memory: bytearray) -> None:
        self._file = self.path.open("xb", buffering=0)
        self._write(memory)

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        assert self._file is not None
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]


class _View(io.RawIOBase):
    """Memory as a file that is read; nothing is copied but what is read."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._at = 0

    def read(self, size: int | None = -1) -> bytes:
        end = len(self._content) if size is None or size < 0 else self._at + size
        data = bytes(self._content[self._at : end])
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._content)}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        self._content.release()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def check_spool(spool: Spool, source: str) -> Incoming | Refusal:
    """Check what came, one complete instance; what is refused is discarded.

    Parameters
    ----------
    source
        What a report calls it.
    """
    checked = checked_or_refused(source, lambda: _checked(spool, source))
    if isinstance(checked, Refusal):
        spool.discard()
    return checked


def _checked(spool: Spool, source: str) -> Incoming:
    with spool.reading() as file:
        found = scanned(file)
        facts = facts_in(_reader(), found, file)
    # The hash of the data set alone is taken when an identity is met again, which few ever are.
    hashes = Hashes(spool.sha256(), None, spool.size)
    return incoming_of(source, found, hashes, blob=spool.in_file(), facts=facts)


def _reader() -> FactReader:
    """The thread's own, which remembers what it has read."""
    reader = getattr(_own, "reader", None)
    if reader is None:
        reader = _own.reader = FactReader()
    return reader
