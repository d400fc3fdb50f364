"""Resampling and reformatting move the grid, never what is in the patient."""

import dask.array as da
import numpy as np
import pytest
import SimpleITK
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.reconstruct import project, reformat, resample, surface
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


def test_outside_is_the_smallest_value_or_the_one_asked_for():
    vol = beads(grid((0.3, -0.2, 0.4)), dtype=np.int16) - np.int16(1000)
    assert int(reformat(vol, "axial", spacing=2.0)[0, 0, 0]) == -1000
    assert int(reformat(vol, "axial", spacing=2.0, fill=-2000)[0, 0, 0]) == -2000
    with pytest.raises(InvalidInputError, match="does not fit int16"):
        reformat(vol, "axial", spacing=2.0, fill=1e6)


def test_lazy_volumes_give_the_same():
    vol = beads(grid((0.3, -0.2, 0.4)))
    lazy = vol.copy(data=da.from_array(vol.values, chunks=(8, 50, 56)))
    assert resample(lazy, spacing=2.0).identical(resample(vol, spacing=2.0))


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
    plain = resample(vol.drop_attrs(deep=False), spacing=(1.5, 0.7, 0.7))
    assert ((plain.values > -2000) & (plain.values < 0)).any()
    affine = np.diag([3.0, 1, 1, 1])
    affine[:3, 3] = (0, -3, -3)
    larger = as_volume(np.zeros((6, 26, 26)), affine, "1.2.3")
    values = resample(vol, like=larger, fill=7).values
    assert (values[:, 0, 0] == 7).all()
    assert (values[:, 3, 3] == -2000).all()
    np.testing.assert_array_equal(values[:, 3:23, 3:23], data)
