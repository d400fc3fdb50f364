"""Resampling and reformatting move the grid, never what is in the patient."""

import dask.array as da
import numpy as np
import pytest
import SimpleITK
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.reconstruct import _sampling, project, reformat, resample, surface
from researchpacs.volume import as_volume

BEADS_LPS = np.array([[-12.0, 4.0, 103.0], [9.0, -8.0, 95.0], [3.0, 14.0, 110.0]])
CENTRE_LPS = np.array([0.0, 2.0, 102.0])
SHAPE = (36, 50, 56)
SPACING = (2.0, 1.1, 0.9)


def grid(rotvec=(0.0, 0.0, 0.0), handed=1, spacing=SPACING):
    """An affine of (z, y, x) axes turned in the patient, centred on the beads."""
    axial = np.array([[0.0, 0, 1], [0, 1, 0], [handed, 0, 0]])
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(rotvec).as_matrix() @ axial * spacing
    affine[:3, 3] = CENTRE_LPS - affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return affine


def beads(affine, shape=SHAPE, dtype=np.float32):
    """Gaussian beads of 3, 2 and 1 times 1000 at known points of the patient, whatever the grid."""
    places = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    values = np.zeros(shape)
    for weight, bead in zip((3000, 2000, 1000), BEADS_LPS, strict=True):
        values += weight * np.exp(-((places - bead) ** 2).sum(axis=-1) / 2 / 3.0**2)
    return as_volume(np.rint(values).astype(dtype), affine, "1.2.3", attrs={"Modality": "CT", "history": ("made",)})


def bead_found(vol, bead):
    """Centre of mass of the values around a bead, by the array's own geometry."""
    index = np.indices(vol.shape).reshape(3, -1).T
    places = vol.dicom.to_lps(index)
    near = np.linalg.norm(places - bead, axis=1) < 6
    weights = vol.values.ravel()[near].astype(float)
    return (places[near] * weights[:, None]).sum(axis=0) / weights.sum()


def same_beads(vol, tolerance=0.15):
    for bead in BEADS_LPS:
        np.testing.assert_allclose(bead_found(vol, bead), bead, atol=tolerance)
    return True


ROTATIONS = [(0, 0, 0), (0.3, -0.2, 0.4), (1.2, 0.4, -0.7)]


@pytest.mark.parametrize("rotvec", ROTATIONS)
@pytest.mark.parametrize("handed", [1, -1])
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_reformat_shows_the_beads_where_they_are_in_planes_of_the_patient(rotvec, handed, plane):
    vol = beads(grid(rotvec, handed))
    assert same_beads(vol)
    planes = reformat(vol, plane, spacing=1.0)
    assert planes.dicom.orientation == {"axial": "SPL", "coronal": "PIL", "sagittal": "RIP"}[plane]
    np.testing.assert_array_equal(np.abs(planes.dicom.direction).max(axis=0), 1)
    assert np.linalg.det(planes.dicom.direction[:, ::-1]) == pytest.approx(1)
    assert planes.dicom.spacing == pytest.approx((1, 1, 1))
    assert same_beads(planes)


def test_reformat_covers_all_of_the_volume():
    vol = beads(grid((0.3, -0.2, 0.4)))
    planes = reformat(vol, "coronal", spacing=1.0)
    corners = vol.dicom.to_lps([(z, y, x) for z in (0, 35) for y in (0, 49) for x in (0, 55)])
    index = planes.dicom.to_index(corners)
    assert (index > -0.5).all()
    assert (index < np.array(planes.shape) - 0.5).all()


def test_an_axial_reformat_of_an_axial_volume_changes_nothing():
    vol = beads(grid(), dtype=np.int16)
    same = reformat(vol, "axial", spacing=SPACING)
    assert same.dtype == np.int16
    np.testing.assert_array_equal(same.values, vol.values)
    assert (same + vol).shape == vol.shape


def test_a_coronal_reformat_of_an_axial_volume_is_the_array_seen_from_the_front():
    vol = beads(grid(), dtype=np.int16)
    coronal = reformat(vol, "coronal", spacing=(1.1, 2.0, 0.9))
    np.testing.assert_array_equal(coronal.values, vol.transpose("y", "z", "x").values[:, ::-1])
    sagittal = reformat(vol, "sagittal", spacing=(0.9, 2.0, 1.1))
    np.testing.assert_array_equal(sagittal.values, vol.transpose("x", "z", "y").values[::-1, ::-1])


