"""Large instances are changed without their pixels in memory, and come out as if they had been read whole."""

import tracemalloc
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless

import researchpacs as rp
from researchpacs.archive import Stored
from researchpacs.errors import ResearchPacsError, UnsupportedError
from researchpacs.server import pixels_apart
from researchpacs.server.modification import Modification, make_instance, move_instance, new_uids
from researchpacs.testing import small_ct

MB = 1 << 20
REPLACED = Modification.parse("modify", "study", "s3cret", {"Replace": {"StudyDescription": "new"}, "Remove": ["KVP"]})
ANONYMIZED = Modification.parse("anonymize", "study", "s3cret", {})


@pytest.fixture
def pacs(home: Path) -> Iterator[rp.Pacs]:
    with rp.connect(home) as pacs:
        yield pacs


def stored_in(pacs: rp.Pacs) -> list[Stored]:
    keys = [str(one.attributes()["instance_key"]) for one in pacs.search("instance")]
    return sorted(pacs.archive.rows(keys).values(), key=lambda stored: stored.key)


def made(pacs: rp.Pacs, stored: Stored, modification: Modification) -> bytes | str:
    try:
        return b"".join(make_instance(pacs, stored, modification, new_uids(modification, [stored])))
    except ResearchPacsError as error:
        return type(error).__name__


def large(frames: int, **attributes: Any) -> Dataset:
    """An instance of a mebibyte a frame."""
    ds = small_ct(1, **attributes)
    ds.Rows, ds.Columns, ds.NumberOfFrames = 512, 1024, frames
    ds.PixelData = np.arange(frames * 512 * 1024, dtype="<u4").astype("<u2").tobytes()
    return ds


def test_real_instances_come_out_the_same_either_way(
    pacs: rp.Pacs, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacs.ingest([real_data / "misc_pydicom", real_data / "transfer_syntaxes_ct"], progress=False)
    target = small_ct(7, PatientID="OTHER", StudyInstanceUID="1.2.9")
    apart = 0
    for stored in stored_in(pacs):
        new_uid = new_uids(REPLACED, [stored])
        for modification in (REPLACED, ANONYMIZED):
            monkeypatch.setattr(pixels_apart, "SMALL", 1 << 40)
            whole = made(pacs, stored, modification)
            moved = b"".join(move_instance(pacs, stored, target, new_uid))
            monkeypatch.setattr(pixels_apart, "SMALL", -1)
            assert made(pacs, stored, modification) == whole
            assert b"".join(move_instance(pacs, stored, target, new_uid)) == moved
        apart += pixels_apart.read_apart(pacs, stored)[1]
    assert apart > 10


@pytest.mark.parametrize(
    ("modification", "compressed"), [(REPLACED, False), (ANONYMIZED, True)], ids=["modify", "anonymize"]
)
def test_a_large_instance_is_never_held_whole(pacs: rp.Pacs, modification: Modification, compressed: bool) -> None:
    ds = large(36)
    pixels = ds.PixelData
    if compressed:
        # What the codestreams say is nobody's business here.
        ds.file_meta.TransferSyntaxUID = JPEGLSLossless
        ds.PixelData = encapsulate([b"\xff\xd8\xff" + pixels[at + 3 : at + MB] for at in range(0, len(pixels), MB)])
        ds["PixelData"].is_undefined_length = True
    pacs.ingest(ds)
    (stored,) = stored_in(pacs)
    size, last = 0, b""
    tracemalloc.start()
    try:
        for piece in make_instance(pacs, stored, modification, new_uids(modification, [stored])):
            size, last = size + len(piece), piece
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * MB
    assert abs(size - stored.size) < 10_000
    assert last == pacs.archive.read(stored.key)[-len(last) :]


def test_what_stands_behind_the_pixels_is_changed_too(pacs: rp.Pacs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a name could be left there."""
    monkeypatch.setattr(pixels_apart, "SMALL", -1)
    ds = small_ct(1)
    ds.add_new(0x7FE30010, "LO", "SOMEBODY")
    ds.add_new(0x7FE31001, "PN", "Doe^Jane")
    ds.add_new(0xFFFCFFFC, "OB", bytes(10))
    pacs.ingest(ds)
    (stored,) = stored_in(pacs)
    assert b"Doe^Jane" in pacs.archive.read(stored.key)
    content = made(pacs, stored, ANONYMIZED)
    assert isinstance(content, bytes)
    assert b"Doe^Jane" not in content
    assert dcmread(BytesIO(content)).PixelData == ds.PixelData
    added = Modification.parse("modify", "study", "s3cret", {"Replace": {"7fe1-0010": "behind"}})
    pacs.delete(pacs.search("study").first())
    pacs.ingest(small_ct(2))
    (stored,) = stored_in(pacs)
    content = made(pacs, stored, added)
    assert isinstance(content, bytes)
    assert [int(element.tag) for element in dcmread(BytesIO(content))][-2:] == [0x7FE00010, 0x7FE10010]


def test_what_is_too_large_to_be_read_whole_is_refused(pacs: rp.Pacs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels_apart, "MOST_BYTES", 2 * MB)
    monkeypatch.setattr(pixels_apart, "SMALL", MB)
    pacs.ingest(large(4))
    (stored,) = stored_in(pacs)
    assert isinstance(made(pacs, stored, REPLACED), bytes)
    transcoded = Modification.parse("modify", "study", "s3cret", {"Transcode": str(JPEGLSLossless)})
    with pytest.raises(UnsupportedError, match="only where its pixels stay"):
        make_instance(pacs, stored, transcoded, new_uids(transcoded, [stored]))
