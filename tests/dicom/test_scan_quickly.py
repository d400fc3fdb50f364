"""The compiled walk and the one in Python say the same of every file, sound, odd or broken."""

import io
import random
from pathlib import Path
from types import SimpleNamespace

import pydicom
import pytest

from researchpacs.dicom import _walk_quick
from researchpacs.dicom.scan import WANTED, scan
from researchpacs.errors import InvalidInputError

pytestmark = pytest.mark.skipif(
    _walk_quick.quickwalk is None, reason="_quickwalk is not compiled: install a C compiler, then the package again"
)

MUTATIONS = 60


def said(data: bytes) -> object:
    """Everything a scan says, or why it refuses."""
    try:
        found = scan(io.BytesIO(data))
    except InvalidInputError as error:
        return type(error), str(error)
    values = {tag: found.texts({"": tag})[""] for tag in WANTED}
    return values | {
        name: getattr(found, name)
        for name in (
            "transfer_syntax_uid", "size", "dataset_offset", "header_length", "elements", "issues", "vrs",
            "little_endian",
        )
    }  # fmt: skip


def both(data: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[object, object]:
    quick = said(data)
    with monkeypatch.context() as patch:
        patch.setattr(_walk_quick, "quickwalk", None)
        return quick, said(data)


def files(real_data: Path) -> list[Path]:
    ours = (path for path in real_data.rglob("*") if path.is_file() and path.stat().st_size < 2 << 20)
    theirs = (path for path in (Path(pydicom.__file__).parent / "data" / "test_files").rglob("*") if path.is_file())
    return sorted({*ours, *theirs})


def is_walked_quickly(data: bytes) -> bool:
    try:
        return scan(io.BytesIO(data)).table is not None
    except InvalidInputError:
        return False


def test_both_say_the_same_of_every_real_file(real_data, monkeypatch):
    quickly = 0
    for path in files(real_data):
        data = path.read_bytes()
        quick, slow = both(data, monkeypatch)
        assert quick == slow, path
        quickly += is_walked_quickly(data)
    assert quickly > 500


def test_both_say_the_same_of_what_was_cut_and_of_flipped_bytes(real_data, monkeypatch):
    chosen = random.Random(0)
    for path in chosen.sample(files(real_data), 40):
        data = path.read_bytes()
        header = min(len(data), 6000)
        for _ in range(MUTATIONS):
            broken = bytearray(data[: chosen.randrange(132, header + 1)] if chosen.random() < 0.2 else data)
            for _ in range(chosen.choice((1, 1, 1, 2, 8))):
                at = chosen.randrange(min(header, len(broken)))
                broken[at] = chosen.choice((0, 0x20, 0x5C, 0xFF, 0xFE, broken[at] ^ 1 << chosen.randrange(8)))
            quick, slow = both(bytes(broken), monkeypatch)
            assert quick == slow, path


def test_a_header_that_goes_on_beyond_the_first_block_is_walked_to_its_end(monkeypatch):
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.PatientName = "1.2", "1.2.2", "Long^Header"
    ds.private_block(0x0041, "GEMS_PARM_01", create=True).add_new(1, "OB", bytes(40_000))
    ds.Rows, ds.Columns = 2, 3
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)

    quick, slow = both(buffer.getvalue(), monkeypatch)

    assert quick == slow
    assert quick["elements"][0x00280011] == b"\x03\0"


@pytest.mark.parametrize("interface", [{}, {"INTERFACE": 0}, {"INTERFACE": _walk_quick._INTERFACE + 1}])
def test_a_walk_compiled_from_other_sources_is_left_alone(interface, monkeypatch):
    import researchpacs.dicom

    assert _walk_quick._compiled() is not None
    monkeypatch.setattr(researchpacs.dicom, "_quickwalk", SimpleNamespace(**interface))

    assert _walk_quick._compiled() is None
