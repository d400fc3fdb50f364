"""Back up an archive while others write to it: a copy of its ledger, then the files that the copy names.

The copy is one state of the ledger. A file that it names can only go because somebody deleted its instance meanwhile;
then the instance goes from the copy, too. The catalog is left out: it is made from the archive again.
"""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from researchpacs.archive._backup_files import (
    FOLDERS,
    Copied,
    Needed,
    copy_all,
    copy_one,
    needed_by,
    references_of,
    telling_disk_errors,
)
from researchpacs.archive._backup_manifest import Manifest, read_manifest, write_manifest
from researchpacs.archive._delete import delete_rows
from researchpacs.errors import ConflictError, InvalidInputError
from researchpacs.ingest._progress import Progress
from researchpacs.storage.durable import sync_directory, write_atomically
from researchpacs.storage.home import NOT_CONTENT, Home
from researchpacs.storage.ledger import Ledger

__all__ = ["ANCESTORS", "BackupReport", "back_up", "drop_rows"]

ANCESTORS = (
    """
    create table ancestors (
        feed_id text primary key
    ) strict, without rowid;
    """,
)
"""Feeds of the archives that this one was restored from: it may go on with their backups."""

_LOCK = "backup.lock"
_BEGUN = "backup.part"
"""Stands in a folder from the first backup's beginning to its end, so that nobody's files are taken for ours."""
_OURS = frozenset({"backup.json", _BEGUN, _LOCK, "tmp", *FOLDERS})
_NAME = re.compile(r"[0-9a-f]{64}(\.dcm)?")


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup holds, and what was done for it."""

    folder: str
    made_at: str
    """UTC, ISO 8601: everything acknowledged before is in it."""
    instances: int
    copied: int
    """Files copied now."""
    copied_bytes: int
    present: int
    """Files that an earlier backup had brought."""
    unneeded: int
    """Files of earlier backups that this one does not need; `prune` removes them."""
    pruned: int
    """Files of earlier backups that were removed."""
    left_out: tuple[str, ...]
    """SOPInstanceUIDs of instances that are not in it: their files are missing or altered, as `verify` says."""
    references: tuple[str, ...] = field(repr=False)
    """Files that stay where they are (``copy=False``) and are not in the backup."""

    @property
    def ok(self) -> bool:
        """Whether all that the archive itself keeps is in it."""
        return not self.left_out

    def __str__(self) -> str:
        lines = [
            f"{self.instances} instances in {self.folder}: "
            f"{self.copied} files copied ({self.copied_bytes / 1e6:.1f} MB), {self.present} were there"
        ]
        if self.references:
            lines.append(f"{len(self.references)} files that stay where they are are not in it; --json names them")
        if self.unneeded:
            lines.append(f"{self.unneeded} files of earlier backups are not needed any more; --prune removes them")
        if self.pruned:
            lines.append(f"{self.pruned} files of earlier backups removed")
        lines += [f"left out: instance {uid}: its file is missing or altered" for uid in self.left_out]
        return "\n".join(lines)


def back_up(
    home: Home,
    ledger: Ledger,
    folder: Path,
    *,
    prune: bool = False,
    recheck: bool = False,
    progress: bool | None = None,
) -> BackupReport:
    """Bring the backup in `folder` up to the archive, or make the first one there.

    Until the new one is complete the old one stands, also where this process is killed.

    Parameters
    ----------
    home, ledger
        Of the archive.
    prune, recheck, progress
        As `Pacs.backup`.

    Raises
    ------
    InvalidInputError
        The folder is the archive's own, or holds something else, or the backup of another archive.
    ConflictError
        Another process backs up into it.
    DiskFullError, AccessError
        It cannot be written.
    """
    folder = folder.expanduser().absolute()
    with telling_disk_errors(folder), _held(home, ledger, folder) as tmp, home.workspace() as work:
        copy = work / "ledger.sqlite"
        made_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        ledger.copy_to(copy)
        with closing(_opened(copy)) as con:
            needed = needed_by(con)
            with Progress(wanted=progress, what="backup", total=len(needed)) as bar:
                done = list(bar.count(copy_all(needed, home.path, folder, tmp=tmp, trust=not recheck)))
            left_out = _leave_out(con, ledger, [one.needed for one in done if one.outcome in ("missing", "altered")])
            kept = needed_by(con)
            manifest = _manifest(con, made_at, kept, left_out)
            references = tuple(references_of(con))
        manifest = _take_over(folder, copy, manifest, tmp)
        needless = list(_needless(folder, kept))
        if prune:
            for path in needless:
                path.unlink(missing_ok=True)
    return _report(folder, manifest, done, references, needless=len(needless), prune=prune)


def drop_rows(con: sqlite3.Connection, needed: Needed) -> list[sqlite3.Row]:
    """Take the rows that name a file from a copy of a ledger; what they were."""
    condition = "sha256 = ?" if needed.table == "attachments" else "sha256 = ? and reference_path is null"
    rows = con.execute(f"select * from {needed.table} where {condition}", (needed.sha256,)).fetchall()  # noqa: S608
    if needed.table == "instances":
        delete_rows(con, rows)
    else:
        con.execute(f"delete from {needed.table} where {condition}", (needed.sha256,))  # noqa: S608 - a Literal
    return rows


@contextmanager
def _held(home: Home, ledger: Ledger, folder: Path) -> Iterator[Path]:
    """Make the folder ready and hold it; gives a place for half files."""
    if folder == home.path or home.path in folder.parents or folder in home.path.parents:
        raise InvalidInputError(f"{folder} and the archive in {home.path} lie within each other; give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    found = {name for name in os.listdir(folder) if name not in NOT_CONTENT}
    if any(not _is_ours(name) for name in found) or (found and not found & {"backup.json", _BEGUN}):
        raise InvalidInputError(f"{folder} holds something else than a backup; give an empty or a new folder")
    if not found:
        write_atomically(folder / _BEGUN, b"")
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ConflictError(f"another process backs up into {folder} right now; try again when it is done") from None
    try:
        manifest = read_manifest(folder)
        if manifest is not None and manifest.feed_id not in _line_of(ledger):
            raise InvalidInputError(f"{folder} holds the backup of another archive; give another folder")
        tmp = folder / "tmp"
        shutil.rmtree(tmp, ignore_errors=True)
        for half in folder.glob(".backup.*"):
            half.unlink()
        for name in ("tmp", *FOLDERS):
            (folder / name).mkdir(exist_ok=True)
        sync_directory(folder)
        yield tmp
    finally:
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        lock.release()


def _is_ours(name: str) -> bool:
    return name in _OURS or name.startswith(("ledger-", ".backup."))


def _line_of(ledger: Ledger) -> set[str]:
    """The archive's feed and those of the archives it was restored from."""
    ledger.migrate("backup", ANCESTORS)
    with ledger.reading() as con:
        return {feed_id for (feed_id,) in con.execute("select feed_id from feed union select feed_id from ancestors")}


