"""Directions that differ by noise alone are made one frame; all others stay apart."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import researchpacs as rp
from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.volume import AxisIndex, as_volume, frame_of, open_volumes

SHAPE = (9, 12, 10)


def tilted(noise_deg=0.0, uid="1.2.3", shape=SHAPE, moved=(0, 0, 0)):
    affine = np.eye(4)
    axes = Rotation.from_rotvec([0.4, -0.3, 0.2]).as_matrix()
    affine[:3, :3] = Rotation.from_rotvec([0, np.radians(noise_deg), 0]).as_matrix() @ axes * [3.0, 0.9, 0.8]
    affine[:3, 3] = np.array([-80, 40, 900]) + moved
    return as_volume(np.arange(np.prod(shape)).reshape(shape), affine, uid, attrs={"Modality": "MR"})


NOISE = 1e-4
"""Degrees: 2e-6 of a cosine, 5e-5 mm at the far corner, and another frame by its key."""


def test_noise_of_directions_raises_and_adopting_settles_it():
    a, b = tilted(), tilted(NOISE)
    assert frame_of(a).key != frame_of(b).key
    with pytest.raises(GeometryError, match=r"researchpacs\.adopt"):
        a + b
    c = rp.adopt(b, like=a)
    np.testing.assert_array_equal((a + c).values, 2 * a.values)
    np.testing.assert_array_equal((c - a).dicom.affine_lps, a.dicom.affine_lps)
    assert all(np.array_equal(c[axis], a[axis]) for axis in "zyx")
    assert all(isinstance(c.xindexes[axis], AxisIndex) for axis in "zyx")
    assert c.attrs == b.attrs
    with pytest.raises(GeometryError):  # the given one is as it was
        a + b


@pytest.mark.parametrize("take", [
    {"z": slice(2, 7)}, {"y": slice(None, None, -1)}, {"x": slice(1, None, 3)}, {"z": [4]},
    {"z": [4], "y": slice(3, 9)},
])  # fmt: skip
def test_a_crop_a_flip_or_a_plane_meets_the_whole_where_it_is(take):
    a, part = tilted(), tilted(NOISE).isel(take)
    adopted = rp.adopt(part, like=a)
    np.testing.assert_array_equal((adopted + a.isel(take)).values, 2 * part.values)
    np.testing.assert_allclose(adopted.dicom.affine_lps, part.dicom.affine_lps, atol=1e-4)
    np.testing.assert_array_equal((adopted - a).transpose(*adopted.dims).max(), 0)


def test_a_stack_beside_comes_into_the_frame_and_keeps_its_own_coordinates():
    a = tilted()
    beside = tilted(NOISE, moved=a.dicom.direction[:, 0] * 27.0)
    adopted = rp.adopt(beside, like=a)
    assert frame_of(adopted).key == frame_of(a).key
    np.testing.assert_allclose(adopted.dicom.to_lps([0, 0, 0]), beside.dicom.to_lps([0, 0, 0]), atol=1e-3)
    assert np.abs(adopted.z.values[0] - a.z.values[-1]) == pytest.approx(3.0, abs=1e-3)


@settings(deadline=None, max_examples=40)
@given(st.floats(0, 1e-3))
def test_no_voxel_moves_by_more_than_a_micrometre(noise_deg):
    a, b = tilted(), tilted(noise_deg)
    corners = np.array([(z, y, x) for z in (0, 8) for y in (0, 11) for x in (0, 9)])
    adopted = rp.adopt(b, like=a)
    gap = np.linalg.norm(adopted.dicom.to_lps(corners) - b.dicom.to_lps(corners), axis=1).max()
    assert gap <= 1e-3 + 2e-4  # coordinates are rounded to 1e-4
    assert (adopted + a).shape == a.shape


@settings(deadline=None, max_examples=20)
@given(st.floats(4e-3, 10))
def test_directions_that_move_voxels_are_no_noise(noise_deg):
    with pytest.raises(GeometryError, match="would move by up to"):
        rp.adopt(tilted(noise_deg), like=tilted())


def test_another_frame_of_reference_is_no_noise():
    with pytest.raises(GeometryError, match="register"):
        rp.adopt(tilted(uid="1.2.4"), like=tilted())


def test_what_has_no_place_has_none_to_adopt():
    with pytest.raises(GeometryError, match="not evenly spaced"):
        rp.adopt(tilted().isel(z=[0, 1, 5]), like=tilted())
    with pytest.raises(GeometryError, match="'frame'"):
        rp.adopt(tilted().drop_vars("frame"), like=tilted())
    with pytest.raises(InvalidInputError, match="like: expected a volume"):
        rp.adopt(tilted(), like=tilted().values)


@pytest.mark.data
def test_a_real_oblique_mr_through_a_nifti_of_float32_comes_back_onto_itself(real_data, series_of, tmp_path):
    folder = real_data / "mr_ge_t1_dwi" / "05_3D_Ax_T1_MP_RAGE_R22"
    (vol,) = open_volumes(series_of(folder))
    vol = vol.compute()
    vol.dicom.to_nifti(tmp_path / "vol.nii")
    image = nibabel.load(tmp_path / "vol.nii")
    affine = (np.diag([-1, -1, 1, 1]) @ image.affine)[:, [2, 1, 0, 3]]
    back = as_volume(image.get_fdata().T, affine, vol.dicom.frame_of_reference_uid)
    back = rp.adopt(back, like=vol)
    difference = back - vol
    assert difference.shape == vol.shape
    assert float(np.abs(difference).max()) == 0
