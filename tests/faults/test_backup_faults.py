"""Backups made while an archive is written to, killed at any moment, or without space: whole or not there."""

import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import researchpacs as rp
from researchpacs.archive import EmbeddedArchive, restore
from researchpacs.archive._backup_manifest import read_manifest
from researchpacs.errors import InvalidInputError, NotFoundError, ResearchPacsError
from researchpacs.storage.home import Home
from researchpacs.testing import small_ct

_SEED = 20240229
_FIRST = 30

# Stores, labels, attaches and deletes for ever; says what is acknowledged, and what it is about to delete.
_WRITE = """
import sys
import researchpacs as rp
from researchpacs.archive import Subject
from researchpacs.model import Identity
from researchpacs.testing import small_ct

def tell(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()

first, step = int(sys.argv[2]), int(sys.argv[3])
study = Subject.of("study", Identity("A", "", small_ct().StudyInstanceUID, "", ""))
with rp.connect(sys.argv[1]) as pacs:
    number = first
    while True:
        pacs.ingest(small_ct(number, size=64), progress=False)
        tell("stored", small_ct(number).SOPInstanceUID)
        pacs.archive.labels.add([study], f"n{number}")
        pacs.archive.attachments.put(study, str(1024 + number % 7), [b"x" * number])
        if number % 5 == 0:
            uid = small_ct(number).SOPInstanceUID
            tell("deleting", uid)
            pacs.archive.delete("instance", uid)
        number += step
"""
_BACKUP = """
import sys
import researchpacs as rp
with rp.connect(sys.argv[1]) as pacs:
    print("ready", flush=True)
    pacs.backup(sys.argv[2], progress=False)
"""
_RESTORE = """
import sys
from pathlib import Path
from researchpacs.archive import restore
print("ready", flush=True)
restore(Path(sys.argv[1]), Path(sys.argv[2]), progress=False)
"""


@dataclass
class Writer:
    """A process that writes, and what it acknowledged."""

    process: subprocess.Popen[str]
    stored: set[str] = field(default_factory=set)
    deleting: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            kind, uid = line.split()
            (self.stored if kind == "stored" else self.deleting).add(uid)

    def end(self) -> None:
        self.process.kill()
        _, self.errors = self.process.communicate()
        self._thread.join()


def test_five_restores_under_write_load_have_all_that_was_acknowledged(home: Path, tmp_path: Path) -> None:
    _restores_under_load(5, home, tmp_path)


@pytest.mark.soak
def test_twenty_restores_under_write_load_have_all_that_was_acknowledged(home: Path, tmp_path: Path) -> None:
    _restores_under_load(20, home, tmp_path)


def test_a_backup_killed_at_any_moment_leaves_the_one_before(home: Path, tmp_path: Path) -> None:
    chance, backup, killed = random.Random(_SEED), tmp_path / "backup", 0
    with rp.connect(home) as pacs:
        for number in range(4):
            pacs.ingest([small_ct(100 * number + one, size=128) for one in range(60)], progress=False)
            before = read_manifest(backup)
            child = _start(_BACKUP, home, backup)
            time.sleep(chance.uniform(0, 0.35))
            child.kill()
            child.communicate()
            killed += child.returncode == -signal.SIGKILL
            after = read_manifest(backup)
            if after is None:
                assert before is None
                with pytest.raises(NotFoundError):
                    restore(backup, tmp_path / "never")
                continue
            assert after.instances in (60 * (number + 1), before.instances if before else -1)
            _restored_whole(backup, tmp_path / f"new-{number}", instances=after.instances)
        assert killed > 1
        assert pacs.backup(backup).instances == 240
        assert not (backup / "tmp").exists()
    _restored_whole(backup, tmp_path / "last", instances=240)


def test_a_restore_killed_at_any_moment_is_no_home_until_it_is_done_again(home: Path, tmp_path: Path) -> None:
    chance, backup, new, killed = random.Random(_SEED), tmp_path / "backup", tmp_path / "new", 0
    with rp.connect(home) as pacs:
        pacs.ingest([small_ct(number, size=128) for number in range(200)], progress=False)
        pacs.backup(backup)
    for _ in range(4):
        child = _start(_RESTORE, backup, new)
        time.sleep(chance.uniform(0, 0.3))
        child.kill()
        child.communicate()
        killed += child.returncode == -signal.SIGKILL
        if (new / "format.json").exists():
            rp.connect(new).close()
            shutil.rmtree(new)
        elif (new / "restoring").exists():
            with pytest.raises(InvalidInputError, match="researchpacs restore"):
                rp.connect(new)
    assert killed > 1
    _restored_whole(backup, new, instances=200)
    assert [path.name for path in Home.open(new).tmp.iterdir()] == ["sweep.lock"]


def test_a_full_disk_leaves_the_backup_before_and_more_room_is_all_it_takes(home: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("a small disk is missing: run as root, so that a tmpfs can be mounted")
    try:
        with rp.connect(home) as pacs:
            pacs.ingest([small_ct(number, size=128) for number in range(20)], progress=False)
            pacs.backup(disk / "backup")
            pacs.ingest([small_ct(number, size=128) for number in range(20, 140)], progress=False)
            with pytest.raises(ResearchPacsError, match="no space left"):
                pacs.backup(disk / "backup")
            assert not (disk / "backup" / "tmp").exists()
            _restored_whole(disk / "backup", tmp_path / "new", instances=20)
            with pytest.raises(ResearchPacsError, match="no space left"):
                restore(disk / "backup", disk / "new")
            subprocess.run(["mount", "-o", "remount,size=32m", disk], check=True)
            assert pacs.backup(disk / "backup").instances == 140
            _restored_whole(disk / "backup", disk / "new", instances=140)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def _restores_under_load(rounds: int, home: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with rp.connect(home) as pacs:
        pacs.ingest([small_ct(10_000 + number) for number in range(_FIRST)], progress=False)
        writers = [Writer(_start(_WRITE, home, first, 2)) for first in (1, 2)]
        try:
            for number in range(rounds):
                time.sleep(0.5)
                acknowledged = set().union(*(writer.stored for writer in writers))
                report = pacs.backup(backup, prune=bool(number % 2))
                assert report.ok
                # What was being deleted may be there or not.
                uncertain = set().union(*(writer.deleting for writer in writers))
                new = tmp_path / f"new-{number}"
                there = _restored_whole(backup, new, instances=report.instances)
                assert acknowledged - uncertain <= there
                shutil.rmtree(new)
                assert all(writer.process.poll() is None for writer in writers)
        finally:
            for writer in writers:
                writer.end()
        assert len(set().union(*(writer.stored for writer in writers))) > 5 * rounds
        assert set().union(*(writer.deleting for writer in writers))
        assert pacs.verify().ok


def _restored_whole(backup: Path, new: Path, *, instances: int) -> set[str]:
    """Restore, and hold the new home to what a home has to be; the UIDs in it."""
    assert restore(backup, new, progress=False).instances == instances
    archive = EmbeddedArchive(Home.open(new))
    found = archive.verify()
    assert (found.problems, found.leftovers, found.checked) == ((), (), instances)
    with archive.ledger.reading() as con:
        assert con.execute("pragma foreign_key_check").fetchall() == []
        assert con.execute("pragma integrity_check").fetchone()[0] == "ok"
        uids = {uid for (uid,) in con.execute("select sop_uid from instances")}
    assert all(archive.read(uid) for uid in uids)
    archive.close()
    return uids


def _start(action: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", action, *map(str, arguments)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if action is not _WRITE:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", child.communicate()
    return child
