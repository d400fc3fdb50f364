"""References to frames in their files: fsspec, Zarr and xarray read them without this project."""

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import xarray as xr
from pydicom.uid import RLELossless

import researchpacs as rp
from researchpacs.errors import InvalidInputError, NotFoundError, UnsupportedError
from researchpacs.volume import open_volume, restore

HEIGHTS = [(0, 0, 3.0 * k) for k in range(5)]


def opened(path, **options):
    """By libraries alone."""
    return xr.open_dataset(
        "reference://", engine="zarr",
        backend_kwargs={"consolidated": False, "storage_options": {"fo": str(path), "remote_protocol": "file"}},
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("chunks", ["frame", 3])
def test_references_give_the_volume(make_series, tmp_path, signed, chunks):
    stored = np.random.default_rng(1).integers(-900 if signed else 0, 4000, (5, 7, 9)).astype("i2" if signed else "u2")
    vol = open_volume(make_series(HEIGHTS, pixels=stored), chunks=chunks)
    vol.dicom.to_kerchunk(tmp_path / "vol.json")
    with opened(tmp_path / "vol.json") as ds:
        back = restore(ds["image"].load())
    np.testing.assert_array_equal(back.values, stored.astype(float) - 1024)
    np.testing.assert_array_equal(back.dicom.affine_lps, vol.dicom.affine_lps)
    assert back.dicom.frame_of_reference_uid == vol.dicom.frame_of_reference_uid
    with opened(tmp_path / "vol.json", mask_and_scale=False) as ds:
        np.testing.assert_array_equal(ds["image"].values, stored)


def test_every_range_is_the_pixels_that_pydicom_finds_there(make_series, tmp_path):
    series = make_series(HEIGHTS)
    open_volume(series, rescale=False).dicom.to_kerchunk(tmp_path / "vol.json")
    written = json.loads((tmp_path / "vol.json").read_text())
    assert written["version"] == 1
    assert "scale_factor" not in written["refs"]["image/.zattrs"]
    for k, path in enumerate(series.paths):
        place, offset, length = written["refs"][f"image/{k}.0.0"]
        assert Path(place) == path
        assert path.read_bytes()[offset : offset + length] == pydicom.dcmread(path).PixelData


def test_a_file_that_has_more_in_its_pixels_is_found(make_series, tmp_path):
    stored = np.zeros((5, 7, 9), np.uint16)
    stored[3, 2, 1] = 1 << 13  # above the 12 bits of a pixel, such as an overlay
    with pytest.raises(UnsupportedError, match="above Bits Stored"):
        open_volume(make_series(HEIGHTS, pixels=stored)).dicom.to_kerchunk(tmp_path / "vol.json")
    assert list(tmp_path.glob("*.json")) == []


def test_what_is_no_range_of_bytes_is_refused(make_series, tmp_path):
    series = make_series(HEIGHTS)
    vol = open_volume(series)
    for changed in (vol.compute(), vol + 1, vol[1:], open_volume(series, chunks={"y": 2})):
        with pytest.raises(InvalidInputError, match="as open_volume gives it"):
            changed.dicom.to_kerchunk(tmp_path / "vol.json")
    with pytest.raises(InvalidInputError, match=r"\.json"):
        vol.dicom.to_kerchunk(tmp_path / "vol.zarr")
    compressed = make_series(HEIGHTS, each=lambda k, ds: ds.compress(RLELossless, generate_instance_uid=False))
    with pytest.raises(UnsupportedError, match="compressed"):
        open_volume(compressed).dicom.to_kerchunk(tmp_path / "vol.json")

    def scaled(k, ds):
        ds.RescaleSlope = k + 1

    uneven = make_series(HEIGHTS, each=scaled)
    with pytest.raises(UnsupportedError, match="rescale=False"):
        open_volume(uneven).dicom.to_kerchunk(tmp_path / "vol.json")
    open_volume(uneven, rescale=False).dicom.to_kerchunk(tmp_path / "vol.json")
    whole = open_volume(make_series(HEIGHTS, pixels=np.zeros((5, 7, 9), np.int16)))  # all 16 bits are the pixel's
    whole.dicom.to_kerchunk(tmp_path / "whole.json")
    series.paths[0].unlink()
    with pytest.raises(NotFoundError, match="gone"):
        vol.dicom.to_kerchunk(tmp_path / "gone.json")


@pytest.mark.data
def test_references_of_a_real_series(real_data, home, tmp_path):
    with rp.connect(home) as pacs:
        series = pacs.ingest(real_data / "mr_ge_t1_dwi" / "05_3D_Ax_T1_MP_RAGE_R22", progress=False).series[0]
        vol = rp.open_volume(series)
        expected = rp.read_volume(series)
    vol.dicom.to_kerchunk(tmp_path / "vol.json")
    with opened(tmp_path / "vol.json", chunks={}) as ds:
        assert ds["image"].chunks[0] == (1,) * 130
        back = restore(ds["image"])
        np.testing.assert_array_equal(back.isel(x=100).values, expected.isel(x=100).values)
        assert float(np.abs(back[::20] - expected).max()) == 0
