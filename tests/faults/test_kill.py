"""Killed at any moment, an archive loses nothing it acknowledged and leaves nothing that needs repair.

Killed are ingests, deletions, syncs and rebuilds of the catalog, its compaction, and the freezing of cohorts.

A round starts one of `ACTIONS`, kills it after a random number of steps and holds the home to `CLAIMS`. Both are lists
of their own, so that what is kept beside the archive can be killed and checked in the same rounds.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from pydicom import Dataset
from pydicom.uid import ComprehensiveSRStorage

import researchpacs as rp
from researchpacs.archive import EmbeddedArchive
from researchpacs.catalog import Catalog
from researchpacs.cohort._members import digest_of
from researchpacs.errors import NotFoundError
from researchpacs.ingest import ingest
from researchpacs.model import Find
from researchpacs.storage.home import Home
from researchpacs.testing import small_ct

from .invariants import all_rows, counts_of_levels

_SEED = 20240229
_FILES = 240
_REPORTS = 12
"""Every so many files one is a report."""
_MANY = 900

_INGEST = """
import sys
import time
from researchpacs.archive import EmbeddedArchive
from researchpacs.ingest import ingest
from researchpacs.storage.home import Home

home = Home.open(sys.argv[1])
archive = EmbeddedArchive(home)

def tell(*words):
    sys.stdout.write(" ".join(words) + "\\n")
    sys.stdout.flush()

def store(items):
    for outcome in archive.store(items):
        tell(outcome.kind, outcome.identity.key)
        time.sleep(0.002)  # or a kill would find the work done
        yield outcome

tell("ready")
ingest(sys.argv[2], store=store, home=home, workers=2)
"""
_INGEST_AND_DELETE = (
    _INGEST
    + """
from researchpacs.model import Find
for row in list(archive.find(Find("instance")))[::3]:
    (location,) = archive.locate([row["SOPInstanceUID"]])
    key = next(change.key for change in archive.changes(0, 10**6).items if change.identity.sop_uid == location.sop_uid)
    tell("deleting", key)
    archive.delete("instance", key)
    tell("deleted", key)
"""
)
_FOLLOW = """
import threading
import researchpacs as rp
from researchpacs.archive import EmbeddedArchive
from researchpacs.catalog import Catalog
from researchpacs.cohort._members import digest_of
from researchpacs.storage.home import Home

def follow(home, rebuild):
    archive = EmbeddedArchive(home)
    catalog = Catalog(home, archive)
    while True:
        catalog.sync(rebuild=rebuild)

threading.Thread(target=follow, args=(Home.open(sys.argv[1]), {rebuild}), daemon=True).start()
"""
_AND_END = "import os\nos._exit(0)  # a thread is still at work\n"
_INGEST_AND_SYNC = "import sys" + _FOLLOW.format(rebuild=False) + _INGEST + _AND_END
_DELETE_AND_SYNC = "import sys" + _FOLLOW.format(rebuild=False) + _INGEST_AND_DELETE + _AND_END
_REBUILD = "import sys" + _FOLLOW.format(rebuild=True) + _INGEST + "threading.Event().wait()"
_WITHOUT_END = """
import sys
import researchpacs as rp

pacs = rp.connect(sys.argv[1])

def tell(*words):
    sys.stdout.write(" ".join(words) + "\\n")
    sys.stdout.flush()

def turn_over():
    report = pacs.ingest(sys.argv[2], progress=False)
    keys = dict(pacs.sql("select SOPInstanceUID, instance_key from instances").fetchall())
    for row in report.df().itertuples():
        tell(row.outcome, keys.get(row.SOPInstanceUID, ""))
    for number, uid in enumerate(list(keys)[::3]):
        tell("deleting", keys[uid])
        pacs.archive.delete("instance", keys[uid])
        tell("deleted", keys[uid])
        if number % 20 == 0:
            pacs.catalog.sync()
