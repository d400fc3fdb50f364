"""The archive that needs no server: content-addressed files below a home, one row each in the ledger.

A file is complete before the archive sees it. It is renamed into place and synced, and its row committed after that,
under one write lock, and acknowledged after the commit. So a row always has its file, and a process killed at any
moment leaves at most a file without a row, which the next ingest of the same content replaces.
"""

import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from researchpacs.archive._attachments import Attachments
from researchpacs.archive._batch import Batch, Move, Pair, is_evident_duplicate
from researchpacs.archive._cohorts import CohortLedger
from researchpacs.archive._conflicts import Conflict, conflicts_in
from researchpacs.archive._content import Verdict, judge, open_checked
from researchpacs.archive._delete import delete_rows
from researchpacs.archive._facts import Kept, facts_of, forget_facts
from researchpacs.archive._find import find_rows
from researchpacs.archive._frames import frames_of_series, remember
from researchpacs.archive._jobs import Jobs
from researchpacs.archive._labels import LabelChange, Labels
from researchpacs.archive._ledger_rows import changes_after, last_change, rows_below, rows_by_key, rows_named
from researchpacs.archive._metadata import Metadata
from researchpacs.archive._origins import OriginChange, Origins
from researchpacs.archive._series import instances_of, look_up
from researchpacs.archive._stored import PLACE_COLUMNS, Stored, blob_path, location_of, refers, stored_of
from researchpacs.archive._verify import VerifyReport, verify
from researchpacs.archive.resources import Resources
from researchpacs.dicom.frame_record import Record
from researchpacs.errors import InvalidInputError
from researchpacs.model import Changes, Find, Frame, Incoming, Level, Location, Outcome, Row
from researchpacs.storage.durable import sync_all, sync_directory
from researchpacs.storage.full import is_disk_full
from researchpacs.storage.home import Home
from researchpacs.storage.ledger import Ledger, scripts_of

__all__ = ["EmbeddedArchive"]

_BATCH = 256
_REFERENCES = 4096
_BATCH_BYTES = 512 << 20
_BATCH_S = 0.3
_SYNCED_UNDER_LOCK = 32 << 20


