"""What is taken from a header in passing is what the whole file says when pydicom reads it."""

import io
import json
from pathlib import Path

import pydicom
import pytest

from researchpacs.dicom import _walk_quick
from researchpacs.dicom.encapsulation import frame_ranges
from researchpacs.dicom.facts import FactReader
from researchpacs.dicom.frame_record import unpack
from researchpacs.dicom.frames import frames_of
from researchpacs.dicom.header import read_header
from researchpacs.dicom.pixels import layout_of
from researchpacs.dicom.scan import scan
from researchpacs.dicom.values import read_tags
from researchpacs.errors import InvalidInputError, PixelDataError

pytestmark = pytest.mark.skipif(
    _walk_quick.quickwalk is None, reason="_quickwalk is not compiled: install a C compiler, then the package again"
)


def real_files(real_data: Path) -> list[Path]:
    ours = (path for path in real_data.rglob("*") if path.is_file())
    theirs = (path for path in (Path(pydicom.__file__).parent / "data" / "test_files").rglob("*") if path.is_file())
    return sorted({*ours, *theirs})


def taken(reader: FactReader, data: bytes):
    found = scan(io.BytesIO(data))
    return found, reader.read(found, data[: found.header_length], lambda at, length: data[at : at + length])


def whole_frames(ds, found, data):
    layout = layout_of(ds, found.transfer_syntax_uid)
    if layout is None or found.header_length >= found.size:
        return [], []
    try:
        read = lambda at, length: data[at : at + length]  # noqa: E731
        ranges, problems = frame_ranges(read, found.header_length, found.size, layout), []
    except PixelDataError:
        ranges, problems = None, [layout.pixel_keyword]
    if layout.table_bits == 0:
        problems.append("ModalityLUTSequence")
    return frames_of(ds, layout, ranges), problems


def test_facts_of_every_real_file_are_those_of_the_whole_file(real_data):
    reader, seen = FactReader(), 0
    for path in real_files(real_data):
        data = path.read_bytes()
        try:
            found, facts = taken(reader, data)
        except InvalidInputError:
            continue
        if facts is None:
            continue
        ds = read_header(
            data[: found.header_length],
            dataset_offset=found.dataset_offset,
            transfer_syntax_uid=found.transfer_syntax_uid,
        )
        tags, oddities = read_tags(ds)
        frames, problems = whole_frames(ds, found, data)
        number, rows = unpack(facts.frames)

        assert json.dumps(json.loads(facts.base) | json.loads(facts.own)) == json.dumps(tags), path
        assert repr(rows) == repr(frames), path
        told = [(oddity.keyword, oddity.problem) for oddity in oddities]
        assert [keyword for keyword, _ in facts.issues[: len(problems)]] == problems, path
        assert list(facts.issues[len(problems) :]) == told, path
        assert not rows or number == tags.get("InstanceNumber"), path
        seen += 1
    assert seen > 500


def test_neighbours_keep_only_where_they_differ(real_data):
    reader = FactReader()
    slices = sorted(path for path in (real_data / "ct_head_phantom").rglob("*") if path.is_file())[:20]

    found = [facts for path in slices if (facts := taken(reader, path.read_bytes())[1]) is not None]

    assert len(found) > 10
    assert len({facts.base for facts in found}) < 4
    assert sum(len(facts.own) for facts in found) < sum(len(facts.base) for facts in found) / 4
