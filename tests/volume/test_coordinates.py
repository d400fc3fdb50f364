"""Coordinates alone carry the geometry: p = D (c_z, c_y, c_x)."""

import gc
import pickle
import weakref

import nibabel
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from researchpacs.errors import GeometryError
from researchpacs.volume import AxisIndex, as_volume, frame_of, restore


@st.composite
def affines(draw, *, tilt_deg=0.0, digits=None):
    q = draw(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1))
    axes = Rotation.from_quat(q).as_matrix() * [draw(st.sampled_from((-1, 1))) for _ in range(3)]
    tilt = np.radians(draw(st.floats(-tilt_deg, tilt_deg)))
    axes[:, 0] = np.cos(tilt) * axes[:, 0] + np.sin(tilt) * axes[:, 1]
    affine = np.eye(4)
    affine[:3, :3] = (axes if digits is None else axes.round(digits)) * [draw(st.floats(0.2, 6)) for _ in range(3)]
    affine[:3, 3] = [draw(st.floats(-300, 300)) for _ in range(3)]
    return affine


def ramp(affine, shape=(5, 6, 7), uid="1.2.3", **options):
    return as_volume(np.arange(np.prod(shape)).reshape(shape).astype(np.int16), affine, uid, **options)


def voxels(vol, affine_at):
    """Value to place, as the affine of the array says."""
    index = np.indices(vol.shape).reshape(3, -1).T
    places = index @ affine_at[:3, :3].T + affine_at[:3, 3]
    return places[np.argsort(vol.transpose("z", "y", "x").values.ravel())]


@settings(deadline=None, max_examples=60)
@given(affines() | affines(tilt_deg=30) | affines(digits=6))
def test_every_voxel_is_where_its_coordinates_say(affine):
    vol = ramp(affine)
    d = frame_of(vol).matrix
    index = np.indices(vol.shape).reshape(3, -1).T
    coordinates = np.stack([vol[a].values[index[:, k]] for k, a in enumerate("zyx")], axis=1)
    truth = index @ affine[:3, :3].T + affine[:3, 3]
    stretch = np.linalg.norm(d, 2)
    assert np.abs(coordinates @ d.T - truth).max() <= 8.7e-5 * stretch + 1e-9
    assert np.abs(vol.dicom.to_lps(index) - truth).max() <= 1.8e-4 * stretch
    assert all((np.diff(vol[a]) > 0).all() for a in "zyx")


@settings(deadline=None, max_examples=60)
@given(affines() | affines(tilt_deg=30), st.data())
def test_affine_survives_crop_stride_and_flip(affine, data):
    vol = ramp(affine, (8, 9, 10))
    take = {}
    for axis, n in zip("zyx", vol.shape, strict=True):
        start, stop = sorted(data.draw(st.tuples(st.integers(0, n - 3), st.integers(n - 2, n))))
        take[axis] = slice(start, stop, data.draw(st.sampled_from((1, 2))))
    cut = vol.isel(take)
    for axis in data.draw(st.sets(st.sampled_from("zyx"))):
        cut = cut.isel({axis: slice(None, None, -1)})
    places = {int(v): p for v, p in zip(np.sort(vol.values.ravel()), voxels(vol, affine), strict=True)}
    for value, place in zip(np.sort(cut.values.ravel()), voxels(cut, cut.dicom.affine_lps), strict=True):
        np.testing.assert_allclose(place, places[int(value)], atol=4e-4)


@settings(deadline=None, max_examples=60)
@given(affines())
def test_index_and_point_are_inverse(affine):
    vol = ramp(affine)
    index = np.array([(0, 0, 0), (1.5, 2.25, 3.75), (4, 5, 6), (-3, 10, 2)])
    np.testing.assert_allclose(vol.dicom.to_index(vol.dicom.to_lps(index)), index, atol=1e-6)
    assert vol.dicom.to_lps([[index]]).shape == (1, 1, 4, 3)


def test_an_unrotated_axial_series_has_lps_as_its_coordinates():
    affine = np.array([[0, 0, 0.5, -120], [0, 0.5, 0, -100], [2, 0, 0, 700], [0, 0, 0, 1.0]])
    vol = ramp(affine)
    assert (vol.x[0], vol.y[0], vol.z[0]) == (-120, -100, 700)
    assert vol.dicom.orientation == "SPL"
    assert vol.dicom.spacing == (2.0, 0.5, 0.5)
    assert vol.isel(z=slice(None, None, -1)).dicom.orientation == "IPL"
    np.testing.assert_array_equal(vol.dicom.affine_ras[:3, 3], [120, 100, 700])
    np.testing.assert_array_equal(vol.dicom.direction, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])


