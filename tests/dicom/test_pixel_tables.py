"""Look-up tables give what pydicom's do, and broken ones an error: never other colours, never other values."""

import io
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

from researchpacs.dicom.pixels import layout_of
from researchpacs.dicom.tables import table_in, table_of
from researchpacs.errors import PixelDataError

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
COLOURS = ("Red", "Green", "Blue")


def palette(descriptor, data, *, segmented=False, syntax=EXPLICIT, signed=0):
    """An image whose three colours have tables of the given bytes, written and read again."""
    ds = Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = 4, 4, 16, 16, 15
    ds.SamplesPerPixel, ds.PixelRepresentation, ds.PhotometricInterpretation = 1, signed, "PALETTE COLOR"
    for colour, value in zip(COLOURS, data, strict=True):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", list(descriptor))
        setattr(ds, f"{'Segmented' if segmented else ''}{colour}PaletteColorLookupTableData", value)
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    file.seek(0)
    return pydicom.dcmread(file)


def looked_up(ds, values, syntax=EXPLICIT):
    return table_of(ds, layout_of(ds, syntax)).apply(values)


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["misc_pydicom/OT-PAL-8-face.dcm", "misc_pydicom/OBXXXX1A_rle_2frame.dcm", "us_nm_cine/US-PAL-8-10x-echo"]
)
def test_real_palettes_give_the_colours_that_pydicom_gives(real_data, name):
    ds = pydicom.dcmread(real_data / name, force=True)
    if "TransferSyntaxUID" not in ds.file_meta:
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    colours = looked_up(ds, ds.pixel_array)
    assert colours.dtype == np.uint16
    assert layout_of(ds, EXPLICIT).table_bits == 16
    np.testing.assert_array_equal(colours, apply_color_lut(ds.pixel_array, ds))


@pytest.mark.parametrize("first", [0, 7, -3])
@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
@pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN])
def test_palettes_give_the_colours_they_were_made_with(first, bits, dtype, syntax):
    entries = np.random.default_rng(2).integers(0, 1 << bits, (3, 10)).astype(dtype)
    words = [one.astype("<u2" if bits == 16 else "u1").tobytes() for one in entries]
    if syntax == BIG_ENDIAN:
        words = [np.frombuffer(one, "<u2").astype(">u2").tobytes() for one in words]
    ds = palette((10, first, bits), words, syntax=syntax, signed=int(first < 0))
    values = np.arange(-5, 25).astype(np.int16)
    expected = entries[:, np.clip(values.astype(int) - first, 0, 9)].T
    found = looked_up(ds, values, syntax)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)


def test_eight_bits_may_stand_in_either_half_of_a_word():
    entries = np.arange(1, 7, dtype="<u2") * 40
    for words in (entries, entries << 8):
        ds = palette((6, 0, 8), [words.tobytes()] * 3)
        np.testing.assert_array_equal(looked_up(ds, np.arange(6))[:, 0], entries)


def test_no_entries_are_65536(tmp_path):
    entries = np.random.default_rng(3).integers(0, 65536, 65536).astype("<u2")
    ds = palette((0, 0, 16), [entries.tobytes()] * 3)
    values = np.array([0, 1, 40_000, 65_535], np.uint16)
    np.testing.assert_array_equal(looked_up(ds, values), np.stack([entries[values]] * 3, axis=-1))


SEGMENTS = [
    (16, [0, 3, 10, 20, 30, 1, 4, 70], 7),
    (16, [0, 1, 0, 1, 255, 65535], 256),
    (16, [0, 2, 9, 9, 1, 5, 9, 1, 3, 0], 10),
    (8, [0, 3, 1, 2, 3, 1, 3, 200, 0, 1, 5], 7),
    (8, [0, 2, 5, 9, 1, 2, 100, 2, 2, 0, 0, 0, 0], 8),
    (8, [0, 2, 5, 9, 1, 2, 100, 2, 1, 4, 0, 0, 0], 6),
]


@pytest.mark.parametrize(("bits", "words", "count"), SEGMENTS)
def test_segmented_palettes_expand_as_pydicom_expands_them(bits, words, count):
    value = np.array(words, "<u2" if bits == 16 else "u1").tobytes()
    ds = palette((count, 0, bits), [value + b"\0" * (len(value) % 2)] * 3, segmented=True)
    values = np.arange(count).astype(np.uint16)
    np.testing.assert_array_equal(looked_up(ds, values), apply_color_lut(values, ds))


def test_an_indirect_segment_counts_bytes():
    """PS3.3 C.7.9.2.3 has a byte offset; the segment at byte 8 is the ramp."""
    words = np.array([0, 2, 5, 9, 1, 2, 100, 2, 1, 8, 0], "<u2")
    ds = palette((6, 0, 16), [words.tobytes()] * 3, segmented=True)
    np.testing.assert_array_equal(looked_up(ds, np.arange(6))[:, 1], [5, 9, 54, 100, 100, 100])


