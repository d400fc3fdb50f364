"""Overlays of a series are lazy masks on the grid of its images."""

import numpy as np
import pydicom
import pytest

import researchpacs as rp
from researchpacs.errors import PixelDataError, UnsupportedError
from researchpacs.volume.overlays import open_overlays

HEIGHTS = [(0, 0, 4.0 - 2.0 * k) for k in range(3)]
BITS = np.random.default_rng(1).integers(0, 2, (3, 5, 6)).astype(bool)


def drawn(k, ds):
    """An overlay of each slice but the last, and one in the highest bit of the pixels."""
    ds.PatientID = "P"
    if k < 2:
        ds.add_new((0x6000, 0x10), "US", 5)
        ds.add_new((0x6000, 0x11), "US", 6)
        ds.add_new((0x6000, 0x22), "LO", "Outline")
        ds.add_new((0x6000, 0x40), "CS", "R")
        ds.add_new((0x6000, 0x50), "SS", [1, 1])
        ds.add_new((0x6000, 0x100), "US", 1)
        ds.add_new((0x6000, 0x102), "US", 0)
        ds.add_new((0x6000, 0x3000), "OW", np.packbits(BITS[k].ravel(), bitorder="little").tobytes())
    ds.add_new((0x6002, 0x100), "US", 16)
    ds.add_new((0x6002, 0x102), "US", 15)
    ds.PixelData = (ds.pixel_array | BITS[k].astype(np.uint16) << 15).tobytes()


@pytest.fixture
def series(home, make_series):
    with rp.connect(home) as pacs:
        files = make_series(HEIGHTS[::-1], each=drawn)
        yield pacs.ingest(files.paths[0].parent, progress=False).series[0]


def test_overlays_are_masks_on_the_grid_of_the_volume(series):
    vol, found = rp.read_volume(series), open_overlays(series)
    assert sorted(found) == ["6000", "6002"]
    assert (vol.values < 4096).all()
    for mask in found.values():
        assert mask.dtype == bool
        assert mask.chunks == ((1, 1, 1), (5,), (6,))
        assert mask.coords.equals(vol.coords)
        np.testing.assert_array_equal(mask.dicom.affine_lps, vol.dicom.affine_lps)
    drawn_over, inside = found["6000"], found["6002"]
    np.testing.assert_array_equal(inside.values, BITS)
    np.testing.assert_array_equal(drawn_over.values, BITS & (np.arange(3) < 2)[:, None, None])
    assert (drawn_over.attrs["type"], drawn_over.attrs["description"]) == ("ROI", "Outline")
    assert inside.attrs["type"] == "GRAPHICS"
    assert float(vol.where(drawn_over).mean()) == pytest.approx(vol.values[drawn_over.values].mean())


def test_overlays_lie_as_the_frames_do_where_that_is_asked_for(series):
    masks = open_overlays(series, as_frames=True)["6002"]
    assert masks.dims == rp.open_frames(series).dims
    np.testing.assert_array_equal(masks.values, BITS)


def test_overlays_are_not_interpolated(series):
    with pytest.raises(UnsupportedError, match="not interpolated"):
        open_overlays(series, on_irregular="repair")


def test_a_broken_overlay_names_its_instance_and_leaves_the_others(home, make_series):
    def broken(k, ds):
        drawn(k, ds)
        if k == 1:
            ds[0x6000, 0x3000].value = b"\1\2"

    files = make_series(HEIGHTS[::-1], each=broken)
    with rp.connect(home) as pacs:
        masks = open_overlays(pacs.ingest(files.paths[0].parent, progress=False).series[0])["6000"]
        np.testing.assert_array_equal(masks[0].values, BITS[0])
        with pytest.raises(PixelDataError, match="6000"):
            masks.compute()


@pytest.mark.data
def test_a_real_overlay_is_what_pydicom_unpacks(home, real_data):
    path = real_data / "misc_pydicom" / "MR-SIEMENS-DICOM-WithOverlays.dcm"
    with rp.connect(home) as pacs:
        found = open_overlays(pacs.ingest(path, progress=False).series[0], as_frames=True)
    np.testing.assert_array_equal(found["6000"].values[0], pydicom.dcmread(path).overlay_array(0x6000))
