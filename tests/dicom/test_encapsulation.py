"""Frames are found where they are: in native values, behind offset tables, in fragments without a table."""

import io
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import HEVCM10P51, MPEG2MPML, MPEG4HP41, MPEG4HP42STEREOF

from researchpacs.dicom.encapsulation import frame_ranges, join_fragments
from researchpacs.dicom.pixels import PixelLayout, decode_instance, layout_of
from researchpacs.dicom.scan import scan
from researchpacs.errors import PixelDataError

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
EXPLICIT, BIG_ENDIAN, DEFLATED = (f"1.2.840.10008.1.2{tail}" for tail in (".1", ".2", ".1.99"))
JPEG, RLE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5"
GREY = PixelLayout(EXPLICIT, 4, 6, 1, 16, 16, 0, "MONOCHROME2", 0)


def element(vr, value, *, undefined=False, order="<"):
    length = 0xFFFFFFFF if undefined else len(value)
    return struct.pack(f"{order}HH2sHI", 0x7FE0, 0x0010, vr, 0, length) + value


def item(value):
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def ranges_of(data, layout, header_length=0):
    return frame_ranges(lambda offset, length: data[offset : offset + length], header_length, len(data), layout)


def frames_in(data, layout, header_length=0):
    ranges = ranges_of(data, layout, header_length)
    return [join_fragments(data[offset : offset + length]) for offset, length in ranges]


SOI, EOI = b"\xff\xd8\xff\xe0", b"\xff\xd9"
FRAMES = [SOI + bytes([number]) * 10 + EOI for number in range(1, 6)]
FIVE = replace(GREY, transfer_syntax_uid=JPEG, number_of_frames=5)
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"


def test_native_frames_follow_each_other():
    layout = replace(GREY, number_of_frames=3)
    assert ranges_of(b"junk" + element(b"OW", bytes(144)), layout, 4) == [(16, 48), (64, 48), (112, 48)]


def test_fragments_are_no_native_pixels():
    data = element(b"OB", item(b"") + item(bytes(60)) + DELIMITER, undefined=True)
    with pytest.raises(PixelDataError, match="fragments"):
        ranges_of(data, GREY)
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = EXPLICIT
    ds.Rows = 4
    file = io.BytesIO()
    pydicom.dcmwrite(file, ds, enforce_file_format=False)
    with pytest.raises(PixelDataError, match="fragments"):
        decode_instance(file.getvalue() + data, 0, GREY)


def test_native_frames_of_an_element_without_vr():
    layout = replace(GREY, transfer_syntax_uid="1.2.840.10008.1.2")
    data = struct.pack("<HHI", 0x7FE0, 0x0010, 48) + bytes(48)
    assert ranges_of(data, layout) == [(8, 48)]


def test_length_that_spells_a_vr_is_no_vr():
    layout = replace(
        GREY, transfer_syntax_uid="1.2.840.10008.1.2", rows=1, columns=int.from_bytes(b"PW", "little") // 2
    )
    data = struct.pack("<HHI", 0x7FE0, 0x0010, int.from_bytes(b"PW", "little")) + bytes(0x5750)
    assert ranges_of(data, layout) == [(8, 0x5750)]


def test_subsampled_colour_takes_two_thirds():
    layout = replace(GREY, samples_per_pixel=3, bits_allocated=8, photometric_interpretation="YBR_FULL_422")
    assert ranges_of(element(b"OB", bytes(48)), layout) == [(12, 48)]


def test_bit_packed_frames_of_whole_bytes_have_ranges():
    layout = replace(GREY, rows=8, bits_allocated=1, bits_stored=1, number_of_frames=2)
    assert ranges_of(element(b"OB", bytes(12)), layout) == [(12, 6), (18, 6)]


def test_frames_that_do_not_stand_for_themselves_have_no_range():
    bits = replace(GREY, rows=3, columns=3, bits_allocated=1, bits_stored=1, number_of_frames=4)
    words = replace(GREY, transfer_syntax_uid=BIG_ENDIAN, bits_allocated=8)
    assert ranges_of(element(b"OB", bytes(6)), bits) is None
    assert ranges_of(element(b"OW", bytes(24), order=">"), words) is None
    assert ranges_of(element(b"OW", bytes(48)), replace(GREY, bits_stored=12, high_bit=15)) is None
    assert ranges_of(b"", replace(GREY, transfer_syntax_uid=DEFLATED)) is None
    for video in (MPEG2MPML, MPEG4HP41, MPEG4HP42STEREOF, HEVCM10P51):
        assert ranges_of(b"", replace(GREY, transfer_syntax_uid=str(video))) is None


def test_big_endian_bytes_have_ranges():
    layout = replace(GREY, transfer_syntax_uid=BIG_ENDIAN, bits_allocated=8)
    assert ranges_of(element(b"OB", bytes(24), order=">"), layout) == [(12, 24)]


def test_instance_without_pixel_data_has_no_frames():
    assert ranges_of(b"header", GREY, 6) == []


@pytest.mark.parametrize("has_table", [True, False], ids=["table", "no table"])
@pytest.mark.parametrize("fragments", [1, 3])
def test_encapsulated_frames_come_out_as_they_went_in(has_table, fragments):
    data = element(b"OB", encapsulate(FRAMES, fragments, has_table), undefined=True) + DELIMITER
    assert frames_in(data, FIVE) == FRAMES


def test_all_fragments_of_a_single_frame_are_its_own():
    data = element(b"OB", encapsulate([FRAMES[0]], 4, False), undefined=True) + DELIMITER
    assert frames_in(data, replace(FIVE, number_of_frames=1)) == FRAMES[:1]


