"""The one writer of the catalog: changes of the archive -> rows, a batch in a transaction.

It runs under the catalog's lock. A batch that was cut short leaves nothing; the next one begins where the last ended,
because the sequence number is committed with the rows.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb

from researchpacs.archive import Archive, Kept, Stored
from researchpacs.catalog import _ddl
from researchpacs.catalog._cohorts import insert_cohorts
from researchpacs.catalog._derive import Row, patient_row, series_row, study_row
from researchpacs.catalog._frames import FRAME_COLUMNS
from researchpacs.catalog._geometry import geometry_rows, move_frames, settle_frames
from researchpacs.catalog._instance import InstanceRows, is_recalled, read_instance, recall_instance
from researchpacs.catalog._labels import replace_labels
from researchpacs.catalog._lake import NAME, SCHEMA_VERSION
from researchpacs.catalog._object_tables import OBJECT_TABLES
from researchpacs.catalog._objects import says_more
from researchpacs.catalog._once import read_kept, replace_kept
from researchpacs.catalog._origins import replace_origins
from researchpacs.catalog._recalled import Bases
from researchpacs.catalog._rows import delete_rows, insert_rows, rows_where
from researchpacs.catalog._standing import Known, keys_row, known_series, near, remove, rows_of
from researchpacs.catalog._texts import add_texts, replace_texts
from researchpacs.catalog._tidy import committed_snapshot
from researchpacs.catalog._uncollected import uncollected
from researchpacs.model import Change

if TYPE_CHECKING:
    from researchpacs.dicom.values import Memory

__all__ = ["Batch", "Committer"]

BATCH_ROWS = 10_000
BATCH_S = 2.0
GIVE_UP_S = 60.0
TIDY_COMMITS = 100

_SERIES = ("patient_key", "StudyInstanceUID", "SeriesInstanceUID")
_STUDY = ("patient_key", "StudyInstanceUID")
_PATIENT = ("patient_key",)
_INSTANCE = (*_SERIES, "SOPInstanceUID")
_CHANGES = 1000

Key = tuple[str, ...]


@dataclass(slots=True)
class Batch:
    """Changes that become visible together."""

    last: int
    """The last change of the feed that is in it."""
    stored: dict[str, InstanceRows] = field(default_factory=dict)
    """By instance key."""
    touched: dict[str, Key] = field(default_factory=dict)
    """Patient, study, series and SOP Instance UID of all that was stored or deleted, by instance key."""


class Committer:
    """Follows an archive's change feed into a lake that is attached for writing.

    Parameters
    ----------
    con
        Has the lake attached.
    archive
        What it describes.
    more
        Called with the last change at the end of the feed; True where others have come since, which are waited for.
    """

    def __init__(
        self, con: duckdb.DuckDBPyConnection, archive: Archive, more: Callable[[int], bool] = lambda _: False
    ) -> None:
        self._con = con
        self._archive = archive
        self._more = more
        self._memory: Memory = {}
        self._bases = Bases()
        self._last = 0
        self.instances = 0
        """Instances written so far."""
        self.deleted = 0
        """Instances removed so far."""
        self.untidy = False
        """Whether so many small commits have come together that it is time for housekeeping."""

    def prepare(self, state: "_ddl.State | None") -> bool:
        """Make the tables where there are none; whether the catalog has to be made anew before it can be followed."""
        feed_id, _ = self._archive.last_change()
        if state is None:
            _ddl.set_options(self._con)
            self._in_transaction(lambda: _ddl.create_tables(self._con, feed_id))
            return False
        self._last = state.last
        return state.version < SCHEMA_VERSION or state.feed_id != feed_id

    def follow(self) -> int:
        """Commit batch after batch until the feed is at its end; the sequence number reached."""
        last, commits = self._last, 0
        for batch in self._batches(last):
            self._in_transaction(lambda batch=batch, since=last: self._apply(batch, since))  # type: ignore[misc]
            self._count(batch)
            last, commits = batch.last, commits + 1
        if self.instances and "facts" in self._archive.capabilities:
            self._archive.forget_facts(last)
        newest = committed_snapshot(self._con) if commits else 0
        self.untidy = newest // TIDY_COMMITS > (newest - commits) // TIDY_COMMITS
        return last

    def rebuild(self) -> int:
        """Make the catalog anew in one transaction, so that readers see the old one until the new one is complete."""
        feed_id, _ = self._archive.last_change()
        self._con.execute("begin")
        try:
            _ddl.drop_tables(self._con)
            _ddl.create_tables(self._con, feed_id)
            last = 0
            for batch in self._batches(0):
                self._apply(batch, last)
                self._count(batch)
                last = batch.last
            self._con.execute("commit")
        except BaseException:
            _undo(self._con)
            raise
        return last

    def _count(self, batch: Batch) -> None:
        self.instances += len(batch.stored)
        self.deleted += len(batch.touched) - len(batch.stored)

    # -- reading ------------------------------------------------------------------------------------------------------

    def _batches(self, since: int) -> Iterator[Batch]:
        """Cut the feed into batches of `BATCH_ROWS` instances or `BATCH_S` seconds, whichever comes first."""
        batch, begun = Batch(since), time.monotonic()
        _, newest = self._archive.last_change()
        while True:
            with uncollected():
                page = self._archive.changes(since, _CHANGES)
                stored = [change.key for change in page.items if change.kind == "stored"]
                kept = self._kept(stored)
                known = self._archive.rows([key for key in stored if key not in kept])
            changes = iter(page.items)
            while self._fill(batch, changes, known, kept, until=begun + BATCH_S):
                yield batch
                batch, begun = Batch(batch.last), time.monotonic()
            since = page.last
            if (page.done or not page.items) and not self._more(max(since, newest)):
                break
        # The newest changes may have been superseded, so that no page names them.
        since = max(since, newest)
        if batch.touched or batch.last < since:
            batch.last = since
            yield batch

    def _fill(
        self,
        batch: Batch,
        changes: Iterator[Change],
        known: Mapping[str, Stored],
        kept: Mapping[str, Kept],
        *,
        until: float,
    ) -> bool:
        """Take changes until the batch is full or its time over; whether it is."""
        with uncollected():
            for change in changes:
                self._take(batch, change, known, kept)
                if len(batch.touched) >= BATCH_ROWS or time.monotonic() >= until:
                    return True
        return False

    def _take(self, batch: Batch, change: Change, known: Mapping[str, Stored], kept: Mapping[str, Kept]) -> None:
        identity = change.identity
        batch.last = change.seq
        batch.touched[change.key] = (identity.patient_key, identity.study_uid, identity.series_uid, identity.sop_uid)
        batch.stored.pop(change.key, None)
        # What was deleted meanwhile is not known any more; its deletion comes later in the feed.
        if change.kind == "stored" and change.key in kept:
            batch.stored[change.key] = recall_instance(change.key, identity, kept[change.key], self._bases)
        elif change.kind == "stored" and change.key in known:
            batch.stored[change.key] = read_instance(self._archive, known[change.key], self._memory)

    def _kept(self, keys: Sequence[str]) -> dict[str, Kept]:
        """What the archive kept of headers, as far as it tells all."""
        if "facts" not in self._archive.capabilities:
            return {}
        return {key: kept for key, kept in self._archive.facts(keys).items() if is_recalled(kept)}

    # -- writing ------------------------------------------------------------------------------------------------------

    def _apply(self, batch: Batch, since: int) -> None:
        """Bring every table from the state at change `since` to that after the batch."""
        if batch.touched:
            with uncollected():
                self._apply_instances(batch)
        self._replace_labels(since)
        self._replace_origins(since)
        self._insert_cohorts(since, batch.last)
        self._con.execute(f"update {NAME}.main.sync_state set last_seq = ?", [batch.last])  # noqa: S608

    def _apply_instances(self, batch: Batch) -> None:
        series = {key[:3] for key in batch.touched.values()}
        known = known_series(self._con, {key[0] for key in series})
        instances = self._replace_instances(batch, series, known)
        made = self._replace_series(series, known, _grouped(instances, _SERIES))
        self._replace_geometry(batch, made, series & known.keys())
        self._replace_above(series, known, made)

    def _replace_instances(self, batch: Batch, series: set[Key], known: Known) -> list[Row]:
        """Write what was stored, but for its frames, remove what was deleted; all instances of the series touched."""
        before = read_kept(self._con, series & known.keys())
        there = [row for kept in before.values() for row in kept.rows]
        self._forget([row for row in there if row["instance_key"] in batch.touched], batch)
        new = list(batch.stored.values())
        now = [row for row in there if row["instance_key"] not in batch.touched] + [rows.instance for rows in new]
        grouped = _grouped(now, _SERIES)
        replace_kept(self._con, before, {key: grouped.get(key, []) for key in series}, set(batch.stored))
        insert_rows(self._con, "issues", [row for rows in new for row in rows.issues])
        for table in (*OBJECT_TABLES, "object_references"):
            insert_rows(self._con, table, [row for rows in new for row in rows.objects.get(table, ())])
        return now

    def _forget(self, gone: Sequence[Row], batch: Batch) -> None:
        """Remove instances from every other table that has rows of them."""
        if not gone:
            return
        of_series = {(row["SeriesInstanceUID"], row["instance_key"]) for row in gone}
        delete_rows(self._con, "frames", _INSTANCE, [batch.touched[row["instance_key"]] for row in gone])
        delete_rows(self._con, "issues", ("SeriesInstanceUID", "instance_key"), of_series)
        delete_rows(self._con, "object_references", ("SeriesInstanceUID", "object_key"), of_series)
        spoke = {(row["instance_key"],) for row in gone if says_more(row["SOPClassUID"] or "")}
        for table in OBJECT_TABLES:
            delete_rows(self._con, table, ("object_key",), spoke)

    def _replace_series(self, keys: set[Key], known: Known, below: Mapping[Key, list[Row]]) -> list[Row]:
        """Derive the rows of series again; one with nothing below is gone."""
        there = keys & known.keys()
        made = [series_row(below[key]) for key in sorted(keys) if key in below]
        texts = add_texts(self._con, made, below)
        remove(self._con, "series", _SERIES, there, near(known[key] for key in there))
        remove(self._con, "series_keys", _SERIES, there, near((known[key] for key in there), "patient_key"))
        insert_rows(self._con, "series", made)
        insert_rows(self._con, "series_keys", [keys_row(row) for row in made])
        replace_texts(self._con, {known[key]["text_key"] for key in there} - {None}, texts)
        return made

    def _replace_above(self, keys: set[Key], known: Known, series: Sequence[Row]) -> None:
        """Derive the rows of studies and patients again from all their series and studies."""
        studies, patients = {key[:2] for key in keys}, {key[:1] for key in keys}
        beside = {key for key in known.keys() - keys if key[:2] in studies}
        others = rows_of(self._con, "series", _SERIES, beside, near(known[key] for key in beside))
        there = {key[:2] for key in known}
        below = _grouped([*series, *others], _STUDY)
        made = [study_row(below[key]) for key in sorted(studies) if key in below]
        dates = near((row for key, row in known.items() if key[:2] in studies), "StudyDate")
        remove(self._con, "studies", _STUDY, there & studies, dates)
        insert_rows(self._con, "studies", made)
        dates = near((row for key, row in known.items() if key[:2] not in studies), "StudyDate")
        more = rows_of(self._con, "studies", _STUDY, there - studies, dates)
        above = _grouped([*made, *more], _PATIENT)
        delete_rows(self._con, "patients", _PATIENT, {key[:1] for key in there})
        insert_rows(self._con, "patients", [patient_row(above[key]) for key in sorted(patients) if key in above])

    def _replace_geometry(self, batch: Batch, series: Sequence[Row], there: set[Key]) -> None:
        """Derive the geometry of series again, and write the frames that came, with the stacks they belong to.

        Frames of series that are `there` already are read with those that came before; those of all others are at hand.
        """
        new = _grouped((row for rows in batch.stored.values() for row in rows.frames), _SERIES)
        insert_rows(self._con, "frames", [row for key in new.keys() & there for row in new[key]])
        names = (*_SERIES, "stack", *FRAME_COLUMNS)
        uids = {key[2] for key in there}
        read = _grouped(rows_where(self._con, "frames", "SeriesInstanceUID", uids, only=names), _SERIES)
        delete_rows(self._con, "geometry", _SERIES, there)
        geometry: list[Row] = []
        elsewhere: list[Row] = []
        for row in series:
            key = _key(row, _SERIES)
            frames = (read if key in there else new).get(key, [])
            made, moved = geometry_rows(row, frames)
            geometry += made
            if key in there:
                elsewhere += moved
            else:
                settle_frames(frames, moved)
        insert_rows(self._con, "geometry", geometry)
        move_frames(self._con, elsewhere)
        insert_rows(self._con, "frames", [row for key in new.keys() - there for row in new[key]])

    def _replace_labels(self, since: int) -> None:
        if "label-feed" in self._archive.capabilities:
            changes = self._archive.label_changes(since)
            replace_labels(self._con, changes)

    def _replace_origins(self, since: int) -> None:
        if "origins" in self._archive.capabilities:
            replace_origins(self._con, self._archive.origin_changes(since))

    def _insert_cohorts(self, since: int, last: int) -> None:
        if "cohorts" in self._archive.capabilities:
            insert_cohorts(self._con, self._archive.cohorts_announced(since, last))

    def _in_transaction(self, work: Callable[[], None]) -> None:
        """Commit `work`, again after a while where another client holds the metadata."""
        give_up, wait = time.monotonic() + GIVE_UP_S, 0.01
        while True:
            try:
                self._con.execute("begin")
                work()
                self._con.execute("commit")
            except duckdb.Error as error:
                _undo(self._con)
                if not _is_busy(error) or time.monotonic() > give_up:
                    raise
                time.sleep(wait)
                wait = min(2 * wait, 1.0)
            except BaseException:
                _undo(self._con)
                raise
            else:
                return


def _undo(con: duckdb.DuckDBPyConnection) -> None:
    try:
        con.execute("rollback")
    except duckdb.TransactionException:
        return  # a commit that failed has ended the transaction


def _is_busy(error: duckdb.Error) -> bool:
    if "disk is full" in str(error):
        return False
    return isinstance(error, duckdb.TransactionException) or "locked" in str(error) or "busy" in str(error)


def _grouped(rows: Iterable[Row], names: Sequence[str]) -> dict[Key, list[Row]]:
    found: dict[Key, list[Row]] = {}
    for row in rows:
        found.setdefault(_key(row, names), []).append(row)
    return found


def _key(row: Row, names: Sequence[str]) -> Key:
    return tuple([row[name] for name in names])