def _opened(path: Path) -> sqlite3.Connection:
    con = sqlite3.connect(path, isolation_level=None)
    con.row_factory = sqlite3.Row
    con.execute("pragma foreign_keys = on")
    con.execute("pragma synchronous = off")
    return con


def _leave_out(con: sqlite3.Connection, ledger: Ledger, gone: Sequence[Needed]) -> tuple[str, ...]:
    """Take what has no file from the copy; UIDs of what was not just deleted meanwhile."""
    damaged: set[str] = set()
    con.execute("begin")
    for needed in gone:
        for row in drop_rows(con, needed):
            if _still_there(ledger, needed, row):
                damaged.add(row["sop_uid"] if needed.table == "instances" else f"{needed.table}/{needed.sha256}")
    con.execute("commit")
    return tuple(sorted(damaged))


def _still_there(ledger: Ledger, needed: Needed, row: sqlite3.Row) -> bool:
    names = ("level", "owner", "name", "sha256") if needed.table == "attachments" else ("key", "sha256")
    condition = " and ".join(f"{name} = :{name}" for name in names)
    with ledger.reading() as con:
        query = f"select 1 from {needed.table} where {condition}"  # noqa: S608 - a Literal and the names above
        return con.execute(query, {name: row[name] for name in names}).fetchone() is not None


def _manifest(con: sqlite3.Connection, made_at: str, kept: Sequence[Needed], left_out: tuple[str, ...]) -> Manifest:
    (feed_id,) = con.execute("select feed_id from feed").fetchone()
    (instances,) = con.execute("select count(*) from instances").fetchone()
    return Manifest(
        made_at=made_at,
        feed_id=feed_id,
        ledger="",
        ledger_sha256="",
        instances=instances,
        files=len(kept),
        size=sum(one.size for one in kept),
        references=len(references_of(con)),
        left_out=left_out,
    )


def _take_over(folder: Path, copy: Path, manifest: Manifest, tmp: Path) -> Manifest:
    """Make the new state the backup: its ledger first, the manifest last."""
    sha256 = copy_one(copy, tmp / copy.name, tmp=tmp)
    name = f"ledger-{sha256[:16]}.sqlite"
    (tmp / copy.name).replace(folder / name)
    sync_directory(folder)
    manifest = replace(manifest, ledger=name, ledger_sha256=sha256)
    write_manifest(folder, manifest)
    (folder / _BEGUN).unlink(missing_ok=True)
    for path in folder.glob("ledger-*.sqlite"):
        if path.name != name:
            path.unlink()
    return manifest


def _needless(folder: Path, kept: Sequence[Needed]) -> Iterator[Path]:
    places = {one.place for one in kept}
    for name in FOLDERS:
        for path in sorted((folder / name).rglob("*")):
            is_ours = path.is_file() and _NAME.fullmatch(path.name)
            if is_ours and path.relative_to(folder).as_posix() not in places:
                yield path


def _report(
    folder: Path, manifest: Manifest, done: Sequence[Copied], references: tuple[str, ...], *, needless: int, prune: bool
) -> BackupReport:
    copied = [one.needed.size for one in done if one.outcome == "copied"]
    return BackupReport(
        folder=str(folder),
        made_at=manifest.made_at,
        instances=manifest.instances,
        copied=len(copied),
        copied_bytes=sum(copied),
        present=sum(one.outcome == "present" for one in done),
        unneeded=0 if prune else needless,
        pruned=needless if prune else 0,
        left_out=manifest.left_out,
        references=references,
    )
