"""Read a whole archive again and say what is missing, altered or left over."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from researchpacs.archive._content import Hashes, hash_file, is_intact
from researchpacs.archive._stored import Owner, Stored, refers, stored_of
from researchpacs.storage.home import Home
from researchpacs.storage.ledger import Ledger

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Problem", "VerifyReport", "verify"]

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Problem:
    """An instance, or a file beside one, whose bytes are not those that were stored."""

    kind: Literal["missing", "altered", "truncated", "unreadable", "ledger"]
    key: str
    """`Identity.key`; empty where it is an attachment, or the ledger itself is damaged."""
    sop_uid: str
    what: str
    """One sentence with the next step."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` found."""

    checked: int
    """Instances read in full."""
    hashed: int
    """References whose hashes were not known before."""
    conflicts: int
    """Instances kept aside."""
    problems: tuple[Problem, ...]
    leftovers: tuple[str, ...]
    """Files below the home that no row refers to: harmless, left by a process that was killed."""

    @property
    def ok(self) -> bool:
        """Whether every instance is what was stored."""
        return not self.problems

    def __str__(self) -> str:
        found = "\n".join(f"{p.kind}: {f'instance {p.sop_uid}: ' if p.sop_uid else ''}{p.what}" for p in self.problems)
        counts = f"{self.checked} instances read, {len(self.problems)} missing or altered"
        if self.leftovers:
            counts += f", {len(self.leftovers)} files that no instance refers to, left by a process that was killed"
        return f"{found}\n{counts}" if found else counts

    def df(self) -> "pd.DataFrame":
        """One row a problem."""
        import pandas as pd

        columns = ["kind", "SOPInstanceUID", "what", "key"]
        return pd.DataFrame([(p.kind, p.sop_uid, p.what, p.key) for p in self.problems], columns=columns)


def verify(home: Home, ledger: Ledger, *, references: bool = True) -> VerifyReport:
    """Compare every file with its row; instances that come or go meanwhile are neither missing nor left over.

    Parameters
    ----------
    references
        False leaves out files that are not the archive's own.
    """
    problems = list(_ledger_problems(ledger))
    checked = hashed = 0
    for stored in _all_stored(home, ledger):
        if stored.reference and not references:
            continue
        problem, hashes = _check(stored)
        if problem is not None and _still_there(ledger, stored):
            problems.append(problem)
        if problem is None and stored.sha256 is None and hashes is not None:
            hashed += _fill_in(ledger, stored, hashes)
        checked += 1
    aside, damaged = _check_conflicts(home, ledger)
    return VerifyReport(
        checked=checked,
        hashed=hashed,
        conflicts=aside,
        problems=(*problems, *damaged, *_check_attachments(home, ledger)),
        leftovers=tuple(_leftovers(home, ledger)),
    )


def _ledger_problems(ledger: Ledger) -> Iterator[Problem]:
    with ledger.reading() as con:
        for (answer,) in con.execute("pragma quick_check(1)").fetchall():
            if answer != "ok":
                yield Problem("ledger", "", "", "the ledger is damaged; restore it from a backup")


def _all_stored(home: Home, ledger: Ledger) -> Iterator[Stored]:
    """All instances, a page at a time, so that no snapshot is held while files are read."""
    after = ""
    while True:
        with ledger.reading() as con:
            query = "select * from instances where key > ? order by key limit ?"
            rows = con.execute(query, (after, _PAGE)).fetchall()
        if not rows:
            return
        after = rows[-1]["key"]
        for row in rows:
            yield stored_of(row, home.archive)


