"""A backup holds all that is truth in an archive, and becomes a home only as a whole."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

import researchpacs as rp
from researchpacs.archive import EmbeddedArchive, Subject, restore
from researchpacs.errors import ConflictError, InvalidInputError, NotFoundError, ResearchPacsError
from researchpacs.model import Identity
from researchpacs.storage.home import Home
from researchpacs.storage.ledger import Ledger
from researchpacs.testing import small_ct

COUNT = 6
STUDY = Subject.of("study", Identity("A", "", small_ct().StudyInstanceUID, "", ""))
TABLES = ("studies", "series", "instances", "conflicts", "labels", "metadata", "attachments", "peers", "jobs")


@pytest.fixture
def pacs(home: Path) -> Iterator[rp.Pacs]:
    with rp.connect(home) as pacs:
        pacs.ingest([small_ct(number) for number in range(COUNT)])
        yield pacs


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "backup"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return tmp_path / "new"


def _rows(archive: EmbeddedArchive, table: str) -> list[tuple[object, ...]]:
    with archive.ledger.reading() as con:
        return sorted(tuple(row) for row in con.execute(f"select * from {table}"))


def _files(folder: Path) -> dict[str, str]:
    places = [path for name in ("archive", "attachments", "conflicts") for path in (folder / name).rglob("*")]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in places
        if path.is_file()
    }


# -- what is in it ----------------------------------------------------------------------------------------------------


def test_everything_that_is_truth_comes_back(pacs: rp.Pacs, backup: Path, new: Path) -> None:
    with pytest.raises(ConflictError):
        pacs.ingest(small_ct(1, SeriesDescription="other"))  # kept aside
    pacs.label(pacs.study(small_ct().StudyInstanceUID), "qc-ok")
    pacs.archive.metadata.put(STUDY, "1024", b"value")
    pacs.archive.attachments.put(STUDY, "1025", [b"some ", b"bytes"])
    pacs.peers.add("clinic", aet="CLINIC", host="127.0.0.1", port=11112)
    pacs.archive.jobs.submit("Route", {"Rule": "one"})
    report = pacs.backup(backup)
    assert (report.ok, report.instances, report.copied, report.present) == (True, COUNT, COUNT + 2, 0)

    made = restore(backup, new)
    assert (made.instances, made.files, made.left_out) == (COUNT, COUNT + 2, ())
    with rp.connect(new) as again:
        for table in TABLES:
            assert _rows(again.archive, table) == _rows(pacs.archive, table), table
        assert _files(new) == _files(pacs.home)
        assert (again.verify().problems, again.verify().leftovers) == ((), ())
        query = "from instances order by all"
        assert again.sql(query).fetchall() == pacs.sql(query).fetchall()
        assert [one.uid for one in again.search(labels="qc-ok")] == [small_ct().StudyInstanceUID]


def test_who_follows_the_feed_has_to_start_over_after_a_restore(pacs: rp.Pacs, backup: Path, new: Path) -> None:
    pacs.backup(backup)
    pacs.ingest(small_ct(100))
    restore(backup, new)
    with rp.connect(new) as again:
        again.ingest(small_ct(200))
        (feed, last), (other, reached) = pacs.archive.last_change(), again.archive.last_change()
    assert last == reached
    assert feed != other


def test_files_that_stay_where_they_are_are_named_and_not_copied(
    pacs: rp.Pacs, backup: Path, new: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside" / "one.dcm"
    outside.parent.mkdir()
    small_ct(50).save_as(outside, enforce_file_format=True)
    pacs.ingest(outside, copy=False)
    report = pacs.backup(backup)
    assert report.references == (str(outside),)
    assert str(outside) not in repr(report) + str(report)
    assert len(_files(backup)) == COUNT
    assert (restore(backup, new).references, len(_files(new))) == (1, COUNT)
    outside.unlink()
    shutil.rmtree(new)
    assert restore(backup, new).references_gone == 1
    with rp.connect(new) as again:
        assert [problem.kind for problem in again.verify().problems] == ["missing"]


# -- again and again --------------------------------------------------------------------------------------------------


def test_a_second_backup_copies_what_is_new_and_removes_nothing_unless_told(
    pacs: rp.Pacs, backup: Path, new: Path
) -> None:
    pacs.backup(backup)
    before = {path: path.stat().st_mtime_ns for path in (backup / "archive").rglob("*.dcm")}
    pacs.ingest(small_ct(10))
    pacs.delete(pacs.search("instance", SOPInstanceUID=small_ct(0).SOPInstanceUID))
    report = pacs.backup(backup)
    assert (report.copied, report.present, report.unneeded, report.pruned) == (1, COUNT - 1, 1, 0)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(backup.glob("ledger-*.sqlite"))) == 1
    report = pacs.backup(backup, prune=True)
    assert (report.copied, report.unneeded, report.pruned) == (0, 0, 1)
    assert _files(backup) == _files(pacs.home)
    assert restore(backup, new).instances == COUNT


def test_a_restored_archive_goes_on_with_its_backup_and_the_old_one_does_not(
    pacs: rp.Pacs, backup: Path, new: Path, tmp_path: Path
) -> None:
    pacs.backup(backup)
    restore(backup, new)
    with rp.connect(new) as again:
        again.ingest(small_ct(10))
        assert again.backup(backup).copied == 1
    with pytest.raises(InvalidInputError, match="another archive"):
        pacs.backup(backup)
    with rp.connect(tmp_path / "third") as third, pytest.raises(InvalidInputError, match="another archive"):
        third.backup(backup)


def test_one_backup_at_a_time(pacs: rp.Pacs, backup: Path) -> None:
    pacs.backup(backup)
    with FileLock(backup / "backup.lock"), pytest.raises(ConflictError, match="another process"):
        pacs.backup(backup)


# -- what is not there ------------------------------------------------------------------------------------------------


def test_what_is_deleted_while_files_are_copied_is_in_no_backup(
    pacs: rp.Pacs, backup: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Ledger.copy_to
    pacs.archive.attachments.put(STUDY, "1025", [b"bytes"])

    def copy_and_delete(ledger: Ledger, path: Path) -> None:
        whole(ledger, path)
        pacs.archive.delete("instance", small_ct(3).SOPInstanceUID)
        pacs.archive.attachments.remove(STUDY, "1025")

    monkeypatch.setattr(Ledger, "copy_to", copy_and_delete)
    report = pacs.backup(backup)
    assert (report.ok, report.left_out, report.instances) == (True, (), COUNT - 1)
    restore(backup, new)
    with rp.connect(new) as again:
        assert again.verify().problems == ()
        with pytest.raises(NotFoundError):
            again.archive.read(small_ct(3).SOPInstanceUID)


def test_a_damaged_file_is_left_out_and_told(pacs: rp.Pacs, backup: Path, new: Path) -> None:
    (stored,) = pacs.archive.locate([small_ct(3).SOPInstanceUID])
    good = Path(stored.path).read_bytes()
    Path(stored.path).write_bytes(good[:-1] + b"x")
    report = pacs.backup(backup)
    assert (report.ok, report.left_out) == (False, (small_ct(3).SOPInstanceUID,))
    assert report.left_out[0] in str(report)
    assert restore(backup, new).left_out == report.left_out
    Path(stored.path).write_bytes(good)
    assert pacs.backup(backup).ok
    Path(stored.path).unlink()
    report = pacs.backup(backup)
    assert (report.ok, report.instances) == (True, COUNT)  # the earlier backup has it


def test_a_backup_that_rotted_is_mended_where_that_is_asked_for(pacs: rp.Pacs, backup: Path, new: Path) -> None:
    pacs.backup(backup)
    rotten = next((backup / "archive").rglob("*.dcm"))
    rotten.write_bytes(bytes(rotten.stat().st_size))
    assert pacs.backup(backup).copied == 0
    assert pacs.backup(backup, recheck=True).copied == 1
    assert restore(backup, new).instances == COUNT


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_a_damaged_backup_makes_no_home_unless_the_rest_is_asked_for(
    pacs: rp.Pacs, backup: Path, new: Path, damage: str
) -> None:
    pacs.backup(backup)
    (stored,) = pacs.archive.locate([small_ct(3).SOPInstanceUID])
    file = backup / Path(stored.path).relative_to(pacs.home)
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ConflictError, match="leave_out_damaged"):
        restore(backup, new)
    with pytest.raises(InvalidInputError, match="restore"):
        rp.connect(new)
    report = restore(backup, new, leave_out_damaged=True)
    assert (report.left_out, report.instances) == ((small_ct(3).SOPInstanceUID,), COUNT - 1)
    with rp.connect(new) as again:
        assert again.verify().problems == ()


def test_a_damaged_ledger_makes_no_home(pacs: rp.Pacs, backup: Path, new: Path) -> None:
    pacs.backup(backup)
    (ledger,) = backup.glob("ledger-*.sqlite")
    data = bytearray(ledger.read_bytes())
    data[len(data) // 2] ^= 1
    ledger.write_bytes(data)
    with pytest.raises(ConflictError, match="damaged"):
        restore(backup, new)
    with pytest.raises(InvalidInputError):
        rp.connect(new)


def test_verify_finds_an_attachment_that_is_gone(pacs: rp.Pacs) -> None:
    attached = pacs.archive.attachments.put(STUDY, "1025", [b"bytes"])
    assert pacs.verify().ok
    attached.path.unlink()
    (problem,) = pacs.verify().problems
    assert (problem.kind, problem.sop_uid) == ("missing", "")
    assert "attachment 1025 of a study" in str(pacs.verify())


# -- where it may go --------------------------------------------------------------------------------------------------


def test_nothing_is_overwritten(pacs: rp.Pacs, backup: Path, new: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no complete backup"):
        restore(backup, new)
    assert not new.exists()
    pacs.backup(backup)
    with pytest.raises(InvalidInputError, match="not empty"):
        restore(backup, pacs.home)
    new.mkdir()
    (new / "letter.txt").write_text("mine")
    with pytest.raises(InvalidInputError, match="not empty"):
        restore(backup, new)
    mine = tmp_path / "mine"
    (mine / "archive").mkdir(parents=True)
    (mine / "archive" / "thesis.txt").write_text("mine")
    for folder in (new, mine, pacs.home, pacs.home / "backup", tmp_path):
        with pytest.raises(InvalidInputError):
            pacs.backup(folder, prune=True)
    (backup / "archive" / "thesis.txt").write_text("mine")
    assert pacs.backup(backup, prune=True).pruned == 0
    for letter in (new / "letter.txt", mine / "archive" / "thesis.txt", backup / "archive" / "thesis.txt"):
        assert letter.read_text() == "mine"


def test_a_newer_backup_is_refused_with_the_way_out(pacs: rp.Pacs, backup: Path, new: Path) -> None:
    pacs.backup(backup)
    manifest = backup / "backup.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_bytes()), "format": 2}))
    with pytest.raises(ResearchPacsError, match="pip install --upgrade"):
        restore(backup, new)
    manifest.write_text("{")
    with pytest.raises(InvalidInputError, match="damaged"):
        restore(backup, new)


def test_the_commands_say_what_they_did(pacs: rp.Pacs, backup: Path, new: Path) -> None:
    next((pacs.home / "archive").rglob("*.dcm")).unlink()
    done = _run("--home", pacs.home, "backup", backup, "--json")
    assert (done.returncode, json.loads(done.stdout)["copied"]) == (1, COUNT - 1)
    done = _run("--home", new, "restore", backup)
    assert (done.returncode, f"{COUNT - 1} instances" in done.stdout) == (0, True)
    assert "catalog" in done.stdout
    assert "left out" in done.stdout


def test_a_home_can_be_restored_where_a_restore_was_broken_off(pacs: rp.Pacs, backup: Path, new: Path) -> None:
    pacs.backup(backup)
    begun = Home.prepare(new)
    (begun.archive / "ab").mkdir()
    shutil.copytree(backup / "archive", begun.archive, dirs_exist_ok=True)
    half = next(begun.archive.rglob("*.dcm"))
    half.write_bytes(bytes(half.stat().st_size))
    with pytest.raises(InvalidInputError, match="researchpacs restore"):
        rp.connect(new)
    with FileLock(begun.tmp / "restore.lock"), pytest.raises(ConflictError, match="another process"):
        restore(backup, new)
    assert restore(backup, new).instances == COUNT
    with rp.connect(new) as again:
        assert again.verify().problems == ()


def test_a_restore_that_comes_late_leaves_what_another_has_completed(
    pacs: rp.Pacs, backup: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacs.backup(backup)
    prepare, found = Home.prepare, list[int]()

    def slowly(path: Path) -> Home:
        """Another process restores between this one's look at the folder and its lock."""
        made = prepare(path)
        if not found:
            found.append(0)
            found[0] = restore(backup, new).instances
            with rp.connect(new) as other:
                other.ingest(small_ct(COUNT))
        return made

    monkeypatch.setattr(Home, "prepare", slowly)
    with pytest.raises(InvalidInputError, match="not empty"):
        restore(backup, new)
    assert found == [COUNT]
    with rp.connect(new) as other:
        assert other.verify().checked == COUNT + 1


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "researchpacs", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
