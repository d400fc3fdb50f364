"""The embedded archive on a disk: nothing lost, nothing stored twice, nothing altered unnoticed."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import RLELossless

from researchpacs.archive import EmbeddedArchive, open_archive
from researchpacs.config import Settings
from researchpacs.errors import ConflictError, NotFoundError, UnsupportedError
from researchpacs.ingest import IngestReport, ingest
from researchpacs.model import Find
from researchpacs.storage import durable
from researchpacs.storage.home import Home
from researchpacs.testing import small_ct

_STORE_AND_DELETE = """
import sys
from researchpacs.archive import EmbeddedArchive
from researchpacs.errors import NotFoundError
from researchpacs.ingest import ingest
from researchpacs.storage.home import Home
from researchpacs.testing import small_ct

home = Home.open(sys.argv[1])
archive = EmbeddedArchive(home)
for _ in range(40):
    ingest([small_ct(1), small_ct(2)], store=archive.store, home=home)
    try:
        archive.delete("instance", small_ct(1).SOPInstanceUID)
    except NotFoundError:
        continue
"""

_INGEST = """
import sys
from researchpacs.archive import EmbeddedArchive
from researchpacs.ingest import ingest
from researchpacs.storage.home import Home

home = Home.open(sys.argv[1])
print(ingest(sys.argv[2:], store=EmbeddedArchive(home).store, home=home, workers=1).refused)
"""


@pytest.fixture
def archive(home: Path) -> Iterator[EmbeddedArchive]:
    archive = EmbeddedArchive(Home.open(home))
    yield archive
    archive.close()


def test_an_archive_opens_from_settings(home: Path) -> None:
    opened = open_archive(Settings.load(home))
    assert opened.home.path == home
    opened.close()


def test_an_outcome_is_given_out_when_another_process_could_read_it(archive: EmbeddedArchive) -> None:
    other = EmbeddedArchive(archive.home)
    seen = []

    def store(items: object) -> Iterator[object]:
        for outcome in archive.store(items):  # type: ignore[arg-type]
            assert outcome.identity is not None
            seen.append(other.read(outcome.identity.key))
            yield outcome

    ingest([small_ct(number) for number in range(1, 4)], store=store, home=archive.home)  # type: ignore[arg-type]
    assert len(seen) == 3
    other.close()


def test_real_files_come_back_bit_for_bit_under_the_name_of_their_hash(
    archive: EmbeddedArchive, real_data: Path
) -> None:
    report = _ingest(archive, real_data / "misc_pydicom")
    rows = report.df()
    for path, uid in rows[rows.outcome == "stored"][["path", "SOPInstanceUID"]].itertuples(index=False):
        content = Path(path).read_bytes()
        assert archive.read(uid) == content
        sha256 = hashlib.sha256(content).hexdigest()
        assert archive.locate([uid])[0].path == str(archive.home.archive / sha256[:2] / f"{sha256}.dcm")
    assert report.stored > 20


# -- the same identity again ------------------------------------------------------------------------------------------


def test_another_transfer_syntax_of_the_same_object_is_a_duplicate(
    archive: EmbeddedArchive, real_data: Path, tmp_path: Path
) -> None:
    ct = dcmread(real_data / "misc_pydicom" / "CT_small.dcm")
    _ingest(archive, real_data / "misc_pydicom" / "CT_small.dcm")
    ct.compress(RLELossless, generate_instance_uid=False)
    ct.save_as(tmp_path / "rle.dcm")
    report = _ingest(archive, [tmp_path])
    assert (report.duplicates, report.conflicts) == (1, 0)
    assert "transfer syntax" in report.df().reason[0]
    assert archive.read(ct.SOPInstanceUID) == (real_data / "misc_pydicom" / "CT_small.dcm").read_bytes()


@pytest.mark.parametrize("what", ["a pixel", "an element", "a nested element"])
def test_another_transfer_syntax_with_other_content_is_a_conflict(
    archive: EmbeddedArchive, tmp_path: Path, what: str
) -> None:
    first = small_ct()
    first.AnatomicRegionSequence = [_code("T-28000", "Lung")]
    _ingest(archive, first)
    second = small_ct()
    second.AnatomicRegionSequence = [_code("T-28000", "Lungs" if what == "a nested element" else "Lung")]
    if what == "a pixel":
        second.PixelData = bytes([second.PixelData[0] ^ 1]) + second.PixelData[1:]
    elif what == "an element":
        second.KVP = "140"
    second.compress(RLELossless, generate_instance_uid=False)
    second.save_as(tmp_path / "rle.dcm")
    assert _ingest(archive, [tmp_path]).conflicts == 1


@pytest.mark.parametrize(("seed", "expected"), [(2, (0, 2)), (1, (2, 0))], ids=["other content", "the same object"])
def test_one_content_that_comes_twice_and_has_to_be_compared_is_dealt_with_twice(
    archive: EmbeddedArchive, tmp_path: Path, seed: int, expected: tuple[int, int]
) -> None:
    _ingest(archive, small_ct(seed=1))
    again = small_ct(seed=seed)
    again.compress(RLELossless, generate_instance_uid=False)
    for name in ("a.dcm", "b.dcm"):
        again.save_as(tmp_path / name)
    report = _ingest(archive, [tmp_path])
    assert (report.duplicates, report.conflicts) == expected
    assert len(list(archive.home.conflicts.iterdir())) == (seed == 2)
    assert archive.verify().ok


def test_the_transfer_syntaxes_of_one_real_object_are_one_instance(archive: EmbeddedArchive, real_data: Path) -> None:
    names = [
        "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm",
    ]  # fmt: skip
    report = _ingest(archive, [real_data / "misc_pydicom" / name for name in names])
    assert (report.stored, report.duplicates) == (1, 5)


def test_a_conflict_is_kept_aside_whole_and_named_in_the_ledger(archive: EmbeddedArchive, tmp_path: Path) -> None:
    _ingest(archive, small_ct(seed=1))
    small_ct(seed=2).save_as(tmp_path / "second.dcm", enforce_file_format=True)
    content = (tmp_path / "second.dcm").read_bytes()
    with pytest.raises(ConflictError, match="kept aside"):
        _ingest(archive, tmp_path / "second.dcm")
    _ingest(archive, [tmp_path])
    (aside,) = archive.home.conflicts.iterdir()
    assert aside.read_bytes() == content
    report = archive.verify()
    assert (report.ok, report.conflicts, report.leftovers) == (True, 1, ())


def test_content_and_name_are_on_the_disk_before_there_is_a_row(
    archive: EmbeddedArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = list[tuple[str, int]]()

    def watched(name: str) -> None:
        sync = getattr(os, name)

        def watching(descriptor: int) -> None:
            sync(descriptor)
            with archive.ledger.reading() as con:
                (rows,) = con.execute("select count(*) from instances").fetchone()
            synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), rows))

        monkeypatch.setattr(os, name, watching)

    if not Path("/proc/self/fd").exists():
        pytest.skip("what a descriptor stands for is only told by Linux; run it there")
    watched("fdatasync")
    watched("fsync")
    _ingest(archive, small_ct(1))
    (place,) = archive.locate([small_ct(1).SOPInstanceUID])
    folder = str(Path(place.path).parent)
    assert (place.path, 0) in synced
    assert synced.index((place.path, 0)) < synced.index((folder, 0))
    assert (str(archive.home.archive), 0) in synced, "the name of a new folder is one too"
    assert len(_rows(archive)) == 1


def test_nothing_unsynced_takes_the_place_of_a_file_that_may_have_a_row(
    archive: EmbeddedArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ingest(archive, small_ct(1))
    (place,) = archive.locate([small_ct(1).SOPInstanceUID])
    size = Path(place.path).stat().st_size
    Path(place.path).write_bytes(b"short")
    synced = list[int]()
    sync = durable.sync_file

    def watching(descriptor: int) -> None:
        sync(descriptor)
        synced.append(Path(place.path).stat().st_size)

    monkeypatch.setattr(durable, "sync_file", watching)
    _ingest(archive, small_ct(1))
    assert synced[0] == len(b"short"), "synced before it took the place"
    assert Path(place.path).stat().st_size == size


def test_ingesting_again_puts_back_a_lost_file(archive: EmbeddedArchive) -> None:
    _ingest(archive, small_ct())
    content = archive.read(small_ct().SOPInstanceUID)
    _, before = archive.last_change()
    Path(archive.locate([small_ct().SOPInstanceUID])[0].path).unlink()
    assert _ingest(archive, small_ct()).duplicates == 1
    assert archive.read(small_ct().SOPInstanceUID) == content
    assert archive.verify().ok
    assert archive.last_change()[1] > before


# -- references -------------------------------------------------------------------------------------------------------


def test_a_reference_stays_where_it_is_and_is_never_touched(archive: EmbeddedArchive, nas: Path) -> None:
    before = _state(nas)
    assert _ingest(archive, [nas], copy=False).stored == 3
    assert not list(archive.home.archive.rglob("*.dcm"))
    assert archive.read(small_ct(2).SOPInstanceUID) == (nas / "2").read_bytes()
    (location,) = archive.locate([small_ct(2).SOPInstanceUID])
    assert (location.path, location.mtime_ns) == (str(nas / "2"), (nas / "2").stat().st_mtime_ns)
    assert archive.delete("patient", "A") == 3
    assert _state(nas) == before


def test_the_same_reference_again_is_a_duplicate_without_reading_it_in_full(
    archive: EmbeddedArchive, nas: Path
) -> None:
    _ingest(archive, [nas], copy=False)
    assert _ingest(archive, [nas], copy=False).duplicates == 3
    assert all(row.sha256 is None for row in _rows(archive))


def test_a_second_file_of_a_referenced_instance_is_compared_in_full(
    archive: EmbeddedArchive, nas: Path, tmp_path: Path
) -> None:
    _ingest(archive, [nas], copy=False)
    other = tmp_path / "other"
    other.mkdir()
    (other / "same").write_bytes((nas / "1").read_bytes())
    content = bytearray((nas / "2").read_bytes())
    content[-1] ^= 1  # in the pixels: the headers are equal
    (other / "different").write_bytes(content)
    report = _ingest(archive, [other], copy=False)
    assert (report.duplicates, report.conflicts) == (1, 1)
    report = _ingest(archive, [other], copy=True)
    assert (report.duplicates, report.conflicts) == (1, 1)
    assert archive.read(small_ct(2).SOPInstanceUID) == (nas / "2").read_bytes()


@pytest.mark.parametrize("read", [True, False], ids=["read in full", "never read in full"])
def test_a_copy_of_a_referenced_instance_is_kept(archive: EmbeddedArchive, nas: Path, read: bool) -> None:
    _ingest(archive, [nas], copy=False)
    if read:
        archive.verify()
    content = (nas / "2").read_bytes()
    report = _ingest(archive, [nas], copy=True)
    assert (report.stored, report.duplicates, report.conflicts) == (0, 3, 0)
    shutil.rmtree(nas)
    assert archive.read(small_ct(2).SOPInstanceUID) == content
    found = archive.verify()
    assert (found.checked, found.problems, found.leftovers) == (3, (), ())
    assert not list(archive.home.tmp.rglob("*.part"))


def test_a_copy_in_another_transfer_syntax_is_kept_in_place_of_a_reference(archive: EmbeddedArchive, nas: Path) -> None:
    _ingest(archive, [nas], copy=False)
    other = small_ct(2)
    other.compress(RLELossless, generate_instance_uid=False)
    report = _ingest(archive, other)
    assert (report.duplicates, report.conflicts) == (1, 0)
    shutil.rmtree(nas)
    kept = dcmread(BytesIO(archive.read(other.SOPInstanceUID)))
    assert kept.file_meta.TransferSyntaxUID == RLELossless
    assert np.array_equal(kept.pixel_array, small_ct(2).pixel_array)
    (row,) = [row for row in _rows(archive) if row.identity.sop_uid == other.SOPInstanceUID]
    assert (row.transfer_syntax_uid, row.reference) == (RLELossless, None)
    assert [one.sop_uid for one in archive.verify().problems if one.sop_uid == other.SOPInstanceUID] == []


def test_a_referenced_file_that_changed_is_not_read(archive: EmbeddedArchive, nas: Path) -> None:
    _ingest(archive, [nas], copy=False)
    (nas / "1").write_bytes((nas / "2").read_bytes())
    os.utime(nas / "1", ns=(1, 1))
    with pytest.raises(ConflictError, match="changed since"):
        archive.read(small_ct(1).SOPInstanceUID)
    (nas / "2").unlink()
    with pytest.raises(NotFoundError, match="moved or deleted"):
        archive.read(small_ct(2).SOPInstanceUID)


def test_a_file_that_moved_is_found_again_once_its_hash_is_known(archive: EmbeddedArchive, nas: Path) -> None:
    _ingest(archive, [nas], copy=False)
    before = archive.last_change()[1]
    assert archive.verify().hashed == 3
    assert len(archive.changes(before, 10).items) == 3, "followers learn the hashes"
    (nas / "1").rename(nas / "moved")
    report = _ingest(archive, [nas], copy=False)
    assert (report.duplicates, report.conflicts) == (3, 0)
    assert archive.locate([small_ct(1).SOPInstanceUID])[0].path == str(nas / "moved")
    assert archive.verify().ok


def test_a_file_name_that_is_no_text_can_be_referred_to(archive: EmbeddedArchive, nas: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(nas) + b"/M\xfcller"))
    (nas / "1").rename(strange)
    _ingest(archive, [nas], copy=False)
    assert archive.read(small_ct(1).SOPInstanceUID) == strange.read_bytes()


# -- verify -----------------------------------------------------------------------------------------------------------


def test_verify_of_a_whole_archive_is_clean(archive: EmbeddedArchive) -> None:
    _ingest(archive, [small_ct(number) for number in range(1, 6)])
    report = archive.verify()
    assert (report.ok, report.checked, report.problems, report.leftovers) == (True, 5, (), ())
    assert report.df().empty


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("damage", ["missing", "altered", "truncated"])
def test_verify_finds_a_damaged_file(archive: EmbeddedArchive, nas: Path, damage: str, copy: bool) -> None:
    _ingest(archive, [nas], copy=copy)
    assert archive.verify().ok
    path = Path(archive.locate([small_ct(2).SOPInstanceUID])[0].path)
    kept = path.stat().st_mtime_ns
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-100])
    else:
        content[-17] ^= 0x40
        path.write_bytes(content)
        os.utime(path, ns=(kept, kept))  # as a failing disk leaves it
    (problem,) = archive.verify().problems
    assert (problem.kind, problem.sop_uid) == (damage, small_ct(2).SOPInstanceUID)
    assert archive.verify().df().SOPInstanceUID.tolist() == [problem.sop_uid]


def test_verify_finds_a_reference_whose_header_changed_before_it_was_ever_hashed(
    archive: EmbeddedArchive, nas: Path
) -> None:
    _ingest(archive, [nas], copy=False)
    kept = (nas / "3").stat().st_mtime_ns
    content = (nas / "3").read_bytes()
    (nas / "3").write_bytes(content.replace(b"Phantom", b"Fantome"))
    os.utime(nas / "3", ns=(kept, kept))
    report = archive.verify()
    assert [(problem.kind, problem.sop_uid) for problem in report.problems] == [("altered", small_ct(3).SOPInstanceUID)]
    assert report.hashed == 2


def test_verify_finds_a_damaged_file_among_the_conflicts(archive: EmbeddedArchive) -> None:
    _ingest(archive, small_ct(seed=1))
    with pytest.raises(ConflictError):
        _ingest(archive, small_ct(seed=2))
    next(archive.home.conflicts.iterdir()).write_bytes(b"")
    assert not archive.verify().ok


def test_a_file_that_no_row_refers_to_is_reported_as_harmless_and_taken_over(archive: EmbeddedArchive) -> None:
    _ingest(archive, small_ct())
    place = Path(archive.locate([small_ct().SOPInstanceUID])[0].path)
    content = place.read_bytes()
    archive.delete("study", small_ct().StudyInstanceUID)
    assert not place.exists()
    place.write_bytes(content)  # as a process leaves it that is killed between rename and commit
    report = archive.verify()
    assert (report.ok, report.leftovers) == (True, (str(place.relative_to(archive.home.path)),))
    assert _ingest(archive, small_ct()).stored == 1
    assert archive.verify().leftovers == ()


# -- several processes ------------------------------------------------------------------------------------------------


def test_two_processes_ingest_the_same_and_different_folders_at_once(home: Path, tmp_path: Path) -> None:
    for folder, numbers in (("same", range(1, 40)), ("left", range(40, 80)), ("right", range(80, 120))):
        (tmp_path / folder).mkdir()
        for number in numbers:
            small_ct(number).save_as(tmp_path / folder / str(number), enforce_file_format=True)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _INGEST, home, tmp_path / "same", tmp_path / own], stdout=subprocess.PIPE
        )
        for own in ("left", "right")
    ]
    assert [child.communicate()[0].strip() for child in children] == [b"0", b"0"]
    archive = EmbeddedArchive(Home.open(home))
    assert len(list(archive.find(Find("instance")))) == 119
    report = archive.verify()
    assert (report.ok, report.checked, report.conflicts, report.leftovers) == (True, 119, 0, ())
    archive.close()


def test_deleting_in_one_process_never_takes_the_file_another_one_has_just_stored(home: Path) -> None:
    children = [subprocess.Popen([sys.executable, "-c", _STORE_AND_DELETE, home]) for _ in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]
    archive = EmbeddedArchive(Home.open(home))
    _ingest(archive, small_ct(1))
    report = archive.verify()
    assert (report.problems, report.leftovers) == ((), ())
    assert archive.read(small_ct(1).SOPInstanceUID)
    archive.close()


def test_a_ledger_of_a_newer_version_is_refused(archive: EmbeddedArchive) -> None:
    with archive.ledger.writing() as con:
        con.execute("insert into migrations (room, version) values ('archive', 99)")
    with pytest.raises(UnsupportedError, match="pip install --upgrade"):
        EmbeddedArchive(archive.home)


@pytest.fixture
def nas(tmp_path: Path) -> Path:
    folder = tmp_path / "nas"
    folder.mkdir()
    for number in (1, 2, 3):
        small_ct(number).save_as(folder / str(number), enforce_file_format=True)
    return folder


def _ingest(archive: EmbeddedArchive, sources: object, *, copy: bool = True) -> IngestReport:
    return ingest(sources, store=archive.store, home=archive.home, copy=copy)


def _rows(archive: EmbeddedArchive) -> list[object]:
    keys = [change.key for change in archive.changes(0, 1000).items]
    return list(archive.rows(keys).values())


def _state(folder: Path) -> list[tuple[str, bytes, int]]:
    return sorted((path.name, path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir())


def _code(value: str, meaning: str) -> object:
    from pydicom import Dataset

    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SRT", meaning
    return code
