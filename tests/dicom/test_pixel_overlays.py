"""Overlays mark the pixels that pydicom finds marked, where they lie on the image."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from researchpacs.dicom.overlays import overlays_of
from researchpacs.errors import PixelDataError


def drawn(bits, *, group=0x6000, origin=(1, 1), frames=None, first=None, kind="G", rows=None):
    ds = Dataset()
    ds.Rows, ds.Columns = 8, 10
    height, width = bits.shape[-2:]
    ds.add_new((group, 0x10), "US", height if rows is None else rows)
    ds.add_new((group, 0x11), "US", width)
    if frames is not None:
        ds.add_new((group, 0x15), "IS", frames)
    if first is not None:
        ds.add_new((group, 0x51), "US", first)
    ds.add_new((group, 0x22), "LO", "Outline ")
    ds.add_new((group, 0x40), "CS", kind)
    ds.add_new((group, 0x50), "SS", list(origin))
    ds.add_new((group, 0x100), "US", 1)
    ds.add_new((group, 0x102), "US", 0)
    ds.add_new((group, 0x1500), "LO", "lesion")
    ds.add_new((group, 0x3000), "OW", np.packbits(bits.ravel(), bitorder="little").tobytes() + b"\0")
    return ds


def random_bits(*shape):
    return np.random.default_rng(6).integers(0, 2, shape).astype(bool)


@pytest.mark.data
def test_real_overlays_are_what_pydicom_unpacks(real_data):
    ds = pydicom.dcmread(real_data / "misc_pydicom" / "MR-SIEMENS-DICOM-WithOverlays.dcm")
    (overlay,) = overlays_of(ds)
    assert overlay.group == 0x6000
    expected = ds.overlay_array(0x6000)
    assert expected.any()
    np.testing.assert_array_equal(overlay.mask((ds.Rows, ds.Columns)), expected)


@pytest.mark.parametrize("origin", [(1, 1), (3, 4), (-2, 0), (7, 9), (30, 1), (1, -40)])
def test_an_overlay_lies_where_its_origin_says(origin):
    bits = random_bits(5, 6)
    (overlay,) = overlays_of(drawn(bits, origin=origin, kind="R"))
    mask = overlay.mask((8, 10))
    expected = np.zeros((8, 10), bool)
    for row in range(5):
        for column in range(6):
            y, x = row + origin[0] - 1, column + origin[1] - 1
            if 0 <= y < 8 and 0 <= x < 10:
                expected[y, x] = bits[row, column]
    np.testing.assert_array_equal(mask, expected)
    assert overlay.is_region
    assert (overlay.label, overlay.description) == ("lesion", "Outline")


def test_frames_of_an_overlay_belong_to_frames_of_the_image():
    bits = random_bits(3, 5, 7)  # 35 bits a frame: they share bytes
    (overlay,) = overlays_of(drawn(bits, frames=3, first=2))
    for index in range(6):
        mask = overlay.mask((5, 7), index)
        np.testing.assert_array_equal(mask, bits[index - 1] if 1 <= index <= 3 else np.zeros((5, 7), bool))


def test_several_groups_are_several_overlays():
    ds = drawn(random_bits(4, 4))
    ds.update(drawn(~random_bits(4, 4), group=0x601E))
    assert [one.group for one in overlays_of(ds)] == [0x6000, 0x601E]
    assert overlays_of(Dataset()) == ()


def test_bits_in_the_pixels_are_taken_from_them():
    ds = Dataset()
    ds.Rows, ds.Columns = 4, 5
    ds.add_new((0x6000, 0x100), "US", 16)
    ds.add_new((0x6000, 0x102), "US", 12)
    cells = np.random.default_rng(8).integers(0, 65536, (4, 5)).astype(np.uint16)
    (overlay,) = overlays_of(ds)
    np.testing.assert_array_equal(overlay.mask((4, 5), cells=cells), cells & 0x1000 != 0)
    with pytest.raises(PixelDataError, match="not given"):
        overlay.mask((4, 5))


def test_a_broken_overlay_is_an_error():
    with pytest.raises(PixelDataError, match="6000"):
        overlays_of(drawn(random_bits(4, 4), rows=0))
    (short,) = overlays_of(drawn(random_bits(4, 4), rows=400))
    with pytest.raises(PixelDataError, match="too few bits"):
        short.mask((4, 4))
    lost = drawn(random_bits(4, 4))
    del lost[0x6000, 0x10]
    with pytest.raises(PixelDataError):
        overlays_of(lost)


def test_big_endian_words_are_swapped():
    ds = drawn(random_bits(4, 8))
    words = np.frombuffer(ds[0x6000, 0x3000].value[:4], np.uint16)
    ds[0x6000, 0x3000].value = words.byteswap().tobytes()
    np.testing.assert_array_equal(overlays_of(ds, big=True)[0].mask((4, 8)), random_bits(4, 8))


def test_pydicom_s_own_overlay_file():
    path = Path(pydicom.__file__).parent / "data" / "test_files" / "examples_overlay.dcm"
    ds = pydicom.dcmread(path)
    (overlay,) = overlays_of(ds)
    for index in range(int(ds.get("NumberOfFrames", 1))):
        np.testing.assert_array_equal(
            overlay.mask((ds.Rows, ds.Columns), index),
            ds.overlay_array(0x6000) if overlay.frames == 1 else ds.overlay_array(0x6000)[index],
        )
