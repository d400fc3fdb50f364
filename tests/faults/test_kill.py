"""Killed at any moment, an ingest loses nothing it acknowledged and leaves nothing that needs repair.

A round starts `ACTIONS`, kills it after a random time and holds the home to `CLAIMS`. Both are lists of their own, so
that what is kept beside the archive can be killed and checked in the same rounds.
"""

import hashlib
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

from researchpacs.archive import EmbeddedArchive
from researchpacs.catalog import Catalog
from researchpacs.errors import NotFoundError
from researchpacs.ingest import ingest
from researchpacs.model import Find
from researchpacs.storage.home import Home
from researchpacs.testing import small_ct

_SEED = 20240229
_FILES = 240
_REPORTS = 12
"""Every so many files one is a report."""
_MANY = 900

_INGEST = """
import sys
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
from researchpacs.archive import EmbeddedArchive
from researchpacs.catalog import Catalog
from researchpacs.storage.home import Home

def follow(home, rebuild):
    archive = EmbeddedArchive(home)
    catalog = Catalog(home, archive)
    while True:
        catalog.sync(rebuild=rebuild)

threading.Thread(target=follow, args=(Home.open(sys.argv[1]), {rebuild}), daemon=True).start()
"""
_INGEST_AND_SYNC = "import sys" + _FOLLOW.format(rebuild=False) + _INGEST
_DELETE_AND_SYNC = "import sys" + _FOLLOW.format(rebuild=False) + _INGEST_AND_DELETE
_REBUILD = "import sys" + _FOLLOW.format(rebuild=True) + _INGEST + "threading.Event().wait()"
ACTIONS: list[str] = [_INGEST_AND_SYNC, _INGEST_AND_DELETE, _REBUILD, _DELETE_AND_SYNC, _INGEST]
"""Programs with the arguments home and folder; they print ``<outcome> <key>`` after each acknowledged step."""


@dataclass
class Told:
    """What the killed processes acknowledged so far."""

    stored: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    uncertain: set[str] = field(default_factory=set)
    """Deletions that were begun and not acknowledged."""


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
    found = _tables(catalog)
    columns, rows = found["instances"]
    assert {row[columns.index("instance_key")] for row in rows} == kept
    catalog.sync(rebuild=True)
    assert _tables(catalog) == found
    catalog.close()
    archive.close()


def _tables(catalog: Catalog) -> dict[str, tuple[list[str], list[tuple[object, ...]]]]:
    """Every table but for when its rows were written, in one order."""
    tables = {}
    for name in catalog.schema().tables:
        if name == "sync_state":
            continue
        rows = catalog.sql(f"select * from {name} limit 0")
        kept = [column for column in rows.columns if column != "changed_at"]
        chosen = ", ".join(f'"{column}"' for column in kept)
        rows = catalog.sql(f"select {chosen} from {name} order by all")
        tables[name] = (kept, rows.fetchall())
    return tables


CLAIMS: list[Callable[[Home, Told], None]] = [_the_archive_is_whole, _the_catalog_agrees_with_the_ledger]


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


def test_an_ingest_killed_at_any_moment_loses_nothing(home: Path, scans: Path) -> None:
    _rounds(5, home, scans)


@pytest.mark.soak
def test_fifty_ingests_killed_at_any_moment_lose_nothing(home: Path, scans: Path) -> None:
    _rounds(50, home, scans)


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


def _rounds(rounds: int, home: Path, scans: Path) -> None:
    chance, told, killed = random.Random(_SEED), Told(), 0
    for number in range(rounds):
        child = _start(ACTIONS[number % len(ACTIONS)], home, scans)
        lines = _read_until(child, acknowledged=0)
        time.sleep(chance.uniform(0, 1.5))
        child.kill()
        rest, _ = child.communicate()
        killed += child.returncode == -signal.SIGKILL
        _add(told, lines + rest.splitlines())
        for claim in CLAIMS:
            claim(Home.open(home), told)
    assert killed > rounds // 2
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
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _read_until(child: subprocess.Popen[str], *, acknowledged: int) -> list[str]:
    assert child.stdout is not None
    lines = [child.stdout.readline().strip()]
    assert lines == ["ready"], child.communicate()
    while len(lines) <= acknowledged:
        lines.append(child.stdout.readline().strip())
    return lines


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