@pytest.mark.parametrize("rotvec", ROTATIONS)
def test_resample_to_another_spacing_keeps_directions_and_places(rotvec):
    vol = beads(grid(rotvec))
    iso = resample(vol, spacing=1.0)
    np.testing.assert_allclose(iso.dicom.spacing, (1, 1, 1), atol=1e-5)
    np.testing.assert_allclose(iso.dicom.direction, vol.dicom.direction, atol=1e-6)
    assert iso.shape == (72, 55, 50)
    assert same_beads(iso)
    uneven = resample(vol, spacing=(3.0, 0.5, 0.7))
    np.testing.assert_allclose(uneven.dicom.spacing, (3.0, 0.5, 0.7), atol=1e-5)
    assert same_beads(uneven)


def test_resample_is_centred_and_needs_no_fill():
    vol = as_volume(np.full((7, 8, 9), 5, np.int16), grid(), "1.2.3")
    for spacing in (0.4, 1.0, 1.7, 3.3):
        coarse = resample(vol, spacing=spacing, fill=-1000)
        assert (coarse.values == 5).all()
        middle = [(np.array(v.shape) - 1) / 2 for v in (vol, coarse)]
        np.testing.assert_allclose(vol.dicom.to_lps(middle[0]), coarse.dicom.to_lps(middle[1]), atol=1e-3)


@settings(deadline=None, max_examples=25)
@example(a=(0.0, 0.0, 2.2250738585072014e-308), b=(0.0, 0.0, 0.0))  # ITK cannot invert denormal numbers
@given(st.tuples(*[st.floats(-3, 3)] * 3), st.tuples(*[st.floats(-3, 3)] * 3))
def test_resample_like_another_brings_beads_onto_its_grid(a, b):
    vol, other = beads(grid(a)), beads(grid(b, spacing=(1.5, 1.0, 1.2)))
    onto = resample(vol, like=other)
    assert (onto - other).shape == other.shape
    assert onto.coords.equals(other.coords)
    # Both sample the same beads; only linear interpolation stands between them.
    inside = slice(12, -12)
    assert np.abs((onto - other).values[inside, inside, inside]).max() < 0.1 * 3000


def test_resample_agrees_with_simpleitk_on_oblique_floats():
    vol, other = beads(grid((0.3, -0.2, 0.4))), beads(grid((-0.1, 0.5, 0.2)))
    expected = SimpleITK.Resample(
        vol.dicom.to_sitk(), other.dicom.to_sitk(), SimpleITK.Transform(), SimpleITK.sitkLinear, -5.0
    )
    np.testing.assert_allclose(
        resample(vol, like=other, fill=-5).values, SimpleITK.GetArrayFromImage(expected), atol=1e-2
    )


def test_integers_are_rounded_not_cut_off():
    ramp = np.broadcast_to(np.array([-3, -2, -1, 0, 1, 2, 3], np.int16), (4, 4, 7)).copy()
    vol = as_volume(ramp, np.diag([1.0, 1.0, 1.0, 1.0]), "1.2.3")
    fine = resample(vol, spacing=(1.0, 1.0, 0.7))
    assert fine.dtype == np.int16
    truth = np.interp(fine.x, vol.x, ramp[0, 0])
    np.testing.assert_array_equal(fine.values[0, 0], np.rint(truth))


def test_masks_stay_masks():
    mask = beads(grid()) > 500
    assert resample(mask, spacing=1.0).dtype == bool
    near = resample(mask, spacing=1.0, interpolation="nearest")
    volume_mm3 = [float(m.sum()) * np.prod(m.dicom.spacing) for m in (mask, near)]
    assert volume_mm3[1] == pytest.approx(volume_mm3[0], rel=0.1)


def test_outside_is_air_or_nothing_or_the_value_asked_for():
    vol = beads(grid((0.3, -0.2, 0.4)), dtype=np.int16) - np.int16(1000)
    assert int(reformat(vol, "axial", spacing=2.0)[0, 0, 0]) == 0
    assert int(reformat(vol.assign_attrs(units="HU"), "axial", spacing=2.0)[0, 0, 0]) == -1000
    assert int(reformat(vol, "axial", spacing=2.0, fill=-2000)[0, 0, 0]) == -2000
    with pytest.raises(InvalidInputError, match="does not fit int16"):
        reformat(vol, "axial", spacing=2.0, fill=1e6)


