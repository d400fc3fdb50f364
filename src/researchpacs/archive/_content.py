"""The bytes behind a row: open them checked, hash them, judge whether two files are one object."""

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

# Brings pydicom in with the archive, before there are threads: its modules import each other in a circle, and two
# threads that import them at the same time may meet one that is half made.
from researchpacs.archive._compare import same_object
from researchpacs.archive._stored import Stored
from researchpacs.errors import ConflictError, NotFoundError
from researchpacs.model import Incoming

__all__ = ["OTHER", "Hashes", "Verdict", "hash_file", "is_intact", "judge", "open_checked"]

OTHER = "an instance with this identity and other content is stored already; it stays, this one is kept aside"
_LOST = (
    "the file of the stored instance with this identity changed or is gone, so the two cannot be compared; this one is "
    "kept aside. Delete the stored instance and ingest again to take this one"
)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Hashes:
    """SHA-256 of a file and of its parts."""

    sha256: str
    dataset_sha256: str
    header_sha256: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a second file with the identity of a stored instance is."""

    new: Incoming
    """With its hashes filled in, where they had to be computed."""
    same: bool
    identical: bool = False
    """The data sets are equal byte for byte, so that one file can stand for the other."""
    reason: str = ""
    unreadable: bool = False
    """The new file went away or changed while it was compared."""


def open_checked(stored: Stored) -> BinaryIO:
    """Open an instance's file; a reference has to be the file that was ingested."""
    name = f"instance ...{stored.identity.sop_uid[-12:]}"
    try:
        file = stored.path.open("rb")
    except FileNotFoundError as error:
        what = "was moved or deleted since it was ingested" if stored.reference else "is missing from the archive"
        raise NotFoundError(f"the file of {name} {what}; put it back, or ingest it again") from error
    if not _unchanged(os.fstat(file.fileno()), stored):
        file.close()
        what = "changed since it was ingested in place" if stored.reference else "is not what was stored"
        raise ConflictError(f"the file of {name} {what}; restore it, or delete the instance and ingest again")
    return file


def is_intact(stored: Stored) -> bool:
    """Whether the file is there and, as far as its size and time tell, unchanged."""
    try:
        return _unchanged(stored.path.stat(), stored)
    except OSError:
        return False


def hash_file(path: Path, *, dataset_offset: int, header_length: int) -> Hashes:
    """Read a whole file, in constant memory."""
    whole, dataset, header = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    position = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            whole.update(chunk)
            dataset.update(memoryview(chunk)[max(0, dataset_offset - position) :])
            header.update(memoryview(chunk)[: max(0, header_length - position)])
            position += len(chunk)
    return Hashes(whole.hexdigest(), dataset.hexdigest(), header.hexdigest())


def judge(old: Stored, new: Incoming) -> Verdict:
    """Compare a stored instance with another file of the same identity, reading both in full where needed."""
    source = new.blob or (new.reference.path if new.reference else None)
    if source is None:
        raise ValueError("an instance comes either as a blob or as a reference")
    try:
        new = _hashed(new, source)
    except (OSError, ConflictError):
        return Verdict(new, same=False, unreadable=True, reason="it changed or went away while it was read")
    try:
        if old.transfer_syntax_uid == new.transfer_syntax_uid:
            identical = (old.dataset_sha256 or _hash_stored(old).dataset_sha256) == new.dataset_sha256
            return Verdict(new, same=identical, identical=identical, reason="" if identical else OTHER)
        with open_checked(old) as one, source.open("rb") as two:
            same = same_object(one, two)
    except (OSError, ConflictError, NotFoundError):
        return Verdict(new, same=False, reason=_LOST)
    return Verdict(new, same=same, reason="the same object in another transfer syntax" if same else OTHER)


def _hashed(new: Incoming, source: Path) -> Incoming:
    if new.dataset_sha256:
        return new
    hashes = hash_file(source, dataset_offset=new.dataset_offset, header_length=new.header_length)
    if new.reference and not _is_reference(source.stat(), new.reference.mtime_ns, new.size):
        raise ConflictError("changed while it was read")
    return replace(new, sha256=hashes.sha256, dataset_sha256=hashes.dataset_sha256)


def _hash_stored(old: Stored) -> Hashes:
    open_checked(old).close()
    hashes = hash_file(old.path, dataset_offset=old.dataset_offset, header_length=old.header_length)
    open_checked(old).close()
    return hashes


def _unchanged(found: os.stat_result, stored: Stored) -> bool:
    if stored.reference:
        return _is_reference(found, stored.reference.mtime_ns, stored.size)
    return found.st_size == stored.size


def _is_reference(found: os.stat_result, mtime_ns: int, size: int) -> bool:
    return found.st_size == size and found.st_mtime_ns == mtime_ns
