"""Projections equal what numpy and SimpleITK make of the same planes."""

import dask.array as da
import numpy as np
import pytest
import SimpleITK
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.reconstruct import project
from researchpacs.volume import as_volume

AFFINE = np.array([[0, 0, 0.7, -10], [0, 0.8, 0, -20], [2.5, 0, 0, 30], [0, 0, 0, 1.0]])


def noise(shape=(9, 7, 5), dtype=np.int16):
    data = np.random.default_rng(2).integers(-1000, 1000, shape).astype(dtype)
    return as_volume(data, AFFINE, "1.2.3", attrs={"Modality": "CT"})


@pytest.mark.parametrize("along", "zyx")
@pytest.mark.parametrize("how", ["max", "min", "mean"])
def test_through_all_it_is_one_image_as_simpleitk_makes_it(along, how):
    vol = noise()
    image = project(vol, along=along, how=how)
    filters = {"max": SimpleITK.MaximumProjection, "min": SimpleITK.MinimumProjection, "mean": SimpleITK.MeanProjection}
    expected = SimpleITK.GetArrayFromImage(filters[how](vol.dicom.to_sitk(), "xyz".index(along)))
    np.testing.assert_allclose(image.values, expected.squeeze("zyx".index(along)), rtol=1e-6)
    assert image.dims == tuple(a for a in "zyx" if a != along)
    assert image.dtype == (np.float32 if how == "mean" else np.int16)
    assert image.attrs["Modality"] == "CT"
    assert image.dicom.frame_of_reference_uid == "1.2.3"


def test_a_lazy_volume_stays_lazy():
    vol = noise().copy(data=da.from_array(noise().values, chunks=(1, 7, 5)))
    image = project(vol, along="z")
    assert isinstance(image.data, da.Array)
    np.testing.assert_array_equal(image.values, noise().values.max(axis=0))


@pytest.mark.parametrize("along", "zyx")
@pytest.mark.parametrize("how", ["max", "min", "mean"])
@pytest.mark.parametrize("thickness", [None, 6.0, 500.0])
def test_lazy_volumes_give_the_same(along, how, thickness):
    vol = noise(dtype=np.float32).where(noise() != 3)
    vol[2] = np.nan
    lazy = vol.chunk({"z": 1, "y": 3})
    found = project(lazy, along=along, how=how, thickness=thickness)
    assert isinstance(found.data, da.Array)
    expected = project(vol, along=along, how=how, thickness=thickness)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-6)
    assert found.dtype == expected.dtype == found.values.dtype
    assert found.coords.equals(expected.coords)
    assert found.attrs == expected.attrs


@pytest.mark.parametrize("is_lazy", [False, True])
def test_padding_is_left_out(is_lazy):
    vol = noise().assign_attrs(padding=(-2000.0, -2000.0))
    vol[:, :3], vol[3] = -2000, -2000
    given = vol.chunk({"z": 2}) if is_lazy else vol
    for how in ("max", "min", "mean"):
        image = project(given, along="z", how=how)
        kept = vol.values[[0, 1, 2, 4, 5, 6, 7, 8], 3:].astype(float)
        np.testing.assert_allclose(image.values[3:], getattr(kept, how)(axis=0), rtol=1e-5)
        assert (image.values[:3] == -2000).all()
        slab = project(given, along="z", how=how, thickness=7.5)
        np.testing.assert_allclose(
            slab.values[3, 3:], getattr(vol.values[[2, 4], 3:].astype(float), how)(axis=0), rtol=1e-5
        )


def test_times_stay_apart():
    times = xr.concat([noise(), noise() + 5], xr.DataArray([0, 1], dims="time"))
    image = project(times, along="z", how="max")
    assert image.dims == ("time", "y", "x")
    np.testing.assert_array_equal(image.values[1], noise().values.max(axis=0) + 5)


@settings(deadline=None)
@given(
    st.sampled_from("zyx"), st.sampled_from(["max", "min", "mean"]), st.floats(0.1, 60), st.integers(1, 12),
    st.sampled_from([np.int16, np.float32, np.uint8]),
)  # fmt: skip
def test_a_slab_slides_over_the_planes_around_each(along, how, thickness, planes, dtype):
    shape = tuple(planes if a == along else 3 for a in "zyx")
    vol = noise(shape, dtype)
    if planes == 1:
        vol = vol.isel({along: slice(0, 1)})
    slab = project(vol, along=along, how=how, thickness=thickness)
    assert slab.coords.equals(vol.coords)
    axis = "zyx".index(along)
    data = np.moveaxis(vol.values, axis, 0)
    reach = max(0, round((thickness / vol.dicom.spacing[axis] - 1) / 2))
    windows = [data[max(0, k - reach) : k + reach + 1] for k in range(planes)]
    expected = np.stack([getattr(w.astype(float), how)(axis=0) for w in windows])
    np.testing.assert_allclose(np.moveaxis(slab.values, axis, 0), expected, rtol=1e-5, atol=1e-4)
    assert slab.dtype == (np.float32 if how == "mean" else dtype)


def test_a_slab_of_20_mm_of_1_mm_planes_has_21():
    vol = as_volume(np.zeros((50, 3, 3), np.int16), np.diag([1.0, 1, 1, 1]), "1.2.3")
    vol[25] = 7
    slab = project(vol, along="z", thickness=20)
    assert slab.values[:, 0, 0].nonzero()[0].tolist() == list(range(15, 36))
    assert slab.attrs["history"][-1] == "projected: max along z, slab of 21 planes"


def test_gaps_in_the_values_are_passed_over():
    vol = noise(dtype=np.float32)
    vol[4] = np.nan
    for how in ("max", "min", "mean"):
        assert np.isfinite(project(vol, along="z", how=how, thickness=8).values).all()
        assert np.isfinite(project(vol, along="z", how=how).values).all()


@pytest.mark.parametrize("odd", [np.inf, 1e30])
def test_an_odd_value_reaches_no_further_than_its_slab(odd):
    vol = noise(dtype=np.float32)
    clean = project(vol, along="z", how="mean", thickness=7.5)
    vol[2] = odd
    slab = project(vol, along="z", how="mean", thickness=7.5)
    assert (slab[1:4] > 1e29).all()
    np.testing.assert_array_equal(slab[4:], clean[4:])


@pytest.mark.parametrize("wrong", [
    {"along": "t"}, {"along": "z", "how": "median"}, {"along": "z", "thickness": 0},
    {"along": "z", "thickness": -3}, {"along": "z", "thickness": float("nan")},
])  # fmt: skip
def test_wrong_calls_say_what_was_expected(wrong):
    with pytest.raises(InvalidInputError, match="expected"):
        project(noise(), **wrong)


def test_a_slab_needs_a_spacing():
    with pytest.raises(GeometryError):
        project(noise().isel(z=[0, 1, 4]), along="z", thickness=5)
