"""One group commit: files renamed into place and their rows, inside one transaction of the ledger."""

import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from researchpacs.archive._conflicts import note_conflict
from researchpacs.archive._content import OTHER, Verdict, is_intact
from researchpacs.archive._facts import FactKeeper
from researchpacs.archive._ledger_rows import (
    SHARED_INSTANCE,
    indexed_text,
    issues_text,
    known_keys,
    shared_instance,
    shared_parents,
)
from researchpacs.archive._stored import Owner, Stored, blob_path, stored_of
from researchpacs.errors import InvalidInputError
from researchpacs.model import Incoming, Issue, Level, Outcome, OutcomeKind
from researchpacs.storage.durable import in_background, sync_all, sync_content, sync_directory
from researchpacs.storage.home import Home

__all__ = ["Batch", "Move", "Pair", "is_evident_duplicate"]

_INSERT = """
insert or replace into instances (
    key, seq, patient_key, patient_id, issuer, study_uid, series_uid, sop_uid, sop_class_uid, transfer_syntax_uid,
    size, header_length, dataset_offset, sha256, dataset_sha256,
    reference_path, reference_mtime_ns, reference_header_sha256, attributes, issues, orthanc_id,
    frame_form, frame_places
) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_PATIENT = (
    "insert or ignore into patients (patient_key, patient_id, issuer, attributes, orthanc_id) values (?, ?, ?, ?, ?)"
)
_INSERT_STUDY = "insert or ignore into studies (patient_key, study_uid, attributes, orthanc_id) values (?, ?, ?, ?)"
_INSERT_SERIES = (
    "insert or ignore into series (patient_key, study_uid, series_uid, attributes, orthanc_id) values (?, ?, ?, ?, ?)"
)
_SERIES = "select 1 from series where (patient_key, study_uid, series_uid) = (?, ?, ?)"
_ORTHANC_ID = 20
_MANY = 8
"""Instances that are looked up and written together; fewer are taken one by one."""


class Pair(NamedTuple):
    """A stored content and a new one of the same identity."""

    old: tuple[object, ...]
    new: tuple[object, ...]

    @classmethod
    def of(cls, old: Stored, new: Incoming) -> "Pair":
        """Name a pair by what its contents are, whether or not they have been read in full."""
        return cls(_content(old), _content(new))


class Move(NamedTuple):
    """A temporary file that was renamed into its place."""

    table: Owner
    sha256: str
    blob: Path
    place: Path


class Batch:
    """What becomes of some instances in one transaction.

    Parameters
    ----------
    home
        Where the files go.
    verdicts
        What is known about contents that meet again; what is not goes to `undecided`.
    synced
        Temporary files that are durable already.
    """

    def __init__(self, home: Home, verdicts: Mapping[Pair, Verdict], synced: Collection[Path]) -> None:
        self.outcomes: list[Outcome] = []
        self.undecided: list[tuple[Stored, Incoming]] = []
        self.moves: list[Move] = []
        self._home = home
        self._verdicts = verdicts
        self._synced = synced
        self._needless: list[Path] = []
        self._syncing: list[Future[None]] = []
        self._unsynced: Callable[[], None] | None = None
        """Makes the file that was placed last durable."""
        self._new: list[tuple[str, str]] = []
        self._series: set[tuple[str, str, str]] = set()
        self._parents: dict[tuple[str, str, str], list[Issue]] = {}
        """Series whose rows are there, with what is odd about their UIDs."""
        self._facts = FactKeeper()
        self._last = 0

    def run(self, con: sqlite3.Connection, items: Sequence[Incoming]) -> None:
        """Decide on every item; to be called inside `Ledger.writing`."""
        try:
            (self._last,) = con.execute("select last from feed").fetchone()
            for item in self._take_new(con, items) if len(items) >= _MANY else items:
                self._take(con, item)
            self._facts.write(con)
            con.execute("update feed set last = ?", (self._last,))
            self._announce(con)
            if self._unsynced is not None:
                self._unsynced()
        finally:
            wait(self._syncing)
        for one in self._syncing:
            one.result()

    def discard(self) -> None:
        """Remove temporary files of duplicates; to be called after the commit."""
        for path in self._needless:
            path.unlink(missing_ok=True)

    def _announce(self, con: sqlite3.Connection) -> None:
        """Tell peers what is new, parents of all instances that came once each."""
        con.executemany("insert into journal (kind, level, orthanc_id) values ('new', ?, ?)", self._new)
        con.executemany(
            "update series set updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), stable = 0 "
            "where (patient_key, study_uid, series_uid) = (?, ?, ?)",
            self._series,
        )
        con.executemany(
            "update studies set updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), stable = 0 "
            "where (patient_key, study_uid) = (?, ?)",
            {key[:2] for key in self._series},
        )
        con.executemany(
            "update patients set updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), stable = 0 where patient_key = ?",
            {key[:1] for key in self._series},
        )

    def _take_new(self, con: sqlite3.Connection, items: Sequence[Incoming]) -> list[Incoming]:
        """Keep those that the archive has not yet, in a few statements; gives back all others."""
        known, sharing = known_keys(con, [item.identity for item in items])
        rows: list[tuple[object, ...]] = []
        others: list[Incoming] = []
        for new in items:
            key = new.identity.key
            if key in known:
                others.append(new)
                continue
            known.add(key)
            owner = self._place(con, new)
            keys = sharing.setdefault(new.identity.sop_uid, [])
            shared = (*self._parents[owner], *([SHARED_INSTANCE] if keys else ()))
            keys.append(key)
            rows.append(self._row(con, new, key, (*new.issues, *shared)))
            self._new.append(("instance", str(rows[-1][_ORTHANC_ID])))
            self._tell(new, "stored")
        con.executemany(_INSERT, rows)
        return others

    def _take(self, con: sqlite3.Connection, new: Incoming) -> None:
        row = con.execute("select * from instances where key = ?", (new.identity.key,)).fetchone()
        if row is None:
            self._new.append(("instance", new.identity.orthanc_id("instance")))
            self._keep(con, new, (*new.issues, *self._shared_uids(con, new)))
            self._tell(new, "stored")
            return
        old = stored_of(row, self._home.archive)
        verdict = _at_once(old, new) or self._verdicts.get(Pair.of(old, new))
        if verdict is None:
            self.undecided.append((old, new))
            return
        # It may have been passed on another file of the same content: only its hashes are this one's, too.
        new = replace(new, sha256=verdict.new.sha256, dataset_sha256=verdict.new.dataset_sha256)
        if verdict.unreadable:
            self._tell(new, "refused", verdict.reason)
        elif not verdict.same:
            self._keep_aside(con, new, verdict.reason)
        elif _takes_in(old, new):
            # Whoever sends bytes may let go of theirs: a file that is somebody else's is no place to keep them.
            self._keep(con, new, old.issues)
            self._tell(new, "duplicate", "kept from now on; before, there was a reference to a file elsewhere")
        elif verdict.identical and not is_intact(old):
            self._keep(con, new, old.issues)
            self._tell(new, "duplicate", "took the place of a stored file that was missing or altered")
        else:
            self._needless += [new.blob] if new.blob else []
            self._tell(new, "duplicate", verdict.reason)

    def _keep(self, con: sqlite3.Connection, new: Incoming, issues: Sequence[Issue]) -> None:
        self._place(con, new)
        con.execute(_INSERT, self._row(con, new, new.identity.key, issues))

    def _place(self, con: sqlite3.Connection, new: Incoming) -> tuple[str, str, str]:
        """Bring its file where it belongs, and make the rows above it; gives the key of its series."""
        if (new.blob is None) == (new.reference is None) or (new.blob and not new.sha256):
            raise InvalidInputError("an instance comes either as a hashed blob or as a reference")
        if new.blob and new.sha256:
            # First, so that the name becomes durable while the rows are written.
            self._move("instances", new, blob_path(self._home.archive, new.sha256))
        identity = new.identity
        owner = (identity.patient_key, identity.study_uid, identity.series_uid)
        if owner not in self._parents:
            self._insert_parents(con, new, owner)
        self._series.add(owner)
        return owner

    def _row(self, con: sqlite3.Connection, new: Incoming, key: str, issues: Sequence[Issue]) -> tuple[object, ...]:
        """Values of `_INSERT`; the next change of the feed is the instance's."""
        identity, reference = new.identity, new.reference
        self._last += 1
        form, places = self._facts.keep(con, key, self._last, new.facts)
        return (
            key,
            self._last,
            identity.patient_key,
            identity.patient_id,
            identity.issuer,
            identity.study_uid,
            identity.series_uid,
            identity.sop_uid,
            new.sop_class_uid,
            new.transfer_syntax_uid,
            new.size,
            new.header_length,
            new.dataset_offset,
            new.sha256,
            new.dataset_sha256,
            os.fsencode(reference.path) if reference else None,
            reference.mtime_ns if reference else None,
            reference.header_sha256 if reference else None,
            indexed_text(new.attributes, "instance"),
            issues_text(issues),
            identity.orthanc_id("instance"),
            form,
            places,
        )

    def _insert_parents(self, con: sqlite3.Connection, new: Incoming, owner: tuple[str, str, str]) -> None:
        made = _insert_parents(con, new)
        self._new += made
        if made:
            self._parents.clear()  # what is new may share its UID with another
        self._parents[owner] = shared_parents(con, new.identity)

    def _shared_uids(self, con: sqlite3.Connection, new: Incoming) -> list[Issue]:
        """A UID met again under another parent is kept and reported: looking it up alone is ambiguous from now on."""
        identity = new.identity
        owner = (identity.patient_key, identity.study_uid, identity.series_uid)
        issues = self._parents.get(owner)
        if issues is None:
            issues = shared_parents(con, identity)
        return [*issues, *shared_instance(con, identity)]

    def _keep_aside(self, con: sqlite3.Connection, new: Incoming, reason: str) -> None:
        note_conflict(con, new.identity.key, new.sha256, new.size, new.reference.path if new.reference else None)
        if new.blob and new.sha256:
            self._move("conflicts", new, self._home.conflicts / f"{new.sha256}.dcm")
        self._tell(new, "conflict", reason)

    def _move(self, table: Owner, new: Incoming, place: Path) -> None:
        assert new.blob
        assert new.sha256
        synced = new.blob in self._synced
        if not synced and place.exists():
            # What is there may be all that another row has, so nothing takes its place that a power cut would take.
            sync_all([new.blob])
            synced = True
        made = not place.parent.exists()
        if made:
            place.parent.mkdir(exist_ok=True)
        new.blob.replace(place)
        self.moves.append(Move(table, new.sha256, new.blob, place))
        # All but the last are synced by others meanwhile; to wake another thread for a single one takes longer.
        if self._unsynced is not None:
            self._syncing.append(in_background(self._unsynced))
        self._unsynced = partial(_sync_placed, place, content=not synced, folder=made)

    def _tell(self, new: Incoming, kind: OutcomeKind, reason: str = "") -> None:
        self.outcomes.append(Outcome(new.source, kind, reason, new.identity))


