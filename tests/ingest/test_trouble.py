"""Bad input and faults while checking: one clear row, and the rest goes on."""

import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

import psutil
import pytest

from researchpacs.archive import EmbeddedArchive
from researchpacs.dicom.scan import scan
from researchpacs.ingest import _pool, incoming, ingest
from researchpacs.ingest._check import Checker
from researchpacs.ingest._tasks import FileTask, MemberTask
from researchpacs.model import Incoming, Outcome, Refusal
from researchpacs.storage.home import Home
from researchpacs.testing import small_ct

_DIES = """
import json, os, sys
sys.path[:] = json.loads(sys.argv.pop())
from researchpacs.ingest import _worker

class Checker(_worker.Checker):
    def __call__(self, task):
        if task.source.endswith("deadly"):
            os._exit(9)
        return super().__call__(task)

_worker.Checker = Checker
_worker.main()
"""
_UNDER_A_LIMIT = """
import resource, sys
from pathlib import Path
from researchpacs.ingest import incoming
from researchpacs.model import Refusal
{limit}
for one in incoming(sys.argv[1], tmp=Path(sys.argv[2])):
    print(one.reason if isinstance(one, Refusal) else "ok")
"""


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


def _broken_files() -> list[str]:
    return [
        "ExplVR_LitEndNoMeta.dcm", "MR_truncated.dcm", "SC_rgb_jpeg_app14_dcmd.dcm", "UN_sequence.dcm", "badVR.dcm",
        "empty_charset_LEI.dcm", "meta_missing_tsyntax.dcm", "nested_priv_SQ.dcm", "no_meta.dcm",
        "no_meta_group_length.dcm", "priv_SQ.dcm", "reportsi_with_empty_number_tags.dcm", "rtplan_truncated.dcm",
        "zipMR.gz",
    ]  # fmt: skip


def test_the_list_of_broken_files_is_whole(real_data: Path) -> None:
    assert sorted(path.name for path in (real_data / "broken_pydicom").iterdir()) == sorted(_broken_files())


@pytest.mark.parametrize("name", _broken_files())
def test_a_broken_file_is_stored_or_refused_with_a_reason_within_two_seconds(
    real_data: Path, tmp: Path, name: str
) -> None:
    start = time.monotonic()
    (one,) = incoming(real_data / "broken_pydicom" / name, tmp=tmp)
    assert time.monotonic() - start < 2
    if isinstance(one, Refusal):
        assert one.reason
        assert "bug" not in one.reason
        assert not list(tmp.iterdir())
    else:
        assert one.blob is not None
        assert one.blob.read_bytes() == (real_data / "broken_pydicom" / name).read_bytes()


@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"hello", b"\x89PNG\r\n" + b"x" * 300, b"\0" * 128 + b"DICM"])
def test_what_is_not_dicom_is_refused_with_a_reason(tmp_path: Path, tmp: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    (one,) = incoming(tmp_path / "file", tmp=tmp)
    assert isinstance(one, Refusal)
    assert "bug" not in one.reason
    assert content or one.reason == "an empty file"
    assert not list(tmp.iterdir())


def test_what_is_not_there_is_refused(tmp_path: Path, tmp: Path) -> None:
    (gone,) = incoming(tmp_path / "gone", tmp=tmp)
    assert gone == Refusal(str(tmp_path / "gone"), "no such file or folder")


@pytest.mark.usefixtures("ordinary_user")
def test_what_is_not_readable_is_refused(tmp_path: Path, tmp: Path) -> None:
    with Checker(tmp) as check:
        file = check(FileTask("file", tmp_path / "locked" / "x", copy=True))
    (folder,) = incoming(tmp_path / "locked", tmp=tmp)
    assert [one.reason for one in (file, folder) if isinstance(one, Refusal)] == ["no permission to read it"] * 2


def test_a_file_that_vanishes_between_walking_and_reading_is_one_row(tmp_path: Path, tmp: Path) -> None:
    for number in (1, 2, 3):
        small_ct(number).save_as(tmp_path / f"{number}", enforce_file_format=True)
    with Checker(tmp) as check:
        tasks = [FileTask(str(number), tmp_path / f"{number}", copy=True) for number in (1, 2, 3)]
        (tmp_path / "2").unlink()
        first, second, third = (check(task) for task in tasks)
    assert isinstance(first, Incoming)
    assert isinstance(third, Incoming)
    assert isinstance(second, Refusal)
    assert second.reason == "it went away before it could be read"


@pytest.mark.parametrize("copy", [True, False])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, tmp: Path, copy: bool) -> None:
    path = tmp_path / "file"
    small_ct().save_as(path, enforce_file_format=True)

    def touch(frame: FrameType, event: str, _: object) -> None:
        # The end of the header scan lies surely between the first look at the file and the last.
        if event == "return" and frame.f_code is scan.__code__:
            os.utime(path, ns=(5, 5))

    with Checker(tmp) as check:
        sys.setprofile(touch)
        try:
            one = check(FileTask("file", path, copy=copy))
        finally:
            sys.setprofile(None)
    assert isinstance(one, Refusal)
    assert one.reason == "it changed while it was read; ingest it again when it is complete"
    assert not list(tmp.iterdir())


