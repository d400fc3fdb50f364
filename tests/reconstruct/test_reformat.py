"""Oblique planes and slabs hold what the patient holds there."""

import dask.array as da
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from researchpacs.errors import InvalidInputError
from researchpacs.reconstruct import reformat
from researchpacs.volume import as_volume

NORMAL, UP = np.array([0.4, -0.7, 0.59]), np.array([0.1, 0.3, 0.9])


def volume(dtype=np.float32, attrs=None):
    """A smooth field on an oblique, left-handed grid."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec([0.2, 0.5, -0.4]).as_matrix() @ np.diag([2.0, -1.1, 0.9])
    affine[:3, 3] = (20.0, -40.0, 300.0)
    shape = (24, 40, 44)
    z, y, x = np.indices(shape)
    values = 500 * np.sin(z / 5) + 300 * np.cos(y / 7 + x / 9)
    return as_volume(np.rint(values).astype(dtype), affine, "1.2.3", attrs=attrs or {"Modality": "MR"})


def truth(vol, places):
    """The field at places, by scipy, NaN outside."""
    at = np.moveaxis(vol.dicom.to_index(places), -1, 0)
    return map_coordinates(vol.values.astype(float), at, order=1, mode="constant", cval=np.nan)


def places_of(vol):
    return vol.dicom.to_lps(np.moveaxis(np.indices(vol.shape), 0, -1))


@pytest.mark.parametrize("is_lazy", [False, True])
def test_a_double_oblique_plane_is_what_scipy_interpolates_there(is_lazy):
    vol = volume()
    center = vol.dicom.to_lps([12, 20, 22])
    given = vol.chunk({"z": 1}) if is_lazy else vol
    plane = reformat(given, normal=NORMAL, up=UP, center=center, spacing=0.8)
    assert plane.shape[0] == 1
    assert isinstance(plane.data, da.Array) == is_lazy
    expected = truth(vol, places_of(plane))
    inside = np.isfinite(expected)
    assert inside.sum() > 1000
    np.testing.assert_allclose(plane.values[inside], expected[inside], atol=0.05)
    direction = plane.dicom.direction
    np.testing.assert_allclose(direction[:, 0], NORMAL / np.linalg.norm(NORMAL), atol=1e-5)
    assert np.linalg.det(direction[:, ::-1]) == pytest.approx(1, abs=1e-5)
    assert direction[:, 1] @ UP < 0, "rows go down"
    assert abs(np.cross(NORMAL, UP) @ direction[:, 1]) < 1e-4, "up is up, not slanted"
    offset = (places_of(plane) - center) @ direction[:, 0]
    np.testing.assert_allclose(offset, 0, atol=1e-3)


def test_oblique_planes_cover_all_of_the_volume():
    vol = volume()
    planes = reformat(vol, normal=NORMAL, spacing=1.5)
    corners = vol.dicom.to_lps([(z, y, x) for z in (0, 23) for y in (0, 39) for x in (0, 43)])
    index = planes.dicom.to_index(corners)
    assert (index > -0.5).all()
    assert (index < np.array(planes.shape) - 0.5).all()


@pytest.mark.parametrize(("normal", "orientation"), [
    ((0, 0, 1), "SPL"), ((0, 1, 0), "PIL"), ((-1, 0, 0), "RIP"), ((0, 0, -1), "IPR"),
])  # fmt: skip
def test_without_up_the_head_is_up_or_the_front(normal, orientation):
    assert reformat(volume(), normal=normal, spacing=3.0).dicom.orientation == orientation


@pytest.mark.parametrize("how", ["max", "min", "mean"])
@pytest.mark.parametrize("is_lazy", [False, True])
def test_a_thick_slab_takes_together_what_is_in_it(how, is_lazy):
    vol = volume()
    center, thickness = vol.dicom.to_lps([12, 20, 22]), 9.0
    given = vol.chunk({"z": 6}) if is_lazy else vol
    slab = reformat(given, normal=NORMAL, center=center, thickness=thickness, how=how, spacing=1.0)
    assert slab.sizes["z"] == 1
    assert slab.dicom.spacing[0] == pytest.approx(thickness)
    normal = slab.dicom.direction[:, 0]
    steps = (np.arange(90) + 0.5) / 90 * thickness - thickness / 2
    middle = places_of(slab)[0]
    stack = np.array([truth(vol, middle + step * normal) for step in steps])
    whole = np.isfinite(stack).all(axis=0)
    assert whole.sum() > 500
    expected = getattr(stack, how)(axis=0)
    # Ten planes are sampled: an extreme may lie half a step further out, where the field rises by 50 per mm.
    np.testing.assert_allclose(slab.values[0][whole], expected[whole], atol=3 if how == "mean" else 25)


def test_slabs_lie_side_by_side_and_leave_out_what_was_not_seen():
    vol = as_volume(np.full((20, 20, 20), 7, np.int16), np.diag([1.0, 1, 1, 1]), "1.2.3")
    for how in ("max", "min", "mean"):
        slabs = reformat(vol, normal=(1, 1, 1), thickness=4.0, how=how, fill=-50)
        assert slabs.dicom.spacing[0] == pytest.approx(4.0)
        assert set(np.unique(slabs.values)) == {-50, 7}, how
        assert slabs.dtype == (np.float32 if how == "mean" else np.int16)
    padded = vol.copy(deep=True).assign_attrs(padding=(-2000.0, -2000.0))
    padded[:5], padded[:, :2] = -2000, -2000  # along x, then along y of the patient
    slab = reformat(padded, "sagittal", center=(4.5, 10.0, 10.0), thickness=6.0, how="mean", spacing=1.0)
    assert (slab.values[..., 2:] == 7).all(), "half of the slab is padding, and does not count"
    assert (slab.values[..., :2] == -2000).all()
    assert slab.attrs["history"][-1] == "reformatted: sagittal, linear, mean of slabs of 6 mm"


@pytest.mark.parametrize("wrong", [
    {}, {"plane": "axial", "normal": (0, 0, 1)}, {"normal": (0, 0, 0)}, {"normal": "x"}, {"normal": (1, 2)},
    {"normal": (0, 0, 1), "up": (0, 0, 2)}, {"plane": "axial", "up": (0, 1, 0)}, {"plane": "axial", "thickness": 0},
    {"plane": "axial", "center": (1, 2)}, {"plane": "axial", "thickness": 3, "how": "median"},
    {"normal": (np.nan, 0, 1)},
])  # fmt: skip
def test_wrong_calls_say_what_was_expected(wrong):
    with pytest.raises(InvalidInputError):
        reformat(volume(), **wrong)
