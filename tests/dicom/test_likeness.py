"""A header that is taken for like another one is read as it would be by itself, value for value."""

import io
import random
from pathlib import Path

import pytest
from pydicom import Dataset

from researchpacs.dicom import _walk_quick
from researchpacs.dicom.facts import FactReader, Facts
from researchpacs.dicom.likeness import Like, Likeness
from researchpacs.dicom.scan import WANTED, Scan, scan
from researchpacs.errors import InvalidInputError
from researchpacs.testing import small_ct

pytestmark = pytest.mark.skipif(
    _walk_quick.quickwalk is None, reason="_quickwalk is not compiled: install a C compiler, then the package again"
)

BLOCK = 16_384
MUTATIONS = 3000
POSITIONS = ("-0", "1e2", ".5", "+7.", "1e-5", "0.1000000000000", "123456789012345")


class Reader:
    """Reads files as a worker of an ingest does."""

    def __init__(self) -> None:
        self.facts = FactReader()
        self.likeness: Likeness[Scan] = Likeness(self.facts)

    def fully(self, data: bytes) -> tuple[Scan, Facts | None]:
        found = scan(io.BytesIO(data))
        if found.table is None or found.header_length >= found.size:
            return found, None
        read = self.facts.read(
            found, data[: found.header_length], lambda offset, length: data[offset : offset + length]
        )
        return found, read

    def like(self, data: bytes) -> Like[Scan] | None:
        return self.likeness.read(data[:BLOCK], len(data))

    def take(self, data: bytes) -> bool:
        """Whether a file is like one before; it is compared with what is said of it by itself."""
        like = self.like(data)
        found, facts = self.fully(data)
        if like is None:
            self.likeness.learn(found, facts, data[:BLOCK], found)
            return False
        assert facts == like.facts
        places = ("transfer_syntax_uid", "size", "dataset_offset", "header_length")
        assert [getattr(found, name) for name in places] == [getattr(like.found, name) for name in places]
        assert found.issues == like.found.issues == ()
        for tag in WANTED:
            text: str | None = like.texts[tag] if tag in like.texts else like.model.texts({"": tag})[""]
            assert found.texts({"": tag})[""] == text
        return True


def test_every_real_file_is_read_as_by_itself(real_data: Path) -> None:
    alike = 0
    for folder in sorted({path.parent for path in real_data.rglob("*") if path.is_file()}):
        reader = Reader()
        for path in [path for path in sorted(folder.iterdir()) if path.is_file()][:40]:
            data = path.read_bytes()
            try:
                alike += reader.take(data)
            except InvalidInputError:
                assert reader.like(data) is None, path
    assert alike > 60


def test_what_is_broken_is_read_as_by_itself_or_not_at_all() -> None:
    datas = [written(with_much(number)) for number in range(1, 7)]
    chosen, alike = random.Random(0), 0
    reader = Reader()
    reader.take(datas[0])
    header = reader.fully(datas[0])[0].header_length + 12
    for _ in range(MUTATIONS):
        broken = bytearray(chosen.choice(datas))
        for _ in range(chosen.choice((1, 1, 1, 2, 4))):
            at = chosen.randrange(132, header)
            broken[at] = chosen.choice((0, 0x20, 0x31, 0x5C, 0xFF, broken[at] ^ 1 << chosen.randrange(8)))
        data = bytes(broken) if chosen.random() < 0.9 else bytes(broken[: chosen.randrange(len(broken))])
        like = reader.like(data)
        if like is None:
            continue
        alike += 1
        found, facts = reader.fully(data)
        assert found.issues == ()
        assert facts == like.facts
        told = {tag: text for tag, text in like.texts.items() if tag in WANTED}
        assert {tag: found.texts({"": tag})[""] for tag in told} == told
    assert alike > MUTATIONS // 50


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientID", "ANOTHER"),
        ("StudyInstanceUID", "1.2.3"),
        ("SeriesInstanceUID", "1.2.3"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7"),
        ("Rows", 5),
        ("SpecificCharacterSet", "ISO_IR 192"),
        ("SeriesDescription", "Größe"),
        ("SOPInstanceUID", ""),
    ],
)
def test_what_others_are_read_by_is_never_overlooked(keyword: str, value: object) -> None:
    reader = Reader()
    assert not reader.take(written(small_ct(1)))
    assert reader.take(written(small_ct(2)))
    other = small_ct(3)
    setattr(other, keyword, value)
    assert reader.like(written(other)) is None


def test_values_are_written_as_they_are_in_a_catalog() -> None:
    reader = Reader()
    for number in range(len(POSITIONS)):
        assert reader.take(written(with_much(number))) == (number > 0)


def with_much(number: int) -> Dataset:
    """Make an instance that differs from others in values of many kinds."""
    dataset = small_ct(number + 1)
    dataset.SliceLocation = POSITIONS[number]
    dataset.ImageComments = f"Comment {number} / ok"
    dataset.PatientName = f"Someone^{number}"
    dataset.EffectiveDuration = number / 3
    dataset.TriggerTime = None if number % 2 else number
    dataset.ReferencedImageSequence = [Dataset()]
    dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID = f"1.2.{number}"
    dataset.add_new(0x00280106, "US", number)
    block = dataset.private_block(0x0045, "MAKER 1", create=True)
    block.add_new(1, "SS", -number)
    block.add_new(2, "LO", f"private {number}")
    block.add_new(3, "OB", bytes([number, 7]))
    return dataset


def written(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