def test_a_zip_archive_that_changes_after_it_was_listed_is_refused(tmp_path: Path, tmp: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and then nothing")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("only", b"x")
    with Checker(tmp) as check:
        tasks = [MemberTask("a", tmp_path / "a.zip", 0, "x"), MemberTask("b", tmp_path / "b.zip", 7, "x")]
        found = [check(task) for task in tasks]
    assert [one.reason for one in found if isinstance(one, Refusal)] == [
        "the zip archive changed while it was read"
    ] * 2
    assert not list(tmp.iterdir())


def test_a_file_larger_than_what_may_be_written_is_one_row_and_the_rest_goes_on(tmp_path: Path, tmp: Path) -> None:
    (tmp_path / "scans").mkdir()
    small_ct(1).save_as(tmp_path / "scans" / "a", enforce_file_format=True)
    small_ct(2, size=1024).save_as(tmp_path / "scans" / "b", enforce_file_format=True)
    small_ct(3).save_as(tmp_path / "scans" / "c", enforce_file_format=True)
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))"
    done = _run(limit, tmp_path / "scans", tmp)
    assert done == ["ok", "no space left on the disk of the archive; free some and ingest again", "ok"]
    assert len(list(tmp.iterdir())) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status is missing: only Linux has it")
def test_a_large_file_is_checked_in_constant_memory(tmp_path: Path, tmp: Path) -> None:
    _large(tmp_path / "scans" / "large", 256 << 20)
    # Not getrusage: it counts what the parent had in memory before the child began.
    peak = "next(int(line.split()[1]) >> 10 for line in open('/proc/self/status') if line.startswith('VmHWM'))"
    before = f"import atexit; atexit.register(lambda: print({peak}))"
    outcome, peak_mb = _run(before, tmp_path / "scans", tmp)
    assert outcome == "ok"
    assert int(peak_mb) < 200


def test_files_of_a_worker_that_was_killed_are_read_by_another(tmp_path: Path, tmp: Path) -> None:
    scans = tmp_path / "scans"
    _large(scans / "000-large", 256 << 20)
    for number in range(1, 80):
        small_ct(number).save_as(scans / f"{number:03}", enforce_file_format=True)
    killer = threading.Thread(target=_kill_who_writes_much, args=(tmp,))
    killer.start()
    found = list(incoming(scans, tmp=tmp, workers=2))
    killer.join()
    assert [type(one) for one in found] == [Incoming] * 80
    assert not _children()


