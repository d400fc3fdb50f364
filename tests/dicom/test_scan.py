"""The header scan on files that scanners, software and pydicom's own tests have written."""

import io
import warnings
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.multival import MultiValue

from researchpacs.dicom.keywords import MAIN
from researchpacs.dicom.scan import WANTED, MediaDirectoryError, scan
from researchpacs.errors import InvalidInputError

PYDICOM_DATA = Path(pydicom.__file__).parent / "data"
UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
# Their last value ends behind the end of the file; kept, they would stand in the way of the complete instance.
TRUNCATED = {"MR_truncated.dcm", "rtplan_truncated.dcm"}
PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}


def read_with_pydicom(path):
    """The data set if pydicom can read all of it and knows which instance it is, else None."""
    try:
        ds = pydicom.dcmread(path, force=True)
        for element in ds.iterall():
            element.value  # noqa: B018
    except Exception:  # whatever pydicom raises: it cannot read the file
        return None
    return ds if all(ds.get(uid) for uid in UIDS) else None


def as_text(value):
    if value is None:
        return ""
    return "\\".join(map(as_text, value)) if isinstance(value, MultiValue | list) else str(value)


def files_below(*folders):
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


def assert_agrees_with_pydicom(path):
    """Scan a file and compare it with pydicom; returns whether pydicom can read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = read_with_pydicom(path)
        if ds is None or path.name in TRUNCATED:
            with path.open("rb") as file, pytest.raises(InvalidInputError):
                scan(file)
            return False
        with path.open("rb") as file:
            found = scan(file)
        theirs = {keyword_for_tag(tag): as_text(ds.get(keyword_for_tag(tag))) for tag in WANTED}
        assert {keyword: found.text(keyword) for keyword in theirs} == theirs, path.name
        if declared := getattr(ds, "file_meta", {}).get("TransferSyntaxUID"):
            assert found.transfer_syntax_uid == declared
        assert found.size == path.stat().st_size
        has_pixels = any(tag in ds for tag in PIXELS) and found.transfer_syntax_uid != "1.2.840.10008.1.2.1.99"
        assert (found.header_length < found.size) == has_pixels, path.name
        if has_pixels:
            header = pydicom.dcmread(io.BytesIO(path.read_bytes()[: found.header_length]), force=True)
            assert set(header.keys()) == {tag for tag in ds.keys() if tag < min(PIXELS)}  # noqa: SIM118
    return True


def test_every_file_of_pydicom_is_read_as_pydicom_reads_it():
    readable = [path for path in files_below(PYDICOM_DATA) if assert_agrees_with_pydicom(path)]
    assert len(readable) > 140


def test_every_real_file_is_read_as_pydicom_reads_it(real_data):
    folders = [folder for folder in real_data.iterdir() if folder.is_dir()]
    paths = [path for folder in folders for path in files_below(folder)]
    # whole series repeat themselves: the first ten files of a folder stand for it
    some = [path for path in paths if sorted(path.parent.iterdir()).index(path) < 10 or len(paths) < 60]
    readable = [path for path in some if assert_agrees_with_pydicom(path)]
    assert len(readable) > 150


@pytest.mark.parametrize("name", ["", "-bigEnd", "-implicit", "-empty.dcm"])
def test_media_directories_are_told_from_instances(name):
    path = PYDICOM_DATA / "test_files" / "dicomdirtests" / f"DICOMDIR{name}"
    with path.open("rb") as file, pytest.raises(MediaDirectoryError):
        scan(file)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chrH31", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("chrRuss", "Люкceмбypг"),  # noqa: RUF001
        ("chrX1", "Wang^XiaoDong=王^小東"),
        ("chrGerm", "Äneas^Rüdiger"),
    ],
)
def test_names_are_decoded_with_the_file_s_character_set(name, text):
    with (PYDICOM_DATA / "charset_files" / f"{name}.dcm").open("rb") as file:
        assert scan(file).text("PatientName") == text


def test_main_attributes_are_wanted_by_default():
    assert {tag_for_keyword(keyword) for level in MAIN.values() for keyword in level} <= WANTED


def test_what_is_not_wanted_is_not_kept():
    with (PYDICOM_DATA / "test_files" / "CT_small.dcm").open("rb") as file:
        found = scan(file, wanted=[tag_for_keyword("KVP")])
    assert found.text("KVP") == "120"
    assert found.text("PatientName") == ""
    assert found.text("SeriesInstanceUID") != ""


def test_a_large_pixel_value_is_walked_over_not_read(tmp_path):
    data = (PYDICOM_DATA / "test_files" / "CT_small.dcm").read_bytes()
    with (PYDICOM_DATA / "test_files" / "CT_small.dcm").open("rb") as file:
        header = scan(file).header_length
    path = tmp_path / "large.dcm"
    with path.open("wb") as file:
        file.write(data[: header + 8] + (500_000_000).to_bytes(4, "little"))
        file.truncate(header + 12 + 500_000_000)
    with path.open("rb") as file:
        counted = CountingFile(file)
        found = scan(counted)
    assert found.header_length == header
    assert counted.bytes_read < 100_000


def test_reprs_and_reasons_show_no_patient():
    with (PYDICOM_DATA / "test_files" / "CT_small.dcm").open("rb") as file:
        found = scan(file)
    assert "CompressedSamples" in found.text("PatientName")
    assert "CompressedSamples" not in repr(found)


SEEDS = [
    (PYDICOM_DATA / "test_files" / name).read_bytes()
    for name in (
        "rtplan.dcm",
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_RLE.dcm",
        "test-SR.dcm",
        "image_dfl.dcm",
        "ExplVR_LitEndNoMeta.dcm",
        "priv_SQ.dcm",
        "reportsi.dcm",
    )
]
STRUCTURE = [
    b"\xff\xff\xff\xff",
    b"\xfe\xff\x00\xe0",
    b"\xfe\xff\x0d\xe0",
    b"\xfe\xff\xdd\xe0",
    b"SQ\0\0",
    b"UN\0\0\xff\xff\xff\xff",
    b"OB\0\0\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"ISO 2022 IR 87",
    b"\x1b$B",
    b"\xe0\x7f\x10\x00",
]


@st.composite
def damaged_files(draw):
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, min(len(data), 4000)))
        damage = draw(st.one_of(st.binary(min_size=1, max_size=6), st.sampled_from(STRUCTURE)))
        how = draw(st.sampled_from(["overwrite", "insert", "remove", "cut"]))
        if how == "overwrite":
            data[at : at + len(damage)] = damage
        elif how == "insert":
            data[at:at] = damage
        elif how == "remove":
            del data[at : at + len(damage)]
        else:
            del data[at:]
    return bytes(data)


@settings(max_examples=400, deadline=2000)
@given(damaged_files())
def test_damaged_files_are_scanned_or_refused_and_nothing_else(data):
    try:
        found = scan(io.BytesIO(data))
    except InvalidInputError:
        return
    for tag in WANTED:
        found.text(keyword_for_tag(tag))
    assert all(found.text(uid) for uid in UIDS)
    assert found.dataset_offset <= found.header_length <= found.size == len(data)


class CountingFile(io.RawIOBase):
    """A file that counts what is read of it."""

    def __init__(self, file):
        self._file, self.bytes_read = file, 0

    def read(self, size=-1):
        data = self._file.read(size)
        self.bytes_read += len(data)
        return data

    def seek(self, offset, whence=0):
        return self._file.seek(offset, whence)
