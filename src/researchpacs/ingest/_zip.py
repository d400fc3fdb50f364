"""Zip archives from outside: list what they claim to hold, refuse bombs, stream one member at a time.

zipfile reads no more of a member than its directory entry declares, so caps on declared sizes hold for what is written.
"""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from researchpacs.errors import InvalidInputError
from researchpacs.ingest._tasks import MemberTask
from researchpacs.model import Refusal

__all__ = ["copy_member", "is_zip", "member_tasks"]

_CHUNK = 1 << 20
# Images of one colour deflate at 1,000 to 1, so small ones may; an archive as a whole, or a large member, may not.
_RATIO = 200
_SMALL_MEMBER = 64 << 20
_SMALL_ARCHIVE = 1 << 30
_MEMBERS = 1_000_000
_ENCRYPTED = 0x1
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


def is_zip(path: Path) -> bool:
    """Tell a zip archive by its first bytes; a DICOM file may have any preamble, so that of one does not count."""
    with path.open("rb") as file:
        start = file.read(132)
    return start[:4] in (b"PK\x03\x04", b"PK\x05\x06") and start[128:132] != b"DICM"


def member_tasks(path: Path, source: str) -> Iterator[MemberTask | Refusal]:
    """Give a task for each member; one refusal for an archive that cannot be read or would fill the disk."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _UNREADABLE:
        yield Refusal(source, "a damaged zip archive; make it again")
        return
    declared = sum(member.file_size for member in members)
    if len(members) > _MEMBERS or declared > max(_SMALL_ARCHIVE, _RATIO * path.stat().st_size):
        yield Refusal(
            source, f"a zip archive that claims to hold {declared:,} bytes in {len(members):,} files is refused"
        )
        return
    for index, member in enumerate(members):
        if not member.is_dir():
            problem = _problem(member)
            label = f"{source}!{member.filename}"
            yield Refusal(label, problem) if problem else MemberTask(label, path, index, member.filename)


def copy_member(archive: zipfile.ZipFile, index: int, target: BinaryIO) -> None:
    """Write one member to an open file, in constant memory.

    Raises
    ------
    InvalidInputError
        Damaged, or in a form that zipfile cannot read.
    """
    try:
        with archive.open(archive.infolist()[index]) as member:
            while chunk := _read(member):
                target.write(chunk)
    except IndexError as error:
        raise InvalidInputError("the zip archive changed while it was read") from error


def _read(member: IO[bytes]) -> bytes:
    try:
        return member.read(_CHUNK)
    except _UNREADABLE as error:
        raise InvalidInputError("a damaged member of a zip archive") from error


def _problem(member: zipfile.ZipInfo) -> str:
    if member.flag_bits & _ENCRYPTED:
        return "encrypted; unpack the zip archive first"
    if member.file_size > max(_SMALL_MEMBER, _RATIO * member.compress_size):
        return f"claims to inflate to {member.file_size:,} bytes, {_RATIO} times its size in the zip archive or more"
    if member.filename.lower().endswith(".zip"):
        return "a zip archive within a zip archive is not opened; unpack the outer one first"
    return ""