"""
_COMPACT = (
    _WITHOUT_END
    + """
import researchpacs.catalog._committer as committer
import researchpacs.catalog._housekeeping as housekeeping
from researchpacs.catalog._tidy import chores

def telling(con):
    for chore in chores(con, keep_s=0):
        yield lambda: (tell("tidying"), chore(), tell("tidied"))

committer.BATCH_ROWS, committer.TIDY_COMMITS = 60, 1
housekeeping.chores, housekeeping.QUIET_S, housekeeping.PAUSE_S = telling, 0, 0.06
tell("ready")
while True:
    turn_over()
"""
)
_FREEZE = (
    _WITHOUT_END
    + """
import os
import threading

def freeze():
    number = 0
    while True:
        number += 1
        hits = pacs.search("series", Modality=["CT", "SR"])
        if hits:
            cohort = pacs.freeze(hits, name=f"{os.getpid()}-{number}")
            tell("frozen", cohort.name, cohort.digest, str(len(cohort)))

threading.Thread(target=freeze, daemon=True).start()
tell("ready")
while True:
    turn_over()
"""
)
_ANY = ("stored", "duplicate", "deleting", "deleted")
ACTIONS: list[tuple[str, tuple[str, ...], int]] = [
    (_INGEST_AND_SYNC, _ANY, 240),
    (_FREEZE, ("frozen",), 3),
    (_INGEST_AND_DELETE, _ANY, 300),
    (_REBUILD, _ANY, 240),
    (_COMPACT, ("tidying", "tidied"), 60),
    (_DELETE_AND_SYNC, _ANY, 400),
    (_INGEST, _ANY, 240),
]
"""Programs with the arguments home and folder, that print ``<outcome> <key>`` after each acknowledged step; with the
steps that are counted, and how many of them may come before the kill."""


@dataclass
class Told:
    """What the killed processes acknowledged so far."""

    stored: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    uncertain: set[str] = field(default_factory=set)
    """Deletions that were begun and not acknowledged."""
    frozen: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Digest and number of series of each cohort, by name."""


def _the_archive_is_whole(home: Home, told: Told) -> None:
    archive = EmbeddedArchive(home)
    report = archive.verify()
    assert report.problems == ()
    for key in told.stored:
        assert archive.read(key)
    for key in told.deleted:
        with pytest.raises(NotFoundError):
            archive.read(key)
    keys = {change.key for change in archive.changes(0, 10**6).items if change.kind == "stored"}
    assert keys >= told.stored
    assert set(archive.rows(sorted(keys))) == keys
    archive.close()


def _the_catalog_agrees_with_the_ledger(home: Home, _told: Told) -> None:
    archive = EmbeddedArchive(home)
    catalog = Catalog(home, archive)
    kept = {change.key for change in archive.changes(0, 10**6).items if change.kind == "stored"}
    counts = catalog.sql(counts_of_levels(catalog)).fetchall()
    assert counts == [(True,)]
    assert {key for (key,) in catalog.sql("select instance_key from instances").fetchall()} == kept
    assert not catalog.mended, "a kill damaged the catalog"
    catalog.close()
    archive.close()


def _the_catalog_equals_one_made_anew(home: Home) -> None:
    archive = EmbeddedArchive(home)
    catalog = Catalog(home, archive)
    found = all_rows(catalog)
    catalog.sync(rebuild=True)
    anew = all_rows(catalog)
    assert set(anew) == set(found)
    for table, rows in anew.items():
        assert found[table] == rows, table
    catalog.close()
    archive.close()


def _the_cohorts_are_as_they_were_frozen(home: Home, told: Told) -> None:
    with rp.connect(home.path) as pacs:
        for name, (digest, length) in told.frozen.items():
            cohort = pacs.cohort(name)
            assert (cohort.digest, len(cohort), digest_of(cohort.members)) == (digest, length, digest)
        query = (
            "select c.name, c.digest, count(*) from cohorts c join cohort_members m on m.cohort = c.name group by all"
        )
        in_sql = {name: (digest, length) for name, digest, length in pacs.sql(query).fetchall()}
        assert in_sql.items() >= told.frozen.items()


