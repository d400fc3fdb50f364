"""Two volumes of one patient on one grid: in colours, or as a difference."""

import dask.array as da
import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

import researchpacs as rp
from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.reconstruct import Registration, fuse, resample, subtract
from researchpacs.volume import as_volume


def ct(uid="1.2.3"):
    affine = np.array([[0, 0, 1.0, -10], [0, 1.0, 0, -20], [2.0, 0, 0, 30], [0, 0, 0, 1.0]])
    data = np.random.default_rng(0).integers(-1000, 1000, (12, 30, 32)).astype(np.int16)
    return as_volume(data, affine, uid, attrs={"Modality": "CT", "units": "HU", "history": ("made",)})


def pet(uid="1.2.3"):
    affine = np.array([[0, 0, -3.0, 20], [0, 3.0, 0, -20], [4.0, 0, 0, 30], [0, 0, 0, 1.0]])
    data = np.random.default_rng(1).random((5, 9, 8)).astype(np.float32) * 10
    return as_volume(data, affine, uid, attrs={"Modality": "PT", "units": "g/ml"})


@pytest.mark.parametrize("is_lazy", [(False, False), (True, False), (False, True), (True, True)])
def test_a_fused_picture_is_grey_and_colour_blended(is_lazy):
    vol, over = ct(), pet()
    given = [one.chunk({"z": 2}) if lazy else one for one, lazy in zip((vol, over), is_lazy, strict=True)]
    picture = fuse(*given, alpha=0.6, limits=(-500, 500), over_limits=(1, 9))
    assert isinstance(picture.data, da.Array) == any(is_lazy)
    assert picture.dims == ("z", "y", "x", "rgb")
    assert picture.dtype == np.uint8
    np.testing.assert_allclose(picture.dicom.affine_lps, vol.dicom.affine_lps)
    grey = np.clip((vol.values + 500.0) / 1000, 0, 1)
    level = np.clip((resample(over, like=vol, fill=np.nan).values - 1.0) / 8, 0, 1)
    colour = mpl.colormaps["hot"](np.nan_to_num(level))[..., :3]
    share = 0.6 * np.nan_to_num(level)[..., None]
    expected = 255 * ((1 - share) * grey[..., None] + share * colour)
    assert np.abs(picture.values - expected).mean() < 1
    assert np.abs(picture.values - expected).max() < 12, "colours are in 256 steps"
    unseen = np.isnan(level)
    assert unseen.any()
    np.testing.assert_allclose(picture.values[unseen], np.rint(255 * grey[unseen])[:, None] * [1, 1, 1], atol=1)


def test_a_real_pet_lies_on_its_ct(real_data, tmp_path):
    with rp.connect(tmp_path / "home") as pacs:
        pacs.ingest(real_data / "petct_mr_rtstruct_sts_002", progress=False)
        found = {s.Modality: rp.open_volume(s) for s in pacs.search("series", Modality=["CT", "PT"])}
        vol, over = found["CT"], found["PT"]
        picture = fuse(vol, over, colours="autumn", over_limits=(0.0, float(over.max())))
        assert isinstance(picture.data, da.Array)
        place = np.unravel_index(int(over.values.argmax()), over.shape)
        spot = np.rint(vol.dicom.to_index(over.dicom.to_lps(place))).astype(int)
        hot = picture.isel(z=int(spot[0])).values[spot[1], spot[2]].astype(int)
        flat = picture.isel(z=int(spot[0])).values.astype(int)
    assert hot[0] > hot[2] + 30, "yellow rather than grey where the PET is brightest"
    assert np.abs(flat[..., 0] - flat[..., 2]).mean() < 60


def test_a_difference_is_there_where_both_were_seen():
    vol = ct()
    prior = ct().isel(z=slice(0, 8)) + np.int16(3)
    for now, before in ((vol, prior), (vol.chunk({"z": 1}), prior)):
        difference = subtract(now, before)
        assert isinstance(difference.data, da.Array) == isinstance(now.data, da.Array)
        assert difference.dtype == np.float32
        assert (difference.values[:8] == -3).all()
        assert np.isnan(difference.values[9:]).all()
        assert difference.coords.equals(vol.coords)
        assert difference.attrs["history"] == ("made", "subtracted: a prior, linear")
    wide = vol.copy(data=np.full(vol.shape, 32000, np.int16))
    assert (subtract(wide, -wide).values == 64000).all(), "int16 would have wrapped around"


def test_padding_has_no_difference():
    vol = ct().assign_attrs(padding=(-3000.0, -3000.0))
    vol[:, :4] = -3000
    assert np.isnan(subtract(vol, ct()).values[:, :4]).all()
    assert np.isnan(subtract(ct(), vol).values[:, :4]).all()
    assert (subtract(ct(), vol).values[:, 5:] == 0).all()


def test_a_registration_brings_the_prior_along():
    vol, prior = ct(), ct("9.9.9")
    shifted = prior.assign_coords(x=prior.x)
    matrix = np.eye(4)
    matrix[0, 3] = 5.0
    registration = Registration("rigid", matrix, None, "9.9.9", vol)
    difference = subtract(vol, shifted, registration=registration)
    np.testing.assert_allclose(
        difference.values[:, :, :-5], vol.values[:, :, :-5].astype(float) - prior.values[:, :, 5:], atol=1e-3
    )
    assert np.isnan(difference.values[:, :, -4:]).all()
    picture = fuse(vol, shifted, registration=registration)
    assert picture.shape == (*vol.shape, 3)
    with pytest.raises(GeometryError, match="other Frames"):
        subtract(vol, ct("7.7.7"), registration=registration)


def test_other_frames_and_units_are_refused():
    with pytest.raises(GeometryError, match="register"):
        subtract(ct(), ct("9.9.9"))
    with pytest.raises(GeometryError, match="register"):
        fuse(ct(), pet("9.9.9"))
    with pytest.raises(InvalidInputError, match="no difference"):
        subtract(ct(), pet())
    times = xr.concat([ct(), ct()], xr.DataArray([0, 1], dims="time"))
    with pytest.raises(GeometryError, match="isel"):
        fuse(times, pet())


@pytest.mark.parametrize("wrong", [
    {"alpha": 2}, {"colours": "no such map"}, {"limits": (3, 1)}, {"over_limits": 5}, {"over_limits": ("a", "b")},
])  # fmt: skip
def test_wrong_calls_say_what_was_expected(wrong):
    with pytest.raises(InvalidInputError, match="expected"):
        fuse(ct(), pet(), **wrong)
