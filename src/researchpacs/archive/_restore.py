"""Make a new home from a backup: whole, read again and compared before it opens, or not a home at all."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from researchpacs.archive._backup import ANCESTORS, drop_rows
from researchpacs.archive._backup_files import Needed, copy_all, copy_one, needed_by, telling_disk_errors
from researchpacs.archive._backup_manifest import Manifest, read_manifest
from researchpacs.archive._content import is_intact
from researchpacs.archive._embedded import EmbeddedArchive
from researchpacs.archive._stored import stored_of
from researchpacs.archive._verify import verify
from researchpacs.errors import ConflictError, InvalidInputError, NotFoundError, ResearchPacsError
from researchpacs.ingest._progress import Progress
from researchpacs.storage.connections import DiskFullError
from researchpacs.storage.home import Home

__all__ = ["RestoreReport", "restore"]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restored home holds."""

    home: str
    made_at: str
    """UTC, ISO 8601: when the backup was made."""
    instances: int
    files: int
    """Each was read again and compared with its hash."""
    left_out: tuple[str, ...]
    """SOPInstanceUIDs of instances that the backup does not have, or not undamaged."""
    references: int
    """Files outside the archive that its rows refer to."""
    references_gone: int
    """Those of them that are not where they were, or changed; `verify` names them."""

    def __str__(self) -> str:
        lines = [
            f"{self.instances} instances in {self.home}, as of {self.made_at}: {self.files} files, each compared with "
            "its hash",
            "the catalog is no part of a backup: the first question makes it anew, or `researchpacs sync` now",
        ]
        if self.references:
            lines.append(
                f"{self.references} files stay where they are, {self.references_gone} of them are gone or changed"
            )
        lines += [f"left out: instance {uid}: its file is missing or damaged" for uid in self.left_out]
        return "\n".join(lines)


def restore(
    folder: Path, home: Path, *, leave_out_damaged: bool = False, progress: bool | None = None
) -> RestoreReport:
    """Make a home from a backup.

    The home opens only when every file in it was read again and is what the ledger says. What was broken off is taken
    up by the next call.

    Parameters
    ----------
    folder
        The backup.
    home
        An empty or a new folder.
    leave_out_damaged
        Restore the others where files of the backup are missing or damaged.
    progress
        Show a bar; by default in a notebook and on a terminal.

    Raises
    ------
    NotFoundError
        There is no complete backup.
    InvalidInputError
        The home is not empty.
    ConflictError
        The backup is damaged; or another process restores into this home.
    DiskFullError, AccessError
        The home cannot be written.
    """
    folder, home = folder.expanduser().absolute(), home.expanduser().absolute()
    manifest = read_manifest(folder)
    if manifest is None:
        raise NotFoundError(f"{folder} holds no complete backup; `researchpacs backup` makes one")
    if home == folder or folder in home.parents or home in folder.parents:
        raise InvalidInputError(f"{home} and the backup in {folder} lie within each other; give another folder")
    place = Home.prepare(home)
    lock = FileLock(place.tmp / "restore.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ConflictError(f"another process restores into {home} right now") from None
    try:
        Home.prepare(home)  # once more: another process may have completed it before the lock was ours
        with telling_disk_errors(home), place.workspace() as tmp:
            _refuse_too_little_space(home, manifest)
            _take_ledger(folder, place, manifest, tmp=tmp)
            report = _fill(place, folder, manifest, tmp, leave_out_damaged=leave_out_damaged, progress=progress)
        place.complete()
        Path(lock.lock_file).unlink()
    finally:
        lock.release()
    Home.open(home)
    return report


def _refuse_too_little_space(home: Path, manifest: Manifest) -> None:
    there = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    if shutil.disk_usage(home).free + there < manifest.size:
        raise DiskFullError(home)


def _take_ledger(folder: Path, place: Home, manifest: Manifest, *, tmp: Path) -> None:
    for stale in place.path.glob(f"{place.ledger_path.name}-*"):
        stale.unlink()
    try:
        sha256 = copy_one(folder / manifest.ledger, place.ledger_path, tmp=tmp)
    except ResearchPacsError as error:
        raise ConflictError(f"the backup in {folder} is damaged: {error}") from error
    if sha256 != manifest.ledger_sha256:
        raise ConflictError(f"the backup in {folder} is damaged: {manifest.ledger} is not what was written")


def _fill(
    place: Home, folder: Path, manifest: Manifest, tmp: Path, *, leave_out_damaged: bool, progress: bool | None
) -> RestoreReport:
    archive = EmbeddedArchive(place)
    try:
        with archive.ledger.reading() as con:
            needed = needed_by(con)
        with Progress(wanted=progress, what="restore", total=len(needed)) as bar:
            done = list(bar.count(copy_all(needed, folder, place.path, tmp=tmp, trust=False)))
        damaged = [one.needed for one in done if one.outcome in ("missing", "altered")]
        if damaged and not leave_out_damaged:
            shown = ", ".join(one.place for one in damaged[:_SHOWN]) + (" ..." if len(damaged) > _SHOWN else "")
            raise ConflictError(
                f"{len(damaged)} files of the backup in {folder} are missing or damaged: {shown}. Restore what is "
                "whole with leave_out_damaged=True or `researchpacs restore --leave-out-damaged`"
            )
        left_out = _begin_anew(archive, manifest, damaged)
        _refuse_unlike(archive, place, manifest)
        return _report(archive, manifest, len(needed) - len(damaged), left_out)
    finally:
        archive.close()


def _begin_anew(archive: EmbeddedArchive, manifest: Manifest, damaged: Sequence[Needed]) -> tuple[str, ...]:
    """Take out what has no file, and give the feed another name.

    What is stored from now on gets numbers that the old archive gave to something else: who followed its feed has to
    start over.
    """
    archive.ledger.migrate("backup", ANCESTORS)
    left_out: set[str] = set(manifest.left_out)
    with archive.ledger.writing() as con:
        for one in damaged:
            rows = drop_rows(con, one)
            left_out |= {row["sop_uid"] for row in rows} if one.table == "instances" else {one.place}
        con.execute("insert or ignore into ancestors select feed_id from feed")
        con.execute("update feed set feed_id = lower(hex(randomblob(16)))")
    return tuple(sorted(left_out))


def _refuse_unlike(archive: EmbeddedArchive, place: Home, manifest: Manifest) -> None:
    """Read everything again; the second time this is what lies on the new disk."""
    found = verify(place, archive.ledger, references=False)
    if found.problems:
        raise ConflictError(f"what was restored is not what was backed up: {found}; check the disk and restore again")


def _report(archive: EmbeddedArchive, manifest: Manifest, files: int, left_out: tuple[str, ...]) -> RestoreReport:
    with archive.ledger.reading() as con:
        (instances,) = con.execute("select count(*) from instances").fetchone()
        rows = con.execute("select * from instances where reference_path is not null").fetchall()
    gone = sum(not is_intact(stored_of(row, archive.home.archive)) for row in rows)
    return RestoreReport(
        home=str(archive.home.path),
        made_at=manifest.made_at,
        instances=instances,
        files=files,
        left_out=left_out,
        references=len(rows),
        references_gone=gone,
    )
