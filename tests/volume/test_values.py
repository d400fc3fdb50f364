"""Values: rescaled slice by slice, in the smallest type that holds them, and only the bits that are stored."""

import subprocess
import sys

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from researchpacs.dicom.pixels import PixelLayout
from researchpacs.features import first_order
from researchpacs.model import Frame
from researchpacs.reconstruct import project
from researchpacs.volume import open_volume, read_volume
from researchpacs.volume._layouts import rescaled_dtype

HEIGHTS = [(0, 0, 2.0 * k) for k in range(3)]


def rescale(slope, intercept, bits=12):
    def each(_, ds):
        ds.RescaleSlope, ds.RescaleIntercept = str(slope), str(intercept)
        ds.BitsStored, ds.HighBit = bits, bits - 1

    return each


def pixels(dtype, low, high):
    return np.random.default_rng(3).integers(low, high, (3, 5, 6), endpoint=True).astype(dtype)


@pytest.mark.parametrize(("stored", "bits", "slope", "intercept", "expected"), [
    (pixels(np.uint16, 0, 4095), 12, 1, -1024, np.int16),
    (pixels(np.uint16, 0, 65535), 16, 1, -1024, np.int32),
    (pixels(np.uint16, 0, 4095), 12, 16, 0, np.int32),
    (pixels(np.uint16, 0, 255), 8, 2, -7, np.int16),
    (pixels(np.int16, -32768, 32767), 16, 1, 0, np.int16),
    (pixels(np.int16, -32768, 32767), 16, 1, 1, np.int32),
    (pixels(np.int16, -2048, 2047), 12, 1, -100, np.int16),
    (pixels(np.int16, -2048, 2047), 12, -3, 5, np.int16),
    (pixels(np.uint8, 0, 255), 8, 1, 0, np.int16),
    (pixels(np.uint32, 0, 2**32 - 1), 32, 1, 0, np.int64),
    (pixels(np.uint16, 0, 4095), 12, 0.5, 0, np.float32),
    (pixels(np.uint16, 0, 65535), 16, 2.0222414, -0.25, np.float32),
])  # fmt: skip
def test_rescale_keeps_the_smallest_type_that_holds_every_value(make_series, stored, bits, slope, intercept, expected):
    series = make_series(HEIGHTS, pixels=stored, each=rescale(slope, intercept, bits))
    vol = read_volume(series)
    assert vol.dtype == expected
    truth = stored.astype(np.float64) * slope + intercept
    np.testing.assert_array_equal(vol.values, truth.astype(expected))
    assert open_volume(series).compute().identical(vol)
    raw = read_volume(series, rescale=False)
    assert raw.dtype == stored.dtype
    np.testing.assert_array_equal(raw.values, stored)


def test_slopes_may_differ_from_slice_to_slice(make_series):
    def each(k, ds):
        ds.RescaleSlope, ds.RescaleIntercept = str(0.5 + k), str(-k)

    stored = pixels(np.uint16, 0, 4095)
    vol = read_volume(make_series(HEIGHTS, pixels=stored, each=each))
    for k in range(3):
        np.testing.assert_array_equal(vol.values[k], (stored[k] * (0.5 + k) - k).astype(np.float32))


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_bits_above_bits_stored_are_not_values(make_series, dtype):
    clean = pixels(np.int16, -2048, 2047) if dtype == np.int16 else pixels(np.uint16, 0, 4095)
    dirty = ((clean.view(np.uint16) & 0x0FFF) | 0x5000).view(dtype)
    series = make_series(HEIGHTS, pixels=dirty, each=rescale(1, 0, 12))
    np.testing.assert_array_equal(read_volume(series, rescale=False).values, clean)
    np.testing.assert_array_equal(read_volume(series).values, clean)
    for path, plane in zip(series.paths, clean, strict=True):
        np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, plane)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 32), st.booleans(), st.integers(-(2**20), 2**20).filter(bool), st.integers(-(2**31), 2**31))
def test_the_chosen_type_holds_both_ends(bits, signed, slope, intercept):
    allocated = 8 if bits <= 8 else 16 if bits <= 16 else 32
    layout = PixelLayout("1.2.840.10008.1.2.1", 1, 1, 1, allocated, bits, int(signed), "MONOCHROME2", 0)
    frame = Frame("1", 0, 1, None, None, None, float(slope), float(intercept), 0, 4, layout)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    dtype = rescaled_dtype([frame])
    ends = [low * slope + intercept, high * slope + intercept]
    assert np.iinfo(dtype).min <= min(ends)
    assert max(ends) <= np.iinfo(dtype).max


def test_units_history_and_series_are_attributes(make_series):
    series = make_series(HEIGHTS)
    vol = read_volume(series)
    assert vol.attrs["units"] == "HU"
    assert vol.attrs["Modality"] == "CT"
    assert vol.attrs["SeriesInstanceUID"] == vol.dicom.series == series.uid
    assert vol.attrs["StudyInstanceUID"] == str(series.attributes()["StudyInstanceUID"])
    assert vol.dicom.frame_of_reference_uid == str(series.attributes()["FrameOfReferenceUID"])
    assert vol.attrs["history"]
    assert vol.name is None
    assert read_volume(series, rescale=False).attrs["units"] == "stored value"