class EmbeddedArchive:
    """An archive in a folder.

    Any number of processes may have it open, each of them with any number of threads.

    Parameters
    ----------
    home
        The folder.
    """

    capabilities = frozenset(
        {
            "byte-ranges",
            "change-feed",
            "cohorts",
            "delete",
            "facts",
            "frames",
            "label-feed",
            "labels",
            "original-headers",
            "origins",
            "reference",
            "shared-uids",
            "uid-index",
            "verify",
        }
    )

    def __init__(self, home: Home) -> None:
        self.home = home
        self.ledger = Ledger(home.ledger_path)
        self.ledger.migrate("archive", scripts_of("researchpacs.archive"))
        self.resources = Resources(self.ledger, home.archive)
        self.labels = Labels(self.ledger)
        self.origins = Origins(self.ledger)
        self.cohorts = CohortLedger(self.ledger)
        self.metadata = Metadata(self.ledger)
        self.attachments = Attachments(home, self.ledger)
        self.jobs = Jobs(home, self.ledger)

    # -- in -----------------------------------------------------------------------------------------------------------

    def store(self, items: Iterable[Incoming]) -> Iterator[Outcome]:
        """Keep instances, many in one commit; an outcome is given out only after the commit."""
        waiting: list[Incoming] = []
        oldest, size = 0.0, 0
        for item in items:
            if not waiting:
                oldest, size = time.monotonic(), 0
            waiting.append(item)
            size += item.size if item.blob else 0
            many = _BATCH if item.blob else _REFERENCES  # which bring no bytes that have to reach the disk first
            if len(waiting) >= many or size >= _BATCH_BYTES or time.monotonic() - oldest > _BATCH_S:
                yield from self._store(waiting)
                waiting = []
        if waiting:
            yield from self._store(waiting)

    def _store(self, waiting: list[Incoming]) -> Iterator[Outcome]:
        verdicts: dict[Pair, Verdict] = {}
        synced: set[Path] = set()
        while waiting:
            try:
                synced |= self._sync(waiting, synced)
                batch = self._commit(waiting, verdicts, synced)
            except (sqlite3.OperationalError, OSError) as error:
                if not is_disk_full(error):
                    raise
                # The temporary files of one half make room for the other.
                kept = len(waiting) // 2
                yield from [_given_up(item) for item in waiting[kept:]]
                waiting = waiting[:kept]
                continue
            yield from batch.outcomes
            # Comparing contents may take seconds, so it happens between transactions, never inside one.
            for old, new in batch.undecided:
                verdicts[Pair.of(old, new)] = judge(old, new)
            waiting = [new for _, new in batch.undecided]

    def make_folders(self) -> None:
        """Have all folders of files, lest whoever stores the first one in each waits for its name to be durable.

        Where the disk is full there are as many as there were: reading goes on without them.
        """
        missing = [folder for number in range(256) if not (folder := self.home.archive / f"{number:02x}").exists()]
        try:
            for folder in missing:
                folder.mkdir(exist_ok=True)
            if missing:
                sync_directory(self.home.archive)
        except OSError as error:
            if not is_disk_full(error):
                raise

    def _sync(self, items: Sequence[Incoming], done: Collection[Path]) -> set[Path]:
        """Make temporary files durable before the lock is taken; those of evident duplicates need not be.

        Not where they are few bytes: under the lock, content and name are synced with one entry of the file system's
        journal while the rows are written, and nobody waits long.
        """
        unsynced = [item for item in items if item.blob and item.blob not in done]
        if sum(item.size for item in unsynced) <= _SYNCED_UNDER_LOCK:
            return set()
        known = self.rows([item.identity.key for item in unsynced]) if unsynced else {}
        wanted = {
            item.blob for item in unsynced if item.blob and not is_evident_duplicate(known.get(item.identity.key), item)
        }
        sync_all(wanted)
        return wanted

    def _commit(self, items: list[Incoming], verdicts: Mapping[Pair, Verdict], synced: Collection[Path]) -> Batch:
        batch = Batch(self.home, verdicts, synced)
        try:
            with self.ledger.writing() as con:
                batch.run(con, items)
        except BaseException:
            self._take_back(batch.moves)
            raise
        batch.discard()
        return batch

    def delete(self, level: Level, uid: str) -> int:
        """Remove an object and all below it; files that are only referred to stay where they are."""
        with self.ledger.writing() as con:
            rows = rows_below(con, level, uid)
            delete_rows(con, rows)
        self._remove_files(rows)
        return len(rows)

    def delete_instances(self, keys: Sequence[str]) -> int:
        """Remove instances by `Identity.key` in one transaction; those that are not there any more do not count."""
        with self.ledger.writing() as con:
            rows = rows_by_key(con, keys)
            delete_rows(con, rows)
        self._remove_files(rows)
        return len(rows)

    def _remove_files(self, rows: Sequence[sqlite3.Row]) -> None:
        # A step of its own, so that a process killed in between leaves a file without a row, never the reverse; under
        # the lock, so that no other process stores the same content meanwhile.
        with self.ledger.writing() as con:
            for sha256 in (row["sha256"] for row in rows if row["reference_path"] is None):
                if not refers(con, "instances", sha256):
                    blob_path(self.home.archive, sha256).unlink(missing_ok=True)

    def _take_back(self, moves: Sequence[Move]) -> None:
        """Undo what a failed transaction renamed, under the lock that keeps others from taking it over meanwhile."""
        if not moves:
            return
        with self.ledger.writing() as con:
            for move in moves:
                if not refers(con, move.table, move.sha256):
                    move.place.replace(move.blob)

    # -- out ----------------------------------------------------------------------------------------------------------

    def read(self, uid: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an instance's file.

        Raises
        ------
        ConflictError
            The file is not the one that was ingested; only a file that stayed where it is can change like that.
        NotFoundError
            No such instance, or its file is gone.
        """
        if offset < 0 or (length is not None and length < 0):
            raise InvalidInputError("offset and length are counts of bytes, zero or more")
        (stored,) = self._named([uid])
        with open_checked(stored) as file:
            file.seek(offset)
            return file.read(-1 if length is None else length)

    def header(self, uid: str) -> bytes:
        """The bytes of an instance's file up to its pixel data."""
        (place,) = self.locate([uid])
        return self.read(uid, 0, place.header_length)

    def locate(self, uids: Sequence[str]) -> Sequence[Location]:
        """Where instances are, in the order asked for."""
        folder = str(self.home.archive)
        with self.ledger.reading() as con:
            rows = rows_named(con, uids, PLACE_COLUMNS)
        return [location_of(row, folder) for row in rows]

    def rows(self, keys: Sequence[str]) -> Mapping[str, Stored]:
        """What is known of instances, by `Identity.key`; those that are not there any more are left out."""
        with self.ledger.reading() as con:
            found = rows_by_key(con, keys)
        return {row["key"]: stored_of(row, self.home.archive) for row in found}

    def facts(self, keys: Sequence[str]) -> Mapping[str, Kept]:
        """What was taken from the headers of instances when they came, by `Identity.key`, as far as it is kept."""
        with self.ledger.reading() as con:
            return facts_of(con, keys)

    def forget_facts(self, last: int) -> None:
        """Drop the facts of what was stored up to a change of the feed: the catalog has them."""
        with self.ledger.writing() as con:
            forget_facts(con, last)

    def frames(self, series_uid: str) -> list[Frame] | None:
        """All frames of a series, in no order; None where those of an instance are not known yet."""
        with self.ledger.reading() as con:
            return frames_of_series(con, series_uid)

    def remember_frames(self, series_uid: str, records: Mapping[str, Record], seq: int) -> None:
        """Keep the frames of instances of a series by SOPInstanceUID, as they were at change `seq`."""
        with self.ledger.writing() as con:
            remember(con, series_uid, records, seq)

    def look_up(self, level: Level, uid: str) -> list[tuple[str, ...]]:
        """Patient key and UIDs of the studies or series of a UID, else of those whose UID begins so; two at most."""
        with self.ledger.reading() as con:
            return look_up(con, level, uid)

    def instances_of(self, owner: tuple[str, ...]) -> list[tuple[str, str]]:
        """Key and SOPInstanceUID of the instances of a series by InstanceNumber; it is named as `look_up` does."""
        with self.ledger.reading() as con:
            return instances_of(con, owner)

    def _named(self, names: Sequence[str]) -> list[Stored]:
        """The instances of these UIDs or keys, in the same order."""
        with self.ledger.reading() as con:
            rows = rows_named(con, names)
        return [stored_of(row, self.home.archive) for row in rows]

    def find(self, query: Find) -> Iterator[Row]:
        """Main attributes of what matches, its parents' included."""
        with self.ledger.reading() as con:
            rows = find_rows(con, query)
        return iter(rows)

    def conflicts(self) -> Sequence[Conflict]:
        """What was kept aside, in the order in which it came."""
        with self.ledger.reading() as con:
            return conflicts_in(con, self.home.conflicts)

    # -- what happened ------------------------------------------------------------------------------------------------

    def changes(self, since: int, limit: int) -> Changes:
        """What was stored and deleted after sequence number `since`, oldest first."""
        with self.ledger.reading() as con:
            return changes_after(con, since, limit)

    def last_change(self) -> tuple[str, int]:
        """The feed's id and its highest sequence number."""
        with self.ledger.reading() as con:
            return last_change(con)

    def label_changes(self, since: int) -> Sequence[LabelChange]:
        """The labels of the objects whose labels changed after sequence number `since`."""
        return self.labels.changed_since(since)

    def origin_changes(self, since: int) -> Sequence[OriginChange]:
        """The origins of the series whose origin changed after sequence number `since`."""
        return self.origins.changed_since(since)

    def cohorts_announced(self, since: int, last: int) -> Sequence[Mapping[str, Any]]:
        """The cohorts frozen by changes after `since` up to `last` of the feed."""
        return self.cohorts.announced(since, last)

    def refresh(self) -> None:
        """Nothing: whoever changes this archive writes its feed."""

    # -- keep ---------------------------------------------------------------------------------------------------------

    def verify(self) -> VerifyReport:
        """Read every file again and compare it with its hash; hash the references that nobody has read in full."""
        return verify(self.home, self.ledger)

    def close(self) -> None:
        """Give back the ledger's files."""
        self.ledger.close()


def _given_up(item: Incoming) -> Outcome:
    if item.blob:
        item.blob.unlink(missing_ok=True)
    reason = "no space left on the disk of the archive; free some and ingest again"
    return Outcome(item.source, "refused", reason, item.identity)
