"""The files that a ledger names, and their checked way from a home into a backup or back.

Home and backup keep them under the same names, which say what is in them: a file that is there already stays.
"""

import errno
import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeAlias

from researchpacs.errors import AccessError, ResearchPacsError
from researchpacs.storage.connections import DiskFullError
from researchpacs.storage.durable import sync_all, sync_directory

__all__ = ["FOLDERS", "Copied", "Needed", "copy_all", "copy_one", "needed_by", "references_of", "telling_disk_errors"]

FOLDERS = ("archive", "attachments", "conflicts")
"""Where files are, in a home and in a backup."""

_AT_ONCE = 4
_BATCH = 64
_CHUNK = 1 << 20
_NEEDED = """
select distinct 'archive/' || substr(sha256, 1, 2) || '/' || sha256 || '.dcm', 'instances', sha256, size
from instances
where reference_path is null
union all
select distinct 'attachments/' || substr(sha256, 1, 2) || '/' || sha256, 'attachments', sha256, size
from attachments
union all
select distinct 'conflicts/' || sha256 || '.dcm', 'conflicts', sha256, size
from conflicts
where reference_path is null
order by 1
"""
_REFERENCES = """
select reference_path from instances where reference_path is not null
union
select reference_path from conflicts where reference_path is not null
order by 1
"""

Outcome: TypeAlias = Literal["copied", "present", "missing", "altered"]


@dataclass(frozen=True, slots=True)
class Needed:
    """A file that a ledger names."""

    place: str
    """Below a home, and below a backup."""
    table: Literal["instances", "attachments", "conflicts"]
    """Whose rows name it."""
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of one."""

    needed: Needed
    outcome: Outcome
    """``missing`` and ``altered``: the source does not have it or does not give it, or not as it was stored."""


def needed_by(con: sqlite3.Connection) -> list[Needed]:
    """Every file that the ledger names but for references, in the order of their places."""
    return [Needed(*row) for row in con.execute(_NEEDED)]


def references_of(con: sqlite3.Connection) -> list[str]:
    """Paths of the files that stay where they are."""
    return [os.fsdecode(path) for (path,) in con.execute(_REFERENCES)]


def copy_all(
    needed: Iterable[Needed], source: Path, target: Path, *, tmp: Path, trust: bool = True
) -> Iterator[Copied]:
    """Copy what `target` does not have yet; each outcome is given out when it is durable.

    Parameters
    ----------
    source, target
        A home and a backup, or the reverse.
    tmp
        For half files, on the disk of `target`.
    trust
        Take a file that is there for what its name says; else read it, and copy it again where it is not.

    Raises
    ------
    OSError
        The target cannot be written; nothing half is there under the name of a file.
    """
    waiting = iter(needed)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while batch := list(islice(waiting, _BATCH)):
            yield from _copy_batch(pool, batch, source, target, tmp, trust=trust)


def copy_one(source: Path, target: Path, *, tmp: Path) -> str:
    """Copy a file durably, whole or not at all; its SHA-256."""
    part, sha256 = _read_into(source, tmp)
    sync_all([part])
    part.replace(target)
    sync_directory(target.parent)
    return sha256


@contextmanager
def telling_disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the system says of a folder that is written to into errors of the contract."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ResearchPacsError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(folder) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise AccessError(f"{folder} cannot be written by this user; give another folder") from error
        raise ResearchPacsError(
            f"{folder} cannot be written ({os.strerror(error.errno or 0)}); check the disk"
        ) from error


class _UnreadableError(ResearchPacsError):
    """The source is not there, or the disk does not give it."""


def _copy_batch(
    pool: ThreadPoolExecutor, batch: Sequence[Needed], source: Path, target: Path, tmp: Path, *, trust: bool
) -> list[Copied]:
    found = list(pool.map(lambda one: _copy(one, source, target, tmp, trust=trust), batch))
    parts = {one.place: part for (one, _, part) in found if part is not None}
    sync_all(list(parts.values()))
    folders: set[Path] = set()
    for place, part in parts.items():
        path = target / place
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            folders |= {target, path.parent.parent}
        part.replace(path)
        folders.add(path.parent)
    sync_all(folders)
    return [Copied(one, outcome) for one, outcome, _ in found]


def _copy(needed: Needed, source: Path, target: Path, tmp: Path, *, trust: bool) -> tuple[Needed, Outcome, Path | None]:
    place = target / needed.place
    if place.exists() and place.stat().st_size == needed.size and (trust or _sha256(place) == needed.sha256):
        return needed, "present", None
    try:
        part, sha256 = _read_into(source / needed.place, tmp)
    except _UnreadableError:
        return needed, "missing", None
    if sha256 != needed.sha256:
        part.unlink()
        return needed, "altered", None
    return needed, "copied", part


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_into(source: Path, tmp: Path) -> tuple[Path, str]:
    part, sha256 = tmp / f"{secrets.token_hex(12)}.part", hashlib.sha256()
    try:
        with part.open("xb") as copy:
            for chunk in _chunks(source):
                sha256.update(chunk)
                copy.write(chunk)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part, sha256.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise _UnreadableError(f"{path} cannot be read ({os.strerror(error.errno or 0)})") from error