CLAIMS: list[Callable[[Home, Told], None]] = [
    _the_archive_is_whole,
    _the_catalog_agrees_with_the_ledger,
    _the_cohorts_are_as_they_were_frozen,
]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for number in range(_FILES):
        ds = small_ct(number, size=64) if number % _REPORTS else _report(number)
        ds.save_as(folder / f"{number:04}", enforce_file_format=True)
    return folder


def _report(number: int) -> Dataset:
    """A structured report with a number, about an image: it has rows in tables of its own."""
    ds = small_ct(number, size=2)
    image, reference, measured, item = small_ct(number + 1, size=2), Dataset(), Dataset(), Dataset()
    del ds.PixelData, ds.Rows, ds.Columns, ds.BitsAllocated
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = ComprehensiveSRStorage
    ds.Modality, ds.SeriesInstanceUID = "SR", f"{ds.SeriesInstanceUID}.88"
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = str(number), [_code("mm", "UCUM")]
    item.ValueType, item.RelationshipType, item.ReferencedSOPSequence = "NUM", "CONTAINS", [reference]
    item.ConceptNameCodeSequence, item.MeasuredValueSequence = [_code("410668003", "SCT")], [measured]
    ds.ValueType, ds.ConceptNameCodeSequence, ds.ContentSequence = "CONTAINER", [_code("126000", "DCM")], [item]
    return ds


def _code(value: str, scheme: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, value
    return ds


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(_MANY):
        small_ct(number).save_as(folder / f"{number:04}", enforce_file_format=True)
    return folder


def test_what_is_killed_at_any_moment_loses_nothing(home: Path, scans: Path) -> None:
    _rounds(len(ACTIONS), home, scans, seed=_SEED, anew_every=4)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(4))
def test_two_hundred_kills_at_any_moment_lose_nothing(home: Path, scans: Path, part: int) -> None:
    """In four archives of fifty kills each: what one kill leaves behind meets the next."""
    _rounds(50, home, scans, seed=_SEED + part, anew_every=5)


def test_an_interrupted_ingest_keeps_what_it_acknowledged_and_leaves_no_temporary_file(home: Path, many: Path) -> None:
    child = _start(_INGEST, home, many)
    lines = _read_until(child, acknowledged=1)
    workers = psutil.Process(child.pid).children()
    child.send_signal(signal.SIGINT)
    rest, errors = child.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    told = _told(lines + rest.splitlines())
    assert 0 < len(told.stored) < _MANY
    opened = Home.open(home)
    assert [path.name for path in opened.tmp.iterdir()] == ["sweep.lock"]
    _the_archive_is_whole(opened, told)
    assert EmbeddedArchive(opened).verify().leftovers == ()
    assert [worker.status() for worker in workers if worker.is_running()] == []