def test_a_file_that_ends_whoever_reads_it_is_one_row_and_the_rest_goes_on(
    tmp_path: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(1, 81):
        small_ct(number).save_as(scans / f"{number:03}{' deadly' * (number == 3)}", enforce_file_format=True)
    monkeypatch.setattr(_pool, "_START", _DIES)
    found = list(incoming(scans, tmp=tmp, workers=2))
    (refusal,) = [one for one in found if isinstance(one, Refusal)]
    assert refusal.source == str(scans / "003 deadly")
    assert "killed or crashed (exit status 9)" in refusal.reason
    assert sum(isinstance(one, Incoming) for one in found) == 79
    assert not _children()


def test_workers_find_what_one_process_finds(tmp_path: Path, real_data: Path, tmp: Path) -> None:
    (tmp_path / "other").mkdir()
    alone = {_told(one) for one in incoming(real_data / "misc_pydicom", tmp=tmp, workers=1)}
    together = {_told(one) for one in incoming([real_data / "misc_pydicom"], tmp=tmp_path / "other", workers=2)}
    assert len(alone) >= 45
    assert alone == together


def test_leaving_early_stops_the_workers(tmp_path: Path, tmp: Path) -> None:
    (tmp_path / "scans").mkdir()
    for number in range(200):
        small_ct(number).save_as(tmp_path / "scans" / str(number), enforce_file_format=True)
    found = incoming(tmp_path / "scans", tmp=tmp, workers=2)
    assert isinstance(next(found), Incoming)
    assert len(_children()) == 2
    found.close()
    assert not _children()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Interrupts raise, also where this runs in the background of a shell, which lets them be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_waits_for_what_has_been_checked_and_a_second_one_does_not(home: Path) -> None:
    opened = Home.open(home)
    archive = EmbeddedArchive(opened)
    taken: list[Incoming] = []

    def store(items: Iterable[Incoming], times: int) -> Iterator[Outcome]:
        def interrupted() -> Iterator[Incoming]:
            for item in items:
                taken.append(item)
                if len(taken) == 3:
                    for _ in range(times):
                        signal.raise_signal(signal.SIGINT)
                yield item

        return archive.store(interrupted())

    before = signal.getsignal(signal.SIGINT)
    for times, kept in ((1, 3), (2, 0)):
        taken.clear()
        scans = [small_ct(100 * times + number) for number in range(10)]
        with pytest.raises(KeyboardInterrupt):
            ingest(scans, store=lambda items, times=times: store(items, times), home=opened)  # type: ignore[misc]
        found = archive.rows([item.identity.key for item in taken])
        assert (len(taken), len(found)) == (3, kept)
        assert signal.getsignal(signal.SIGINT) is before
        assert [path.name for path in opened.tmp.iterdir()] == ["sweep.lock"]
    archive.close()


@pytest.fixture
def ordinary_user(tmp_path: Path, tmp: Path) -> Iterator[None]:
    """Lock a folder, and give up root's right to read everything for a moment."""
    (tmp_path / "locked").mkdir(mode=0o000)
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def _run(limit: str, source: Path, tmp: Path) -> list[str]:
    script = _UNDER_A_LIMIT.format(limit=limit)
    done = subprocess.run([sys.executable, "-c", script, source, tmp], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _large(path: Path, pixel_bytes: int) -> None:
    """Write an instance with many pixels that takes no room on the disk."""
    path.parent.mkdir(exist_ok=True)
    side = int((pixel_bytes / 2) ** 0.5)
    small_ct(999, PixelData=bytes(4), Rows=side, Columns=side).save_as(path, enforce_file_format=True)
    length = side * side * 2
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(length.to_bytes(4, "little"))
        file.truncate(file.tell() + length)


def _kill_who_writes_much(tmp: Path) -> None:
    for _ in range(3000):
        for child in _children():
            try:
                if any(Path(file.path).stat().st_size > 4 << 20 for file in child.open_files() if "part" in file.path):
                    child.kill()
                    return
            except (psutil.NoSuchProcess, FileNotFoundError):
                continue
        time.sleep(0.002)


def _children() -> list[psutil.Process]:
    """Living workers of this process; multiprocessing's resource tracker may be another child of it."""
    living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in living if any("ingest._worker" in word for word in child.cmdline())]


def _told(one: Incoming | Refusal) -> tuple[object, ...]:
    if isinstance(one, Refusal):
        return (one.source, one.reason)
    return (one.source, one.identity, one.sha256, one.dataset_sha256, one.header_length, one.issues)
