"""Attributes as JSON, compared with pydicom's own values."""

import hashlib
import json
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence

from researchpacs.dicom.header import read_header
from researchpacs.dicom.scan import scan
from researchpacs.dicom.values import read_tags, tags_of

PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
FOLDERS = ("charset", "dicomdir", "misc_pydicom", "highdicom_seg_sr_sm_ann", "transfer_syntaxes_ct", "mr_enhanced")


def header_of(path: Path) -> Dataset:
    data = path.read_bytes()
    found = scan(BytesIO(data))
    return read_header(
        data[: found.header_length],
        dataset_offset=found.dataset_offset,
        transfer_syntax_uid=found.transfer_syntax_uid,
    )


def instances_below(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "reference" not in path.parts and path.suffix not in {".json", ".txt", ".md", ".gz"}:
            try:
                with path.open("rb") as file:
                    scan(file)
            except ValueError:
                continue
            found.append(path)
    return found


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_value_is_the_one_that_pydicom_reads(real_data, folder):
    paths = instances_below(real_data / folder)
    assert paths
    compared = 0
    for path in paths:
        tags = tags_of(header_of(path))
        json.loads(json.dumps(tags, allow_nan=False))
        ds = pydicom.dcmread(path, force=True)
        for element in ds:
            if element.keyword and element.VR in {"UI", "CS", "LO", "SH", "PN", "DA", "TM", "IS", "US", "FD"}:
                compared += _assert_same(tags[element.keyword], element)
        # What stands after the pixel data is no part of the header.
        assert len(tags) == len([tag for tag in list(ds.keys()) if tag < 0x7FE10000 and tag not in PIXELS])
    assert compared > 50


def _assert_same(found: object, element: DataElement) -> int:
    values = element.value if element.VM > 1 else [element.value]
    if element.VM == 0:
        assert found is None
        return 0
    listed = found if isinstance(found, list) else [found]
    assert len(listed) == len(values)
    for one, value in zip(listed, values, strict=True):
        if element.VR in {"IS", "US", "FD"}:
            assert float(one) == float(value)
        else:
            assert (one or "") == str(value).rstrip(" \0")
    return 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chrFren.dcm", "Buc^Jérôme"),
        ("chrGerm.dcm", "Äneas^Rüdiger"),
        ("chrRuss.dcm", "Люкceмбypг"),  # noqa: RUF001 -- as in the file
        ("chrH31.dcm", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("chrX1.dcm", "Wang^XiaoDong=王^小東"),
    ],
)
def test_names_come_through_in_every_character_set(real_data, name, expected):
    assert tags_of(header_of(real_data / "charset" / name))["PatientName"] == expected


def test_private_attributes_carry_their_creator():
    ds = Dataset()
    block = ds.private_block(0x0019, "RESEARCH LAB", create=True)
    block.add_new(0x0C, "IS", "1000")

    assert tags_of(ds) == {
        "(0019,0010)": {"creator": None, "value": "RESEARCH LAB"},
        "(0019,100c)": {"creator": "RESEARCH LAB", "value": 1000},
    }


def test_bytes_are_kept_when_few_and_named_when_many():
    ds = Dataset()
    ds.add_new("ICCProfile", "OB", b"\x01\x02")
    ds.add_new("EncapsulatedDocument", "OB", b"\x00" * 65)

    tags = tags_of(ds)

    assert tags["ICCProfile"] == {"length": 2, "hex": "0102"}
    assert tags["EncapsulatedDocument"] == {"length": 65, "sha256": hashlib.sha256(b"\x00" * 65).hexdigest()}


def test_sequences_nest():
    ds, inner = Dataset(), Dataset()
    inner.CodeValue = "T-A0100"
    inner.add_new("PurposeOfReferenceCodeSequence", "SQ", Sequence([]))
    ds.AnatomicRegionSequence = Sequence([inner])

    assert tags_of(ds) == {"AnatomicRegionSequence": [{"CodeValue": "T-A0100", "PurposeOfReferenceCodeSequence": []}]}


def test_numbers_that_json_has_not_become_text():
    ds = Dataset()
    ds.add_new("RealWorldValueSlope", "FD", [float("nan"), float("inf"), float("-inf"), 1.5])

    assert json.loads(json.dumps(tags_of(ds), allow_nan=False)) == {"RealWorldValueSlope": ["NaN", "inf", "-inf", 1.5]}


def test_a_broken_value_is_kept_as_text_and_told():
    ds = parsed(b"\x20\x00\x13\x00IS\x04\x00abc " + b"\x28\x00\x10\x00US\x03\x00\x01\x02\x03")

    tags, oddities = read_tags(ds)

    assert tags["InstanceNumber"] == "abc"
    assert tags["Rows"] == {"length": 3, "hex": "010203"}
    assert {oddity.keyword for oddity in oddities} == {"InstanceNumber", "Rows"}
    assert not any("abc" in oddity.problem for oddity in oddities)


def test_text_outside_its_character_set_is_told():
    tags, oddities = read_tags(
        parsed(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 192" + b"\x10\x00\x10\x00PN\x04\x00A\xff\xfe^")
    )

    assert "\ufffd" in tags["PatientName"]
    assert [oddity.keyword for oddity in oddities] == ["PatientName"]


def test_overlays_of_two_groups_do_not_meet_under_one_keyword():
    ds = Dataset()
    ds.add_new(0x60000010, "US", 1)
    ds.add_new(0x60020010, "US", 2)

    assert tags_of(ds) == {"OverlayRows": 1, "(6002,0010)": {"creator": None, "value": 2}}


def test_pixel_representation_settles_what_implicit_vr_leaves_open():
    pixels = b"\x28\x00\x03\x01\x02\x00\x00\x00\x01\x00"
    padding = b"\x28\x00\x20\x01\x02\x00\x00\x00\x00\xf8"

    assert tags_of(parsed(pixels + padding, "1.2.840.10008.1.2"))["PixelPaddingValue"] == -2048
    assert tags_of(parsed(padding, "1.2.840.10008.1.2"))["PixelPaddingValue"] == 63488


def test_a_memory_changes_no_value(real_data):
    memory = {}
    for path in instances_below(real_data / "misc_pydicom") + instances_below(real_data / "charset"):
        assert read_tags(header_of(path), memory) == read_tags(header_of(path))
    assert memory


def parsed(data: bytes, transfer_syntax_uid: str = "1.2.840.10008.1.2.1") -> Dataset:
    return read_header(data, dataset_offset=0, transfer_syntax_uid=transfer_syntax_uid)


def test_every_character_set_that_pydicom_has_a_file_of_reads_alike() -> None:
    sets = set()
    for name in pydicom.data.get_charset_files("*.dcm"):
        ds = pydicom.dcmread(name)
        if "StudyInstanceUID" not in ds:  # which no archive takes
            continue
        ours = tags_of(header_of(Path(name)))
        for element in ds:
            is_text = element.VR in {"PN", "LO", "SH", "LT", "ST", "UT"} and element.VM == 1 and element.value
            if is_text and element.keyword:
                assert ours[element.keyword] == str(element.value).rstrip(), (name, element.keyword)
        sets.add(str(ds.get("SpecificCharacterSet")))
    assert len(sets) > 10