@pytest.mark.parametrize(
    "words",
    [
        [1, 4, 70, 0, 1, 1],
        [0, 9, 1, 2, 3],
        [3, 2, 1, 1, 1],
        [0, 2, 1, 1, 2, 1, 8, 0],
        [0, 2, 1, 1, 2, 60000, 0, 0],
        [0, 2, 1, 1, 2, 1, 0, 9],
        [0, 0, 0, 0, 2, 60000, 0, 0],
        [0, 2, 1, 1, 2],
        [0, 2, 1, 1],
        [],
    ],
)
def test_segments_that_cannot_be_are_an_error(words):
    ds = palette((6, 0, 16), [np.array(words, "<u2").tobytes()] * 3, segmented=True)
    with pytest.raises(PixelDataError):
        looked_up(ds, np.arange(6))


@given(
    st.lists(st.integers(0, 3) | st.integers(0, 300), max_size=40),
    st.sampled_from([8, 16]),
    st.integers(1, 400),
)
def test_no_segments_do_anything_but_expand_or_fail(words, bits, count):
    ds = Dataset()
    ds.add_new("LUTDescriptor", "US", [count, 0, bits])
    value = np.array([word & 0xFF if bits == 8 else word for word in words], "<u2" if bits == 16 else "u1").tobytes()
    ds.add_new("SegmentedRedPaletteColorLookupTableData", "OW", value)
    ds.add_new("RedPaletteColorLookupTableDescriptor", "US", [count, 0, bits])
    try:
        table = table_in(ds, "RedPaletteColorLookupTable", signed=False)
    except PixelDataError:
        return
    assert table.entries.shape == (count,)


def modality(descriptor, data, *, vr="US", signed=0):
    ds = Dataset()
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = 4, 4, 16, 12, 11
    ds.SamplesPerPixel, ds.PixelRepresentation, ds.PhotometricInterpretation = 1, signed, "MONOCHROME2"
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", list(descriptor))
    item.add_new("LUTData", vr, data)
    ds.ModalityLUTSequence = [item]
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = EXPLICIT
    return ds


@pytest.mark.parametrize(("first", "signed"), [(0, 0), (100, 0), (-50, 1)])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("vr", ["US", "OW"])
def test_modality_luts_give_the_values_that_pydicom_gives(first, signed, bits, vr):
    entries = np.random.default_rng(5).integers(0, 1 << bits, 64)
    data = entries.astype("<u2").tobytes() if vr == "OW" else entries.tolist()
    ds = modality((64, first, bits), data, vr=vr, signed=signed)
    values = np.arange(-80, 200).astype(np.int16)
    np.testing.assert_array_equal(looked_up(ds, values), apply_modality_lut(values, ds))


@pytest.mark.parametrize(
    "ds",
    [
        modality((64, 0, 16), [1] * 63),
        modality((64, 0, 16), bytes(64), vr="OW"),
        modality((64, 0, 0), [1] * 64),
        modality((64, 0, 17), [1] * 64),
        modality((64, 0), [1] * 64),
        palette((4, 0, 16), [bytes(8), bytes(8), bytes(6)]),
        palette((4, 0, 40), [bytes(8)] * 3),
    ],
    ids=["short", "half", "no bits", "many bits", "no descriptor", "uneven", "40 bits"],
)
def test_a_broken_table_is_an_error(ds):
    with pytest.raises(PixelDataError):
        looked_up(ds, np.arange(4))


def test_a_missing_table_is_an_error():
    ds = modality((4, 0, 16), [1] * 4)
    layout = layout_of(ds, EXPLICIT)
    del ds.ModalityLUTSequence
    with pytest.raises(PixelDataError, match="Modality LUT is missing"):
        table_of(ds, layout)
    ds.PhotometricInterpretation = "PALETTE COLOR"
    assert layout_of(ds, EXPLICIT).table_bits == 0
    with pytest.raises(PixelDataError):
        table_of(ds, layout_of(ds, EXPLICIT))


def test_the_layout_tells_how_wide_a_table_is_from_data_sets_and_from_their_attributes():
    assert layout_of(modality((4, 0, 12), [1] * 4), EXPLICIT).table_bits == 12
    assert layout_of(pydicom.dcmread(PYDICOM_FILES / "CT_small.dcm"), EXPLICIT).table_bits is None
    tags = {"Rows": 4, "Columns": 4, "BitsAllocated": 8, "PhotometricInterpretation": "PALETTE COLOR"}
    assert layout_of(tags, EXPLICIT).table_bits == 0
    assert layout_of({**tags, "RedPaletteColorLookupTableDescriptor": [256, 0, 8]}, EXPLICIT).table_bits == 8
    grey = {**tags, "PhotometricInterpretation": "MONOCHROME2"}
    assert layout_of({**grey, "ModalityLUTSequence": [{"LUTDescriptor": [4, 0, 16]}]}, EXPLICIT).table_bits == 16
    assert layout_of({**grey, "ModalityLUTSequence": []}, EXPLICIT).table_bits == 0


def test_a_table_of_words_is_read_in_their_order():
    values = struct.pack(">4H", 1, 256, 3, 65535)
    ds = Dataset()
    ds.add_new("LUTDescriptor", "US", [4, 0, 16])
    ds.add_new("LUTData", "OW", values)
    np.testing.assert_array_equal(table_in(ds, "LUT", signed=False, big=True).entries, [1, 256, 3, 65535])