@pytest.mark.parametrize("interpolation", ["linear", "nearest", "bspline"])
def test_lazy_volumes_stay_lazy_and_give_the_same(interpolation, monkeypatch):
    monkeypatch.setattr(_sampling, "BLOCK_VOXELS", 20**3)  # many blocks
    vol, other = beads(grid((0.3, -0.2, 0.4))), beads(grid((-0.1, 0.5, 0.2)))
    lazy = vol.copy(data=da.from_array(vol.values, chunks=(1, 50, 56)))
    for options in ({"spacing": 1.3}, {"like": other}):
        found = resample(lazy, interpolation=interpolation, **options)
        assert isinstance(found.data, da.Array)
        assert len(list(np.ndindex(found.data.numblocks))) > 3
        monkeypatch.setattr(_sampling, "BLOCK_VOXELS", 1 << 30)
        whole = resample(vol, interpolation=interpolation, **options)
        monkeypatch.setattr(_sampling, "BLOCK_VOXELS", 20**3)
        np.testing.assert_allclose(found.values, whole.values, atol=0.02 if interpolation == "bspline" else 1e-3)
        assert found.coords.equals(whole.coords)
        assert found.attrs == whole.attrs


def test_a_block_reads_no_more_than_the_slices_around_it():
    read = []

    def plane(block_info):
        read.append(block_info[None]["array-location"][0][0])
        return np.full((1, 20, 20), read[-1], np.int16)

    data = da.map_blocks(plane, dtype=np.int16, chunks=((1,) * 200, (20,), (20,)), meta=np.zeros((0, 0, 0), np.int16))
    vol = as_volume(data, np.diag([1.0, 1, 1, 1]), "1.2.3")
    fine = resample(vol, spacing=0.5)
    assert read == []
    assert fine[201].values.mean() == pytest.approx(100.25, abs=0.5)
    assert 0 < len(read) < 120


def test_what_does_not_meet_the_volume_reads_nothing_of_it():
    def refuse():
        raise AssertionError("read")

    data = da.map_blocks(refuse, dtype=np.int16, chunks=((4,), (4,), (4,)), meta=np.zeros((0, 0, 0), np.int16))
    vol = as_volume(data, np.diag([1.0, 1, 1, 1]), "1.2.3")
    far = np.eye(4)
    far[:3, 3] = 500
    assert (resample(vol, like=as_volume(np.zeros((5, 5, 5)), far, "1.2.3"), fill=7).values == 7).all()


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("interpolation", ["linear", "nearest", "bspline"])
def test_simpleitk_resamples_parallel_grids_to_the_same(dtype, interpolation):
    vol = beads(grid(handed=-1), dtype=np.int16) // 20
    vol = vol.astype(dtype)
    found = resample(vol, spacing=(1.37, 2.3, 0.63), interpolation=interpolation, fill=0)
    method = {
        "linear": SimpleITK.sitkLinear, "nearest": SimpleITK.sitkNearestNeighbor, "bspline": SimpleITK.sitkBSpline
    }[interpolation]  # fmt: skip
    like = found.astype(np.float32).dicom.to_sitk()
    image = SimpleITK.Resample(vol.astype(np.float64).dicom.to_sitk(), like, SimpleITK.Transform(), method, 0.0)
    expected = SimpleITK.GetArrayFromImage(image)
    if interpolation == "bspline" and np.dtype(dtype).kind == "u":
        expected = expected.clip(0, 255)
    limit = 0.501 if np.dtype(dtype).kind in "iu" else 1e-3
    assert np.abs(found.values - expected).max() < limit


def test_a_sheared_grid_is_resampled_onto_an_upright_one():
    affine = grid()
    affine[:3, 0] += (0.0, 0.5, 0.0)  # a gantry tilt
    vol = beads(affine)
    upright = resample(vol, like=beads(grid()), interpolation="linear")
    same_beads(upright)


def test_leading_dimensions_stay():
    vol = beads(grid((0.3, -0.2, 0.4)))
    times = xr.concat([vol, vol * 2], xr.DataArray([0.0, 1.5], dims="time", attrs={"units": "s"}))
    for one in (times, times.chunk({"time": 1, "z": 4})):
        found = resample(one, spacing=2.0)
        assert found.dims == ("time", "z", "y", "x")
        assert found.time.values.tolist() == [0.0, 1.5]
        np.testing.assert_allclose(found.isel(time=1).values, 2 * resample(vol, spacing=2.0).values, atol=1e-2)
        assert found.isel(time=0).dicom.spacing == pytest.approx((2, 2, 2), abs=1e-4)