def padded(make_series, *, signed=False, limit=None, slope=1):
    """Three slices of 0 to 599, five pixels of the middle one padding."""
    stored = np.arange(3 * 200).reshape(3, 10, 20).astype(np.int16 if signed else np.uint16)
    value = -2000 if signed else 4090
    stored[1, 4, :5] = value
    if limit is not None:
        stored[1, 5, 5] = limit

    def pad(_, ds):
        ds.add_new("PixelPaddingValue", "SS" if signed else "US", value)
        ds.RescaleSlope, ds.RescaleIntercept = slope, -1024
        if limit is not None:
            ds.PixelPaddingRangeLimit = limit

    seen = np.ones(stored.shape, bool)
    seen[1, 4, :5] = False
    seen[1, 5, 5] = limit is None
    return make_series(HEIGHTS, pixels=stored, each=pad), stored.astype(float) * slope - 1024, seen


@pytest.mark.parametrize("options", [{}, {"signed": True}, {"limit": 4080}, {"slope": 2}, {"slope": 0.5}])
@pytest.mark.parametrize("opens", [open_volume, read_volume])
def test_padding_is_a_mask_left_out_of_statistics_and_projections(make_series, opens, options):
    series, truth, seen = padded(make_series, **options)
    vol = opens(series)
    np.testing.assert_array_equal(vol.dicom.padding.values, ~seen)
    found = first_order(vol)
    assert found["mean"] == pytest.approx(truth[seen].mean())
    assert (found["minimum"], found["maximum"]) == (truth[seen].min(), truth[seen].max())
    rest = np.where(seen, truth, np.nan)
    for how, pick in (("max", np.nanmax), ("min", np.nanmin), ("mean", np.nanmean)):
        projected = project(vol, along="z", how=how)
        np.testing.assert_allclose(projected.values, pick(rest, axis=0), rtol=1e-6)
        assert projected.dtype == (np.float32 if how == "mean" else vol.dtype)


def test_padding_is_not_believed_of_values_that_were_changed(make_series):
    series, _, _ = padded(make_series, signed=True)
    vol = read_volume(series)
    assert vol.dicom.padding.values.sum() == 5
    assert not (vol * 2).dicom.padding.values.any()
    assert not (vol + 5000).dicom.padding.values.any()
    assert not read_volume(make_series(HEIGHTS)).dicom.padding.values.any()


def test_a_series_without_a_frame_of_reference_shares_its_own_with_none(make_series):
    def forget(_, ds):
        del ds.FrameOfReferenceUID

    first, second = make_series(HEIGHTS, each=forget), make_series(HEIGHTS, each=forget)
    a, b = read_volume(first), read_volume(second)
    assert a.dicom.frame_of_reference_uid == read_volume(first).dicom.frame_of_reference_uid
    assert a.dicom.frame_of_reference_uid != b.dicom.frame_of_reference_uid
    assert pydicom.uid.UID(a.dicom.frame_of_reference_uid).is_valid


def test_a_single_slice_is_a_volume_of_one(make_series):
    series = make_series([(1, 2, 3)])
    vol = read_volume(series)
    assert vol.shape == (1, 5, 6)
    assert vol.dicom.orientation == "SPL"
    assert (float(vol.x[0]), float(vol.y[0]), float(vol.z[0])) == (1, 2, 3)
    assert open_volume(series).compute().identical(vol)


PEAK = """
import re, sys
sys.path[:0] = {path!r}
import importlib.util
spec = importlib.util.spec_from_file_location("conftest", {conftest!r})
conftest = importlib.util.module_from_spec(spec); spec.loader.exec_module(conftest)
from pathlib import Path
from researchpacs.volume import read_volume
small = conftest.FolderSeries(tuple(sorted(Path({small!r}).iterdir())), "1.2.3")
large = conftest.FolderSeries(tuple(sorted(Path({large!r}).iterdir())), "1.2.3")
frames, places = large.frames(), {{u.sop_uid: u for u in large.locate([f.sop_uid for f in large.frames()])}}
attributes = large.attributes()
class Known:
    uid = "1.2.3"
    attributes = staticmethod(lambda: attributes)
    frames = staticmethod(lambda: frames)
    locate = staticmethod(lambda uids: [places[u] for u in uids])
def kib(name):
    # Not getrusage: it counts what the parent had in memory before this program began.
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
read_volume(small)
Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
before = kib("VmRSS")
vol = read_volume(Known)
print(1024 * (kib("VmHWM") - before) / vol.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status is missing: only Linux has it")
def test_reading_needs_little_more_memory_than_the_volume(make_series):
    plane = np.zeros((1024, 1024), np.uint16)
    small = make_series(HEIGHTS)
    large = make_series([(0, 0, 2.0 * k) for k in range(64)], pixels=[plane] * 64)
    code = PEAK.format(
        path=sys.path, conftest=__file__.replace("test_values", "conftest"),
        small=str(small.paths[0].parent), large=str(large.paths[0].parent),
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1.2