def test_spacing_is_measured_from_end_to_end():
    affine = np.diag([1.0, 240 / 512, 240 / 512, 1.0])
    vol = ramp(affine, (3, 512, 4))
    assert vol.dicom.to_lps([0, 511, 0])[1] == pytest.approx(511 * 240 / 512, abs=1e-4)


def test_a_single_slice_keeps_its_spacing_only_where_it_is_known():
    vol = ramp(np.diag([2.0, 1.0, 1.0, 1.0]), (10, 6, 7))
    assert vol.isel(z=[4]).dicom.spacing[0] == 2.0
    assert vol.isel(z=slice(4, 5)).dicom.affine_lps[0, 3] == 8.0
    assert vol[::2].isel(z=[0]).dicom.spacing[0] == 4.0
    assert vol[:2].isel(z=slice(None, None, 2)).dicom.spacing[0] == 4.0
    with pytest.raises(GeometryError, match="unknown spacing"):
        _ = vol.isel(z=[0, 1, 5]).isel(z=[0]).dicom.affine_lps
    with pytest.raises(GeometryError, match="unknown spacing"):
        _ = vol.coarsen(z=10).mean().dicom.affine_lps
    alone = ramp(np.diag([1.0, 1.0, 1.0, 1.0]), (1, 6, 7), spacing_z_known=False)
    with pytest.raises(GeometryError, match="unknown spacing along 'z'"):
        _ = alone.dicom.spacing
    assert alone.dicom.orientation == "LPS"


def test_edited_attributes_of_the_frame_are_refused_and_dropped_ones_survive():
    vol = ramp(np.diag([2.0, 1.0, 1.0, 1.0]))
    dropped = vol.copy()
    dropped["frame"].attrs.clear()
    np.testing.assert_array_equal(dropped.dicom.affine_lps, vol.dicom.affine_lps)
    edited = xr.DataArray.from_dict(vol.to_dict())
    edited["frame"].attrs["direction"] = np.eye(3)[::-1].ravel().tolist()
    with pytest.raises(GeometryError, match="edited"):
        _ = edited.dicom.affine_lps


def test_affine_is_read_without_indexes_and_restore_brings_them_back():
    vol = ramp(np.diag([2.0, 1.0, 1.0, 1.0]))
    bare = xr.DataArray.from_dict(vol.to_dict())
    assert not any(isinstance(index, AxisIndex) for index in bare.xindexes.values())
    np.testing.assert_array_equal(bare.dicom.affine_lps, vol.dicom.affine_lps)
    whole = restore(bare)
    assert all(isinstance(whole.xindexes[a], AxisIndex) for a in "zyx")
    np.testing.assert_array_equal((whole + vol).values, 2 * vol.values)


def test_pickle_keeps_index_and_geometry():
    vol = ramp(np.diag([2.0, 1.0, 1.0, 1.0]))
    back = pickle.loads(pickle.dumps(vol))
    assert isinstance(back.xindexes["z"], AxisIndex)
    assert back.identical(vol)
    assert back.isel(z=[1]).dicom.spacing == vol.dicom.spacing


def test_the_accessor_does_not_keep_the_array_alive():
    vol = ramp(np.diag([2.0, 1.0, 1.0, 1.0]))
    _ = vol.dicom.affine_lps
    held = weakref.ref(vol)
    gc.disable()
    try:
        del vol
        assert held() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)])
def test_an_affine_that_places_nothing_is_refused(affine):
    with pytest.raises(GeometryError, match="invertible"):
        ramp(affine)


@settings(deadline=None, max_examples=60)
@given(affines())
def test_letters_name_each_axis_of_the_patient_once_as_nibabel_does(affine):
    vol = ramp(affine)
    letters = vol.dicom.orientation
    assert {frozenset("RL"), frozenset("PA"), frozenset("IS")} == {
        pair for pair in map(frozenset, ("RL", "PA", "IS")) for letter in letters if letter in pair
    }
    if (np.abs(vol.dicom.direction).max(axis=0) > 0.75).all():  # else it is a matter of taste
        assert letters == "".join(nibabel.aff2axcodes(vol.dicom.affine_ras))


def test_a_plane_that_was_turned_over_alone_points_the_other_way():
    plane = ramp(np.diag([2.0, 0.8, 0.7, 1])).isel(z=[2])
    turned = plane.isel(z=slice(None, None, -1))
    np.testing.assert_array_equal(turned.dicom.direction * turned.dicom.spacing, turned.dicom.affine_lps[:3, :3])
    assert turned.dicom.orientation[0] != plane.dicom.orientation[0]