def test_workers_end_with_the_process_that_started_them(home: Path, many: Path) -> None:
    child = _start(_INGEST, home, many)
    _read_until(child, acknowledged=1)
    workers = psutil.Process(child.pid).children()
    assert workers
    child.kill()
    child.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def test_a_full_disk_is_a_row_for_each_file_and_more_room_is_all_it_takes(tmp_path: Path, scans: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("a small disk is missing: run as root, so that a tmpfs can be mounted")
    try:
        home = Home.open(disk / "home")
        archive = EmbeddedArchive(home)
        report = ingest(scans, store=archive.store, home=home)
        assert report.stored > 10
        assert report.refused > 10
        assert report.stored + report.refused == _FILES
        assert [reason.split(";")[0] for reason in report.reasons] == ["no space left on the disk of the archive"]
        assert archive.verify().ok
        assert len(list(archive.find(Find("instance")))) == report.stored
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        again = ingest(scans, store=archive.store, home=home)
        assert (again.stored, again.duplicates, again.refused) == (report.refused, report.stored, 0)
        checked = archive.verify()
        assert (checked.ok, checked.checked, checked.leftovers) == (True, _FILES, ())
        archive.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def _rounds(rounds: int, home: Path, scans: Path, *, seed: int, anew_every: int) -> None:
    chance, told, killed = random.Random(seed), Told(), 0
    for number in range(rounds):
        program, words, most = ACTIONS[number % len(ACTIONS)]
        child = _start(program, home, scans)
        lines = _read_until(child, acknowledged=chance.randint(1, most), words=words)
        time.sleep(chance.uniform(0, 0.1))
        child.kill()
        said, errors = _rest(child)
        assert child.returncode in (0, -signal.SIGKILL), errors
        _add(told, lines + said)
        killed += child.returncode == -signal.SIGKILL
        for claim in CLAIMS:
            claim(Home.open(home), told)
        if number % anew_every == anew_every - 1:
            _the_catalog_equals_one_made_anew(Home.open(home))
    assert killed > rounds // 2
    assert told.frozen
    _the_catalog_equals_one_made_anew(Home.open(home))
    _what_is_left_is_taken_in(Home.open(home), scans)


def _what_is_left_is_taken_in(home: Home, scans: Path) -> None:
    archive = EmbeddedArchive(home)
    report = ingest(scans, store=archive.store, home=home)
    assert (report.conflicts, report.refused) == (0, 0)
    checked = archive.verify()
    assert (checked.ok, checked.checked, checked.leftovers) == (True, _FILES, ())
    expected = {hashlib.sha256(path.read_bytes()).hexdigest() for path in scans.iterdir()}
    assert {path.stem for path in home.archive.rglob("*.dcm")} == expected
    assert [path.name for path in home.tmp.iterdir()] == ["sweep.lock"]
    archive.close()


def _start(action: str, home: Path, scans: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", action, str(home), str(scans)]
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1"}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _read_until(child: subprocess.Popen[str], *, acknowledged: int, words: tuple[str, ...] = _ANY) -> list[str]:
    """What a process says until it has acknowledged so many steps, or has ended."""
    assert child.stdout is not None
    lines = [child.stdout.readline().strip()]
    assert lines == ["ready"], child.communicate()
    while acknowledged and (line := child.stdout.readline()):
        lines.append(line.strip())
        acknowledged -= line.startswith(words)
    return lines


def _rest(child: subprocess.Popen[str]) -> tuple[list[str], str]:
    """What a process that was killed had said beyond; communicate() would not look at what is read ahead already."""
    assert child.stdout is not None
    assert child.stderr is not None
    lines, errors = child.stdout.read().splitlines(), child.stderr.read()
    child.stderr.close()
    child.stdout.close()
    child.wait()
    return lines, errors


def _told(lines: list[str]) -> Told:
    told = Told()
    _add(told, lines)
    return told


def _add(told: Told, lines: list[str]) -> None:
    """Follow what a process said; the last line may be half."""
    # What was deleted earlier may be there again: each process ingests all, and may be killed before it says so.
    told.uncertain |= told.deleted
    told.deleted.clear()
    # A deletion that nobody acknowledged may have happened, or not, until the instance is heard of again.
    for line in lines:
        kind, _, key = line.partition(" ")
        if kind == "frozen" and len(words := key.split(" ")) == 3 and len(words[1]) == 64:
            told.frozen[words[0]] = words[1], int(words[2])
        if len(key) != 40:
            continue
        told.uncertain.discard(key)
        told.deleted.discard(key)
        if kind in ("stored", "duplicate"):
            told.stored.add(key)
        elif kind == "deleting":
            told.stored.discard(key)
            told.uncertain.add(key)
        elif kind == "deleted":
            told.deleted.add(key)
