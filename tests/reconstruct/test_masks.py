"""Masks are what SimpleITK, scipy and the phantom's truth say they are, on the grid of the volume."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import researchpacs as rp
from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.reconstruct import masks, resample
from researchpacs.volume import as_volume

AFFINE = np.array([[0, 0, 1.5, -10], [0, 1.0, 0, -20], [2.0, 0, 0, 30], [0, 0, 0, 1.0]])


def volume(values, attrs=None):
    return as_volume(np.asarray(values), AFFINE, "1.2.3", attrs=attrs or {"Modality": "CT", "SeriesInstanceUID": "1.2"})


def noise(shape=(12, 14, 16), dtype=np.int16):
    return volume(ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 3000, shape), 1.5).astype(dtype))


def test_a_threshold_takes_both_ends_and_stays_lazy():
    vol = noise()
    lazy = vol.chunk({"z": 3})
    mask = masks.threshold(lazy, -50, 120)
    assert isinstance(mask.data, da.Array)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask.values, (vol.values >= -50) & (vol.values <= 120))
    np.testing.assert_array_equal(masks.threshold(vol, low=7).values, vol.values >= 7)
    assert mask.coords.equals(vol.coords)
    assert "Modality" not in mask.attrs
    assert mask.attrs["SeriesInstanceUID"] == "1.2"


def test_padding_and_what_is_not_a_number_are_in_no_mask():
    vol = noise().where(noise() > -20).assign_attrs(padding=(-3000.0, -3000.0))
    vol[0] = -3000
    mask = masks.threshold(vol, high=1e9)
    np.testing.assert_array_equal(mask.values, ~np.isnan(vol.values) & (vol.values != -3000))


def test_growing_is_one_connected_part_around_the_seed():
    vol = noise()
    seed = np.argwhere(vol.values > 100)[0]
    grown = masks.grow(vol, vol.dicom.to_lps(seed), low=100)
    labels, _ = ndimage.label(vol.values >= 100)
    np.testing.assert_array_equal(grown.values, labels == labels[tuple(seed)])
    assert grown.coords.equals(vol.coords)
    below = np.argwhere(vol.values < 0)[0]
    assert not masks.grow(vol, vol.dicom.to_lps(below), low=100).any()
    both = masks.grow(vol, vol.dicom.to_lps([seed, below]), low=100)
    np.testing.assert_array_equal(both.values, grown.values)
    with pytest.raises(InvalidInputError, match="outside"):
        masks.grow(vol, (1000, 0, 0), low=0)


def test_parts_are_those_of_scipy_the_largest_first():
    mask = noise() > 60
    labels = masks.parts(mask)
    expected, count = ndimage.label(mask.values)
    assert int(labels.max()) == count
    sizes = np.bincount(labels.values.ravel())[1:]
    assert (np.diff(sizes) <= 0).all()
    for k in range(1, count + 1):
        (one,) = np.unique(expected[labels.values == k])
        assert (expected == one).sum() == sizes[k - 1]
    fewer = masks.parts(mask, smallest_mm3=30.0)
    assert int(fewer.max()) == int((sizes * 3.0 >= 30.0).sum())


@pytest.mark.parametrize("along", [None, "z", "y", "x"])
def test_holes_are_filled_as_scipy_fills_them(along):
    mask = noise() > -40
    filled = masks.fill(mask, along=along)
    if along is None:
        expected = ndimage.binary_fill_holes(mask.values)
    else:
        axis = "zyx".index(along)
        planes = [ndimage.binary_fill_holes(plane) for plane in np.moveaxis(mask.values, axis, 0)]
        expected = np.moveaxis(np.array(planes), 0, axis)
    np.testing.assert_array_equal(filled.values, expected)
    assert filled.dims == mask.dims


def test_smoothing_rounds_a_ball_and_keeps_its_size_and_its_flat_ends():
    z, y, x = np.indices((20, 40, 30))
    rough = np.random.default_rng(3).normal(0, 1, z.shape)
    ball = np.hypot(np.hypot((z - 9.5) * 2, y - 19.5), (x - 14.5) * 1.5)
    smooth = masks.smooth(volume(ball + rough < 13), sigma_mm=2.0)
    clean = ball < 13
    assert (smooth.values ^ clean).sum() < 0.09 * clean.sum()
    assert (smooth.values ^ clean).sum() < ((ball + rough < 13) ^ clean).sum() / 1.5
    half = np.broadcast_to(np.arange(30) < 15, (20, 40, 30))
    np.testing.assert_array_equal(masks.smooth(volume(half), sigma_mm=4.0).values, half)


@settings(max_examples=25)
@given(st.floats(0.5, 9), st.integers(0, 2**32 - 1))
def test_erosion_and_dilation_are_by_distance_in_mm(radius, seed):
    from researchpacs.reconstruct._morphology import dilated, eroded

    data = np.random.default_rng(seed).random((7, 9, 8)) > 0.97
    mask = volume(data)
    if data.any():
        away = ndimage.distance_transform_edt(~data, sampling=(2.0, 1.0, 1.5))
        sure = np.abs(away - radius) > 1e-3
        np.testing.assert_array_equal(dilated(mask, radius).values[sure], (away <= radius)[sure])
        inside = ndimage.distance_transform_edt(~data, sampling=(2.0, 1.0, 1.5))
        np.testing.assert_array_equal(eroded(~mask, radius).values[sure], (inside > radius)[sure])
    else:
        assert not dilated(mask, radius).any()
        assert eroded(~mask, radius).all()


@pytest.mark.parametrize("call", [
    masks.threshold, lambda v: masks.threshold(v, low="x"), masks.parts,
    lambda v: masks.fill(v > 0, along="t"), lambda v: masks.smooth(v > 0, sigma_mm=0),
    lambda v: masks.grow(v, "x", low=0), lambda v: masks.body(v.assign_attrs(units="Bq/ml")),
    lambda v: masks.body(v * 0 - 1000), lambda v: masks.lungs(v * 0 + 40),
])  # fmt: skip
def test_wrong_calls_say_what_was_expected(call):
    with pytest.raises(InvalidInputError):
        call(noise())


def test_what_has_no_geometry_is_refused():
    with pytest.raises(GeometryError):
        masks.parts((noise() > 0).isel(z=0))
    with pytest.raises(GeometryError):
        masks.body(noise().isel(z=0))


@pytest.fixture(scope="module", params=["chest_ct", "chest_ct_prior"])
def chest(request, tmp_path_factory):
    """A sample chest of 10 mm slices, with what is known of it."""
    home = tmp_path_factory.mktemp("chest") / "home"
    with rp.connect(home) as pacs:
        pacs.ingest(rp.datasets.path(request.param, slices=30), progress=False)
        vol = rp.read_volume(pacs.search("series").one())
    return vol, rp.datasets.truth(request.param, slices=30)


@pytest.fixture(scope="module")
def found(chest):
    return masks.body(chest[0]), masks.lungs(chest[0])


def value_at(mask, point):
    return bool(mask.values[tuple(np.rint(mask.dicom.to_index(point)).astype(int))])


def test_the_body_holds_every_organ_and_not_the_table(chest, found):
    vol, truth = chest
    body, _ = found
    assert body.coords.equals(vol.coords)
    for name, organ in truth["organs"].items():
        assert value_at(body, organ["point_lps"]), name
    assert value_at(body, truth["nodule"]["center_lps"])
    labels, count = ndimage.label(body.values)
    assert count >= 1
    assert np.bincount(labels.ravel())[1:].max() > 0.999 * body.values.sum()
    # Dense voxels outside of it are the table's shell, below the patient.
    outside = np.argwhere((vol.values > -300) & ~body.values)
    assert (vol.dicom.to_lps(outside)[:, 1] > 100).mean() > 0.95
    assert not value_at(body, (0, 172 - 12, 0)), "the table"
    litres = body.values.sum() * np.prod(vol.dicom.spacing) / 1e6
    assert 15 < litres < 20, "an ellipse of about 340 by 235 mm, 300 mm long"


def test_the_lungs_hold_lung_and_nodule_and_nothing_else(chest, found):
    vol, truth = chest
    body, lungs = found
    assert lungs.coords.equals(vol.coords)
    assert not (lungs & ~body).any()
    for name, organ in truth["organs"].items():
        assert not value_at(lungs, organ["point_lps"]), name
    assert value_at(lungs, truth["nodule"]["center_lps"])
    # Nearly all that is as thin as lung and lies in the body is in the mask, but the airways.
    thin = body & (vol > -920) & (vol < -700)
    missed = (thin & ~lungs).values.sum() / thin.values.sum()
    assert missed < 0.03
    # And little else: vessels and what the closing takes along at the borders.
    dense = (lungs & (vol > -300)).values.sum() / lungs.values.sum()
    assert dense < 0.15
    right = (lungs & (lungs.x < 0)).values.sum() / lungs.values.sum()
    assert 0.4 < right < 0.65
    litres = lungs.values.sum() * np.prod(vol.dicom.spacing) / 1e6
    assert 2.5 < litres < 7


@pytest.mark.parametrize("chest", ["chest_ct"], indirect=True)
def test_the_masks_do_not_depend_on_the_grid(chest, found):
    vol, _ = chest
    turned = resample(vol, spacing=(4.0, 1.9, 1.7))
    for name, one in zip(("body", "lungs"), found, strict=True):
        again = resample(getattr(masks, name)(turned), like=vol, interpolation="nearest")
        dice = 2 * (again & one).values.sum() / (again.values.sum() + one.values.sum())
        assert dice > 0.97, name