def test_values_that_are_not_finite_reach_their_neighbours_only():
    vol = beads(grid())
    vol[18, 25, 28] = np.nan
    fine = resample(vol, spacing=0.7)
    spoilt = np.argwhere(np.isnan(fine.values))
    places = fine.dicom.to_lps(spoilt) - vol.dicom.to_lps([18, 25, 28])
    assert len(spoilt) > 0
    assert (np.abs(places) <= np.array(SPACING)[::-1] + 1e-3).all()


def test_history_says_what_was_done():
    vol = beads(grid())
    assert resample(vol, spacing=2.0).attrs["history"] == ("made", "resampled: linear, spacing 2 x 2 x 2 mm")
    assert resample(vol, spacing=2.0).attrs["Modality"] == "CT"
    assert vol.attrs["history"] == ("made",)


@pytest.mark.parametrize("wrong", [
    {}, {"spacing": 1.0, "like": beads(grid())}, {"spacing": 0}, {"spacing": -1.0}, {"spacing": float("nan")},
    {"spacing": (1.0, 2.0)}, {"spacing": 1e-4}, {"spacing": 1.0, "interpolation": "cubic"},
])  # fmt: skip
def test_wrong_calls_say_what_was_expected(wrong):
    with pytest.raises(InvalidInputError):
        resample(beads(grid()), **wrong)


@pytest.mark.parametrize("verb", [
    lambda v: resample(v, spacing=1.0), lambda v: reformat(v, "axial"), lambda v: project(v, along="z"),
    lambda v: surface(v, level=0),
])  # fmt: skip
def test_bare_arrays_are_refused(verb):
    with pytest.raises(InvalidInputError, match="open_volume"):
        verb(np.zeros((3, 4, 5)))


def test_other_frames_of_reference_are_refused():
    other = as_volume(np.zeros((3, 4, 5)), grid(), "9.9.9")
    with pytest.raises(GeometryError, match="Frames of Reference"):
        resample(beads(grid()), like=other)


def test_other_planes_are_refused():
    with pytest.raises(InvalidInputError, match="'axial', 'coronal' or 'sagittal'"):
        reformat(beads(grid()), "oblique")
    with pytest.raises(GeometryError):
        reformat(beads(grid()).isel(z=3), "axial")


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_padding_is_never_mixed_with_what_was_seen(dtype):
    z, y, x = np.indices((6, 20, 20))
    seen = np.hypot(y - 9.5, x - 9.5) < 7
    data = np.where(seen, 100 + 10 * z, -2000).astype(dtype)
    vol = as_volume(data, np.diag([3.0, 1, 1, 1]), "1.2.3", attrs={"padding": (-2000.0, -2000.0)})
    fine = resample(vol, spacing=(1.5, 0.7, 0.7))
    values = fine.values
    assert fine.dtype == dtype
    assert set(np.unique(values < 0)) == {False, True}
    assert (values[values < 0] == -2000).all()
    heights = fine.dicom.to_lps(np.indices(fine.shape).reshape(3, -1).T)[:, 0].reshape(fine.shape)
    expected = 100 + 10 * np.clip(heights / 3, 0, 5)
    assert np.abs(values - expected)[values >= 0].max() <= 0.51
    cubic = resample(vol, spacing=(1.5, 0.7, 0.7), interpolation="bspline").values
    np.testing.assert_array_equal(cubic < 0, values < 0)
    assert np.abs(cubic - expected)[values >= 0].max() < 4, "the padding beside would have made it ring by hundreds"
    plain = resample(vol.drop_attrs(deep=False), spacing=(1.5, 0.7, 0.7))
    assert ((plain.values > -2000) & (plain.values < 0)).any()
    affine = np.diag([3.0, 1, 1, 1])
    affine[:3, 3] = (0, -3, -3)
    larger = as_volume(np.zeros((6, 26, 26)), affine, "1.2.3")
    values = resample(vol, like=larger, fill=7).values
    assert (values[:, 0, 0] == 7).all()
    assert (values[:, 3, 3] == -2000).all()
    np.testing.assert_array_equal(values[:, 3:23, 3:23], data)