def _sync_placed(place: Path, *, content: bool, folder: bool) -> None:
    """Make a file durable, then its name, then that of its folder; a file system's journal takes all with the first."""
    if content:
        sync_content(place)
    sync_directory(place.parent)
    if folder:
        sync_directory(place.parent.parent)


def is_evident_duplicate(old: Stored | None, new: Incoming) -> bool:
    """Whether the ledger alone shows that nothing of a new instance has to be kept."""
    verdict = _at_once(old, new) if old else None
    return old is not None and verdict is not None and verdict.same and not _takes_in(old, new)


def _takes_in(old: Stored, new: Incoming) -> bool:
    return old.reference is not None and new.blob is not None


def _content(one: Stored | Incoming) -> tuple[object, ...]:
    if one.reference:
        return (one.reference, one.size)
    return (one.sha256,)


def _at_once(old: Stored, new: Incoming) -> Verdict | None:
    """Decide from what the ledger knows, without reading a file."""
    if old.reference and old.reference == new.reference and old.size == new.size:
        return Verdict(new, same=True, identical=True)
    if old.sha256 and old.sha256 == new.sha256:
        return Verdict(new, same=True, identical=True)
    if old.transfer_syntax_uid == new.transfer_syntax_uid and old.dataset_sha256 and new.dataset_sha256:
        same = old.dataset_sha256 == new.dataset_sha256
        return Verdict(new, same=same, identical=same, reason="" if same else OTHER)
    return None


def _insert_parents(con: sqlite3.Connection, new: Incoming) -> list[tuple[str, str]]:
    """Make the rows above an instance; level and Orthanc's name of those that were not there, from the series up."""
    identity = new.identity
    patient = identity.patient_key
    if con.execute(_SERIES, (patient, identity.study_uid, identity.series_uid)).fetchone():
        return []
    made: list[tuple[str, str]] = []
    parents: tuple[tuple[Level, str, tuple[str, ...]], ...] = (
        ("patient", _INSERT_PATIENT, (patient, identity.patient_id, identity.issuer)),
        ("study", _INSERT_STUDY, (patient, identity.study_uid)),
        ("series", _INSERT_SERIES, (patient, identity.study_uid, identity.series_uid)),
    )
    for level, sql, key in parents:
        name = identity.orthanc_id(level)
        if con.execute(sql, (*key, indexed_text(new.attributes, level), name)).rowcount:
            made.insert(0, (level, name))
    return made