def _check(stored: Stored) -> tuple[Problem | None, Hashes | None]:
    def problem(kind: Literal["missing", "altered", "truncated", "unreadable"], what: str) -> tuple[Problem, None]:
        return Problem(kind, stored.key, stored.identity.sop_uid, what), None

    owner = "the file it refers to" if stored.reference else "its file"
    repair = "restore it, or delete the instance and ingest it again"
    try:
        size = stored.path.stat().st_size
        if size < stored.size:
            return problem("truncated", f"{owner} has {size} of {stored.size} bytes; {repair}")
        hashes = hash_file(stored.path, dataset_offset=stored.dataset_offset, header_length=stored.header_length)
    except FileNotFoundError:
        return problem("missing", f"{owner} is gone; {repair}")
    except OSError as error:
        return problem("unreadable", f"{owner} cannot be read ({os.strerror(error.errno or 0)}); check the disk")
    header_changed = stored.reference is not None and hashes.header_sha256 != stored.reference.header_sha256
    if header_changed or not is_intact(stored) or (stored.sha256 or hashes.sha256) != hashes.sha256:
        return problem("altered", f"{owner} is not what was ingested; {repair}")
    return None, hashes


def _still_there(ledger: Ledger, stored: Stored) -> bool:
    with ledger.reading() as con:
        query = "select 1 from instances where key = ? and sha256 is ?"
        return con.execute(query, (stored.key, stored.sha256)).fetchone() is not None


def _fill_in(ledger: Ledger, stored: Stored, hashes: Hashes) -> int:
    """Note the hashes of a reference, and announce it, so that the catalog learns them too."""
    with ledger.writing() as con:
        done = con.execute(
            """
            update instances
            set sha256 = ?, dataset_sha256 = ?, seq = (select last + 1 from feed)
            where key = ? and sha256 is null and reference_mtime_ns = ?
            """,
            (hashes.sha256, hashes.dataset_sha256, stored.key, stored.reference and stored.reference.mtime_ns),
        )
        con.execute("update feed set last = last + ?", (done.rowcount,))
    return done.rowcount


def _check_conflicts(home: Home, ledger: Ledger) -> tuple[int, list[Problem]]:
    with ledger.reading() as con:
        rows = con.execute("select key, sha256 from conflicts where reference_path is null").fetchall()
    damaged = []
    for row in rows:
        place = home.conflicts / f"{row['sha256']}.dcm"
        if not _holds(place, row["sha256"]):
            what = "the file kept aside for this instance is gone or altered; ingest it again"
            damaged.append(Problem("altered" if place.exists() else "missing", row["key"], "", what))
    return len(rows), damaged


def _check_attachments(home: Home, ledger: Ledger) -> Iterator[Problem]:
    query = "select distinct sha256 from attachments"
    with ledger.reading() as con:
        found = [sha256 for (sha256,) in con.execute(query)]
    for sha256 in found:
        place = home.attachments / sha256[:2] / sha256
        if not _holds(place, sha256):
            with ledger.reading() as con:
                rows = con.execute("select level, name from attachments where sha256 = ?", (sha256,)).fetchall()
            for row in rows:
                what = f"the file of attachment {row['name']} of a {row['level']} is gone or altered; attach it again"
                yield Problem("altered" if place.exists() else "missing", "", "", what)


def _holds(place: Path, sha256: str) -> bool:
    try:
        return hash_file(place, dataset_offset=0, header_length=0).sha256 == sha256
    except OSError:
        return False


def _leftovers(home: Home, ledger: Ledger) -> Iterator[str]:
    owners: list[tuple[Owner, Path]] = [("instances", folder) for folder in home.archive.iterdir()]
    owners.append(("conflicts", home.conflicts))
    suspects = [
        (table, path) for table, folder in owners for path in folder.glob("*.dcm") if not _refers(ledger, table, path)
    ]
    # A file that is on its way in gets its row under the write lock: once the lock was ours, it has its row.
    with ledger.writing():
        pass
    for table, path in suspects:
        if path.exists() and not _refers(ledger, table, path):
            yield str(path.relative_to(home.path))


def _refers(ledger: Ledger, table: Owner, path: Path) -> bool:
    with ledger.reading() as con:
        return refers(con, table, path.stem)