@pytest.mark.parametrize("total_length", [b"", struct.pack("<HH2sHIQ", 0x7FE0, 0x0003, b"UV", 0, 8, 70)])
def test_extended_offset_table_is_used(total_length):
    value, offsets, lengths = encapsulate_extended(FRAMES)
    tables = b"".join(
        struct.pack("<HH2sHI", 0x7FE0, number, b"OV", 0, len(table)) + table
        for number, table in ((1, offsets), (2, lengths))
    )
    header = b"header" + tables + total_length
    data = header + element(b"OB", value, undefined=True) + DELIMITER
    reads = []

    def read(offset, length):
        reads.append(length)
        return data[offset : offset + length]

    ranges = frame_ranges(read, len(header), len(data), FIVE)
    assert [join_fragments(data[offset : offset + length]) for offset, length in ranges] == FRAMES
    assert len(reads) < 7, "the fragments were walked although a table says where they are"


@pytest.mark.parametrize(
    "table",
    [
        b"\0" * 20,
        struct.pack("<5I", 0, 24, 24, 48, 72),
        struct.pack("<5I", 0, 2**20, 2**21, 2**22, 2**32 - 1),
        struct.pack("<5I", 0, 2, 4, 6, 8),
    ],
    ids=["zeros", "repeats", "outside", "between"],
)
def test_broken_offset_table_is_not_believed(table):
    data = element(b"OB", item(table) + b"".join(map(item, FRAMES)) + DELIMITER, undefined=True)
    assert frames_in(data, FIVE) == FRAMES


@pytest.mark.parametrize("move", [8, 2**40])
def test_broken_extended_offset_table_is_not_believed(move):
    value, offsets, lengths = encapsulate_extended(FRAMES)
    moved = struct.pack("<5Q", 0, *(one + move for one in struct.unpack("<5Q", offsets)[1:]))
    tables = b"".join(
        struct.pack("<HH2sHI", 0x7FE0, number, b"OV", 0, len(table)) + table
        for number, table in ((1, moved), (2, lengths))
    )
    data = tables + element(b"OB", value, undefined=True) + DELIMITER
    assert frames_in(data, FIVE, len(tables)) == FRAMES


@pytest.mark.parametrize("frames", [0, -1, -(2**31)])
def test_no_frames_is_an_error(frames):
    data = element(b"OB", item(b"") + item(b"\1\2"), undefined=True) + DELIMITER
    with pytest.raises(PixelDataError, match="frames"):
        ranges_of(data, replace(FIVE, number_of_frames=frames))


def test_fragments_that_cannot_be_shared_out_are_an_error():
    data = element(b"OB", item(b"") + item(b"\1\2") * 7 + DELIMITER, undefined=True)
    with pytest.raises(PixelDataError, match="7 fragments for 5 frames"):
        ranges_of(data, FIVE)


@pytest.mark.parametrize(
    ("data", "layout"),
    [
        (element(b"OW", bytes(46)), GREY),
        (element(b"OW", bytes(48))[:-1], GREY),
        (element(b"OB", item(b"") + item(SOI), undefined=True), replace(FIVE, number_of_frames=1)),
        (element(b"OB", b"no items", undefined=True), FIVE),
        (element(b"OB", item(b"")[:6], undefined=True), FIVE),
        (struct.pack("<HH2sHI", 0x0028, 0x0010, b"OW", 0, 48) + bytes(48), GREY),
        (b"\xe0\x7f\x10", GREY),
        (element(b"OW", bytes(48)), replace(GREY, rows=0)),
        (element(b"OW", bytes(48)), replace(GREY, number_of_frames=2_000_000_000)),
    ],
    ids=["short", "cut", "unterminated", "no items", "cut table", "other tag", "nothing", "no rows", "too many frames"],
)
def test_pixel_data_that_does_not_hold_its_frames_is_an_error(data, layout):
    with pytest.raises(PixelDataError):
        ranges_of(data, layout)


@pytest.mark.parametrize("data", [b"", item(b"abcd")[:-1], b"abcdefgh", item(b"ab") + b"tail"])
def test_bytes_that_are_not_a_row_of_items_are_not_joined(data):
    if data:
        with pytest.raises(PixelDataError):
            join_fragments(data)
    else:
        assert join_fragments(data) == b""


@pytest.mark.parametrize("name", ["rtdose_rle", "SC_rgb_rle_2frame", "examples_ybr_color", "MR_small_jp2klossless"])
def test_real_frames_are_those_pydicom_finds(name):
    path = PYDICOM_FILES / f"{name}.dcm"
    data, ds = path.read_bytes(), pydicom.dcmread(path)
    layout = layout_of(ds, ds.file_meta.TransferSyntaxUID)
    theirs = list(generate_frames(ds.PixelData, number_of_frames=layout.number_of_frames))
    assert frames_in(data, layout, scan(io.BytesIO(data)).header_length) == theirs


def test_unaligned_bit_frames_are_decoded_from_the_instance():
    frames = np.random.default_rng(7).integers(0, 2, (5, 3, 3), dtype=np.uint8)
    ds = pydicom.dcmread(PYDICOM_FILES / "CT_small.dcm")
    ds.Rows = ds.Columns = 3
    ds.NumberOfFrames, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 5, 1, 1, 0, 0
    ds.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()
    file = io.BytesIO()
    ds.save_as(file)
    layout = layout_of(ds, EXPLICIT)
    assert ranges_of(file.getvalue(), layout, scan(file).header_length) is None
    decoded = [decode_instance(file.getvalue(), index, layout) for index in range(5)]
    np.testing.assert_array_equal(decoded, frames)
