"""The home on disk: made once, refused where it cannot be safe, swept of what killed processes left."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from researchpacs.config import Settings
from researchpacs.errors import InvalidInputError, ResearchPacsError, UnsupportedError
from researchpacs.storage.home import FORMAT, Home
from researchpacs.storage.network import network_file_system

_HOLD_A_WORKSPACE = """
import sys, time
from researchpacs.storage.home import Home
with Home.open(sys.argv[1]).workspace() as tmp:
    (tmp / "half.part").write_bytes(b"x")
    print(tmp, flush=True)
    time.sleep(600)
"""


def test_a_new_home_has_its_format_and_folders(home: Path) -> None:
    made = Home.open(home)
    assert json.loads((home / "format.json").read_text()) == {"format": FORMAT}
    folders = {path.name for path in home.iterdir() if path.is_dir()}
    assert folders == {"archive", "conflicts", "tmp", "catalog", "features"}
    assert Home.open(home) == made


def test_eight_processes_open_a_home_for_the_first_time_at_once(home: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        opened = pool.map(_open, [home] * 8, chunksize=1)
    assert opened == [Home.open(home)] * 8
    assert not list(home.glob(".format*"))


def test_a_newer_format_is_refused_with_the_way_out(home: Path) -> None:
    Home.open(home)
    (home / "format.json").write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(UnsupportedError, match="pip install --upgrade"):
        Home.open(home)


@pytest.mark.parametrize("content", ["", "{}", "[]", "nonsense"])
def test_a_damaged_format_file_is_refused(home: Path, content: str) -> None:
    Home.open(home)
    (home / "format.json").write_text(content)
    with pytest.raises(InvalidInputError, match="backup"):
        Home.open(home)


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(home: Path) -> None:
    home.mkdir()
    (home / "thesis.docx").write_bytes(b"x")
    with pytest.raises(InvalidInputError, match="not empty"):
        Home.open(home)
    assert [path.name for path in home.iterdir()] == ["thesis.docx"]


def test_a_file_is_refused(home: Path) -> None:
    home.write_bytes(b"x")
    with pytest.raises(InvalidInputError, match="not a folder"):
        Home.open(home)


def test_a_fresh_file_system_counts_as_empty(home: Path) -> None:
    (home / "lost+found").mkdir(parents=True)
    assert Home.open(home).format_path.exists()


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("/dev/sda / ext4 rw 0 0\nfiler:/x {home} nfs4 rw 0 0", "nfs4"),
        ("/dev/sda / ext4 rw 0 0\n//srv/x {home} cifs rw 0 0", "cifs"),
        ("filer:/ / nfs rw 0 0", "nfs"),
        ("filer:/ / nfs rw 0 0\n/dev/sda {home} xfs rw 0 0", None),
        ("/dev/sda / ext4 rw 0 0\nfiler:/x {home}x nfs4 rw 0 0", None),
        ("/dev/sda {home} ext4 rw 0 0\nfiler:/x {home} lustre rw 0 0", "lustre"),
        ("", None),
    ],
)
def test_a_network_file_system_is_told_from_a_local_one(tmp_path: Path, mounts: str, kind: str | None) -> None:
    folder = tmp_path / "with blank"
    folder.mkdir()
    point = str(folder.resolve()).replace(" ", "\\040")
    assert network_file_system(folder, mounts=mounts.format(home=point)) == kind


def test_a_workspace_goes_away_with_its_ingest(home: Path) -> None:
    opened = Home.open(home)
    with opened.workspace() as first, opened.workspace() as second:
        (first / "a.part").write_bytes(b"x")
        assert first != second
    assert [path.name for path in opened.tmp.iterdir()] == ["sweep.lock"]


def test_the_workspace_of_a_killed_process_is_swept_and_that_of_a_living_one_is_not(home: Path) -> None:
    opened = Home.open(home)
    children = [
        subprocess.Popen([sys.executable, "-c", _HOLD_A_WORKSPACE, home], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    killed, living = (Path(child.stdout.readline().strip()) for child in children if child.stdout)
    try:
        children[0].send_signal(signal.SIGKILL)
        children[0].wait()
        assert (killed / "half.part").exists()
        with opened.workspace():
            assert not killed.exists()
            assert (living / "half.part").exists()
    finally:
        for child in children:
            child.kill()
            child.communicate()


def test_a_lock_without_its_workspace_is_swept_too(home: Path) -> None:
    opened = Home.open(home)
    (opened.tmp / "0123456789abcdef.lock").touch()
    (opened.tmp / "fedcba9876543210").mkdir()
    with opened.workspace() as tmp:
        assert {path.stem for path in opened.tmp.iterdir()} == {"sweep", tmp.name}


def test_a_forked_child_does_not_keep_a_dead_workspace_alive_for_ever(home: Path) -> None:
    opened = Home.open(home)
    with opened.workspace() as tmp:
        child = os.fork()
        if child == 0:
            time.sleep(0.2)
            os._exit(0)
        os.waitpid(child, 0)
        assert tmp.exists()
    with opened.workspace() as again:
        assert again.exists()
        assert not tmp.exists()


def _open(home: Path) -> Home:
    return Home.open(home)


@pytest.mark.parametrize("where", [123, b"/tmp/x", "", "a\0b", "~nobody-of-this-name/x", True])
def test_what_is_no_folder_is_refused_with_the_next_step(where: object):
    with pytest.raises(InvalidInputError, match="home"):
        Settings.load(where)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", ["abc", "0", "-3", "1e3", "9" * 20])
def test_a_number_of_workers_that_cannot_be_is_refused(home: Path, workers: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RESEARCHPACS_WORKERS", workers)
    with pytest.raises(InvalidInputError, match="RESEARCHPACS_WORKERS"):
        Settings.load(home)


@pytest.mark.parametrize("where", ["/proc/nowhere", "x" * 5000])
def test_a_folder_that_cannot_be_made_is_refused(where: str):
    with pytest.raises(InvalidInputError, match="give another one") as caught:
        Home.open(where)
    assert len(str(caught.value)) < 500


def test_a_full_disk_is_named_when_a_home_is_made(home: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("researchpacs.storage.home.write_atomically", full)
    with pytest.raises(ResearchPacsError, match="space"):
        Home.open(home)


@pytest.mark.parametrize("lost", [True, False])
def test_files_without_their_ledger_are_not_taken_for_an_empty_archive(home: Path, lost: bool):
    opened = Home.open(home)
    (opened.archive / "aa").mkdir()
    if not lost:
        opened.ledger_path.touch()
    with pytest.raises(ResearchPacsError, match="backup"):
        Home.open(home)
