"""What a user may hand to ingest, and what is found by walking."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from researchpacs.errors import InvalidInputError
from researchpacs.ingest import incoming
from researchpacs.model import Incoming, Refusal
from researchpacs.testing import small_ct


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    return folder


# -- files and folders ------------------------------------------------------------------------------------------------


def test_a_folder_is_walked_to_the_ground_whatever_its_files_are_called(scans: Path, tmp: Path) -> None:
    names = ["a.dcm", "IM0001", "deep/er/x", "blank name.ima", "zähler", "trailing.zip.dcm", "not really.zip"]
    for number, name in enumerate(names, start=1):
        _write(scans / name, number)
    strange = Path(os.fsdecode(os.fsencode(scans) + b"/\xff\xfe"))
    _write(strange, 8)
    found = list(incoming(scans, tmp=tmp))
    assert _numbers(found) == list(range(1, 9))
    assert str(strange) in {one.source for one in found}


def test_junk_is_skipped_when_walking_and_taken_when_named(scans: Path, tmp: Path) -> None:
    _write(scans / "image", 1)
    hidden = [
        ".hidden",
        ".git/x",
        "__MACOSX/._image",
        "Thumbs.db",
        "desktop.ini",
        ".DS_Store",
        "DICOMDIR",
        "sub/dicomdir",
    ]
    for number, name in enumerate(hidden, start=2):
        _write(scans / name, number)
    assert _numbers(incoming(scans, tmp=tmp)) == [1]
    assert _numbers(incoming([scans / ".hidden", scans / ".git"], tmp=tmp)) == [2, 3]


def test_symbolic_links_are_followed_each_folder_once(scans: Path, tmp_path: Path, tmp: Path) -> None:
    _write(tmp_path / "elsewhere" / "image", 1)
    _write(scans / "image", 2)
    (scans / "out").symlink_to(tmp_path / "elsewhere")
    (scans / "loop").symlink_to(scans)
    (scans / "file").symlink_to(tmp_path / "elsewhere" / "image")
    (scans / "nowhere").symlink_to(tmp_path / "gone")
    found = list(incoming(scans, tmp=tmp))
    assert _numbers(found) == [1, 1, 2]
    assert _reasons(found) == ["a link that leads nowhere"]


def test_pipes_and_devices_are_refused_without_waiting(scans: Path, tmp: Path) -> None:
    os.mkfifo(scans / "pipe")
    found = list(incoming([scans, scans / "pipe", "/dev/zero"], tmp=tmp))
    assert _reasons(found) == ["neither a file nor a folder"] * 3


def test_the_home_of_an_archive_is_not_walked(tmp_path: Path, tmp: Path) -> None:
    from researchpacs.archive import EmbeddedArchive
    from researchpacs.storage.home import Home

    _write(tmp_path / "scans" / "image", 1)
    EmbeddedArchive(Home.open(tmp_path / "scans" / "home")).close()
    _write(tmp_path / "scans" / "home" / "archive" / "aa" / "x.dcm", 2)
    found = list(incoming(tmp_path / "scans", tmp=tmp))
    assert _numbers(found) == [1]
    assert "home of an archive" in _reasons(found)[0]


def test_a_dicomdir_that_is_named_gives_the_files_it_lists(real_data: Path, tmp: Path) -> None:
    directory = real_data / "dicomdir" / "DICOMDIR"
    found = list(incoming(directory, tmp=tmp))
    listed = {
        directory.parent.joinpath(*record.ReferencedFileID)
        for record in dcmread(directory).DirectoryRecordSequence
        if "ReferencedFileID" in record
    }
    assert len(listed) > 20
    assert {Path(one.source) for one in found} == listed
    assert not _reasons(found)
    assert len(list(incoming(real_data / "dicomdir", tmp=tmp))) == len(listed)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "names", [["..", "IMAGE"], ["/etc/passwd"], ["A", "..", "..", "IMAGE"], ["."], ["A/B"], ["a..b"]]
)
def test_a_dicomdir_leads_nowhere_else(real_data: Path, tmp_path: Path, tmp: Path, names: list[str]) -> None:
    _write(tmp_path / "IMAGE", 1)
    ds = dcmread(real_data / "dicomdir" / "DICOMDIR")
    record = next(record for record in ds.DirectoryRecordSequence if "ReferencedFileID" in record)
    record.ReferencedFileID, ds.DirectoryRecordSequence = names, [record]
    (tmp_path / "medium").mkdir()
    ds.save_as(tmp_path / "medium" / "DICOMDIR")
    assert _reasons(list(incoming(tmp_path / "medium" / "DICOMDIR", tmp=tmp))) == [
        "the DICOMDIR lists a file outside of its folder"
    ]


def test_a_dicomdir_whose_files_are_not_there_or_that_is_cut_short_is_told(real_data, tmp_path, tmp) -> None:
    whole = (real_data / "dicomdir" / "DICOMDIR").read_bytes()
    (tmp_path / "DICOMDIR").write_bytes(whole)
    assert set(_reasons(list(incoming(tmp_path / "DICOMDIR", tmp=tmp)))) == {"listed in the DICOMDIR, but not there"}
    (tmp_path / "cut").write_bytes(whole[:3000])
    (refusal,) = incoming(tmp_path / "cut", tmp=tmp)
    assert isinstance(refusal, Refusal)


def test_a_dicomdir_in_a_folder_that_is_walked_counts_for_nothing(scans: Path, tmp: Path) -> None:
    _write(scans / "image", 1)
    (scans / "DICOMDIR").write_bytes(b"anything")
    assert _numbers(incoming(scans, tmp=tmp)) == [1]


def test_an_empty_folder_gives_nothing(scans: Path, tmp: Path) -> None:
    assert list(incoming([scans, []], tmp=tmp)) == []


def test_a_reference_has_no_blob_and_the_files_hashes_stay_open(scans: Path, tmp: Path) -> None:
    _write(scans / "image", 1)
    (item,) = incoming(scans, tmp=tmp, copy=False)
    assert isinstance(item, Incoming)
    assert item.reference is not None
    assert (item.blob, item.sha256, item.reference.path) == (None, None, scans / "image")
    assert not list(tmp.iterdir())


# -- what is checked --------------------------------------------------------------------------------------------------


def test_an_instance_carries_its_identity_and_the_main_attributes(tmp: Path) -> None:
    (item,) = incoming(small_ct(7, PatientID="X 1", IssuerOfPatientID="ward"), tmp=tmp)
    assert isinstance(item, Incoming)
    assert (item.identity.patient_id, item.identity.issuer) == ("X 1", "ward")
    assert item.attributes["Modality"] == "CT"
    assert item.attributes["ImageType"] == "DERIVED\\PRIMARY\\AXIAL"
    assert item.attributes["InstanceNumber"] == "7"
    assert item.blob is not None
    content = item.blob.read_bytes()
    assert content[item.header_length : item.header_length + 4] == b"\xe0\x7f\x10\x00"
    assert content[item.dataset_offset : item.dataset_offset + 2] == b"\x08\x00"


@pytest.mark.parametrize("name", ["chrFren.dcm", "chrGerm.dcm", "chrRuss.dcm", "chrH31.dcm"])
def test_names_are_decoded_as_pydicom_decodes_them(real_data: Path, tmp: Path, name: str) -> None:
    ds = dcmread(real_data / "charset" / name)
    ds.StudyInstanceUID = ds.get("StudyInstanceUID") or "1.2.3"
    ds.SeriesInstanceUID = ds.get("SeriesInstanceUID") or "1.2.3.4"
    expected = str(ds.PatientName)
    (item,) = incoming(ds, tmp=tmp)
    assert isinstance(item, Incoming)
    assert item.attributes["PatientName"] == expected


# -- zip --------------------------------------------------------------------------------------------------------------


def test_a_zip_archive_is_taken_named_or_found_whatever_its_members_are_called(scans: Path, tmp: Path) -> None:
    names = ["a/b.dcm", "../../escape", "/absolute", "C:\\windows\\x", "__MACOSX/._b", ".hidden", "DICOMDIR", "empty/"]
    with zipfile.ZipFile(scans / "study.ZIP", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(names, start=1):
            archive.writestr(name, b"" if name.endswith("/") else _bytes(number))
    before = sorted(scans.parent.rglob("*"))
    for source in (scans, scans / "study.ZIP"):
        found = list(incoming(source, tmp=tmp))
        assert _numbers(found) == [1, 2, 3, 4]
        blobs = [one.blob for one in found if isinstance(one, Incoming) and one.blob]
        assert {blob.parent for blob in blobs} == {tmp}
        for blob in blobs:
            blob.unlink()
    assert sorted(scans.parent.rglob("*")) == before


def test_zip_members_are_copied_even_where_files_are_not(scans: Path, tmp: Path) -> None:
    with zipfile.ZipFile(scans / "a.zip", "w") as archive:
        archive.writestr("x", _bytes(1))
    (item,) = incoming(scans, tmp=tmp, copy=False)
    assert isinstance(item, Incoming)
    assert item.reference is None
    assert item.blob is not None


def test_a_bomb_is_refused_before_it_is_inflated(scans: Path, tmp: Path) -> None:
    zeros = bytes(1 << 20)
    with zipfile.ZipFile(scans / "one.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x", "w") as member:
        for _ in range(100):
            member.write(zeros)
    with zipfile.ZipFile(scans / "many.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(40):
            archive.writestr(str(number), zeros)
    content = (scans / "many.zip").read_bytes()
    (scans / "many.zip").write_bytes(content.replace((1 << 20).to_bytes(4, "little"), (60 << 20).to_bytes(4, "little")))
    found = list(incoming(scans, tmp=tmp))
    assert len(found) == 2
    assert sorted(reason.split()[0] for reason in _reasons(found)) == ["a", "claims"]
    assert not list(tmp.iterdir())


def test_a_small_image_of_one_colour_is_no_bomb(scans: Path, tmp: Path) -> None:
    with zipfile.ZipFile(scans / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", _bytes(1, size=2048, PixelData=bytes(2048 * 2048 * 2)))
    assert _numbers(incoming(scans, tmp=tmp)) == [1]


def test_what_is_wrong_in_a_zip_archive_is_a_row_and_the_rest_goes_on(scans: Path, tmp: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("x", _bytes(9))
    with zipfile.ZipFile(scans / "a.zip", "w") as archive:
        archive.writestr("good", _bytes(1))
        archive.writestr("bad", _bytes(2))
        archive.writestr("secret", _bytes(3))
        archive.writestr("inner.zip", inner.getvalue())
        archive.writestr("note.txt", b"hello")
    content = bytearray((scans / "a.zip").read_bytes())
    content[content.index(_bytes(2)) + 700] ^= 1  # the CRC of the member no longer fits
    entry = content.rindex(b"secret") - 46
    content[entry + 8] |= 1  # the directory says: encrypted
    (scans / "a.zip").write_bytes(content)
    found = list(incoming(scans, tmp=tmp))
    assert _numbers(found) == [1]
    reasons = {Path(one.source).name.split("!")[1]: one.reason for one in found if isinstance(one, Refusal)}
    assert set(reasons) == {"bad", "secret", "inner.zip", "note.txt"}
    assert "damaged" in reasons["bad"]
    assert "encrypted" in reasons["secret"]
    assert "unpack" in reasons["inner.zip"]


def test_a_damaged_zip_archive_is_one_row(scans: Path, tmp: Path) -> None:
    with zipfile.ZipFile(scans / "a.zip", "w") as archive:
        archive.writestr("x", _bytes(1))
    (scans / "a.zip").write_bytes((scans / "a.zip").read_bytes()[:-30])
    assert _reasons(incoming(scans, tmp=tmp)) == ["a damaged zip archive; make it again"]


def test_a_dicom_file_with_a_zip_preamble_is_dicom(scans: Path, tmp: Path) -> None:
    (scans / "a").write_bytes(b"PK\x03\x04" + _bytes(1)[4:])
    assert _numbers(incoming(scans / "a", tmp=tmp)) == [1]


# -- objects ----------------------------------------------------------------------------------------------------------


def test_a_data_set_is_written_whole_and_left_as_it_was(tmp: Path) -> None:
    ds = small_ct(3)
    del ds.file_meta
    before = ds.to_json()
    (item,) = incoming(ds, tmp=tmp)
    assert isinstance(item, Incoming)
    assert item.blob is not None
    assert dcmread(item.blob).to_json() == before == ds.to_json()
    assert not hasattr(ds, "file_meta")


def test_a_data_set_read_from_a_real_file_keeps_its_bytes(real_data: Path, tmp: Path) -> None:
    for name in ("CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "rtplan.dcm"):
        path = real_data / "misc_pydicom" / name
        (file,) = incoming(path, tmp=tmp)
        (ds,) = incoming(dcmread(path), tmp=tmp)
        assert isinstance(file, Incoming), name
        assert isinstance(ds, Incoming), name
        assert ds.transfer_syntax_uid == file.transfer_syntax_uid
        assert ds.identity == file.identity
        if name != "rtplan.dcm":
            assert np.array_equal(dcmread(ds.blob).pixel_array, dcmread(file.blob).pixel_array)


def test_a_data_set_that_cannot_be_written_is_refused_without_its_values(tmp: Path) -> None:
    ds = small_ct()
    with pytest.warns(UserWarning, match="cannot be assigned"):
        ds.Rows = "Smith^John"
    (refusal,) = incoming(ds, tmp=tmp)
    assert isinstance(refusal, Refusal)
    assert "Smith" not in refusal.reason
    assert not list(tmp.iterdir())


def test_a_stream_is_taken_from_where_it_stands(tmp: Path) -> None:
    stream = io.BytesIO(b"skip" + _bytes(5))
    stream.seek(4)
    assert _numbers(incoming(stream, tmp=tmp)) == [5]
    (refusal,) = incoming(io.StringIO("text"), tmp=tmp)
    assert isinstance(refusal, Refusal)
    assert "binary" in refusal.reason


def test_lists_may_be_nested_and_mixed(scans: Path, tmp: Path) -> None:
    _write(scans / "image", 1)
    sources = [str(scans), [small_ct(2), (io.BytesIO(_bytes(3)),)], iter([small_ct(4)])]
    assert _numbers(incoming(sources, tmp=tmp)) == [1, 2, 3, 4]


class _Note:
    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers


def test_an_adapter_sees_all_it_may_put_together_and_then_each_alone(tmp: Path) -> None:
    asked: list[object] = []

    def together(thing: object) -> list[Dataset] | None:
        asked.append(thing)
        if isinstance(thing, list) and all(isinstance(one, _Note) for one in thing):
            return [small_ct(number) for one in thing for number in one.numbers]
        return None

    def alone(thing: object) -> list[Dataset] | None:
        return [small_ct(number) for number in thing.numbers] if isinstance(thing, _Note) else None

    notes = [_Note(1), _Note(2, 3)]
    assert _numbers(incoming([notes, small_ct(9)], tmp=tmp, adapters=[together])) == [1, 2, 3, 9]
    assert asked == [notes]
    assert _numbers(incoming(notes, tmp=tmp, adapters=[lambda _: None, alone])) == [1, 2, 3]


@pytest.mark.parametrize("thing", [7, None, b"bytes", {"a": 1}, object()])
def test_what_nobody_knows_is_refused_before_anything_is_taken(thing: object, scans: Path, tmp: Path) -> None:
    _write(scans / "image", 1)
    with pytest.raises(InvalidInputError, match=f"cannot ingest a {type(thing).__name__}; give a path"):
        incoming([scans, thing], tmp=tmp)
    assert not list(tmp.iterdir())


def _bytes(number: int, **attributes: object) -> bytes:
    buffer = io.BytesIO()
    small_ct(number, **attributes).save_as(buffer, enforce_file_format=True)  # type: ignore[arg-type]
    return buffer.getvalue()


def _write(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_bytes(number))


def _numbers(found: object) -> list[int]:
    items = [one for one in found if isinstance(one, Incoming)]  # type: ignore[attr-defined]
    return sorted(int(item.attributes["InstanceNumber"]) for item in items)


def _reasons(found: object) -> list[str]:
    return [one.reason for one in found if isinstance(one, Refusal)]  # type: ignore[attr-defined]


# -- what nobody means ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "a\0b", "~nobody-of-this-name/x"])
def test_a_path_that_cannot_be_one_is_an_error_of_the_call(path: str, tmp: Path) -> None:
    with pytest.raises(InvalidInputError, match="path"):
        list(incoming(path, tmp=tmp))


def test_a_list_that_holds_itself_is_an_error_of_the_call(tmp: Path) -> None:
    sources: list[object] = []
    sources.append(sources)
    with pytest.raises(InvalidInputError, match="flat list"):
        list(incoming(sources, tmp=tmp))


def test_a_stream_that_fails_is_refused_without_its_words(tmp: Path) -> None:
    class Failing(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise RuntimeError("Doe^John")

    closed = io.BytesIO(b"x")
    closed.close()
    refused = [one for one in incoming([Failing(), closed], tmp=tmp) if isinstance(one, Refusal)]
    assert len(refused) == 2
    assert all("read() failed" in one.reason and "Doe" not in one.reason for one in refused)
    assert not list(tmp.iterdir())
