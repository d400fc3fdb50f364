"""Reorienting turns the array and leaves every value at its place in the patient."""

from itertools import permutations, product

import dask.array as da
import numpy as np
import pytest
import SimpleITK
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.reconstruct import reorient
from researchpacs.volume import as_volume

CODES = [
    "".join(("LR"[a], "PA"[b], "SI"[c])[k] for k in order)
    for order in permutations(range(3))
    for a, b, c in product((0, 1), repeat=3)
]


def volume(rotvec, handed=1):
    affine = np.eye(4)
    axial = np.array([[0.0, 0, 1], [0, 1, 0], [handed, 0, 0]])
    affine[:3, :3] = Rotation.from_rotvec(rotvec).as_matrix() @ axial * (2.0, 1.1, 0.9)
    affine[:3, 3] = (-30.0, 12.0, 200.0)
    data = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
    return as_volume(data, affine, "1.2.3", attrs={"Modality": "MR"})


@settings(max_examples=40)
@given(
    st.sampled_from(CODES), st.tuples(*[st.floats(-0.3, 0.3)] * 3), st.sampled_from([1, -1]),
)  # fmt: skip
def test_it_is_what_simpleitk_makes_of_it(code, rotvec, handed):
    vol = volume(rotvec, handed)
    turned = reorient(vol, code)
    expected = SimpleITK.DICOMOrient(vol.dicom.to_sitk(), code)
    np.testing.assert_array_equal(turned.values, SimpleITK.GetArrayFromImage(expected))
    np.testing.assert_allclose(turned.dicom.to_sitk().GetDirection(), expected.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(turned.dicom.affine_lps[:3, 3], expected.GetOrigin(), atol=1e-3)
    assert turned.dicom.orientation == code[::-1]
    assert (np.diff(turned.z) > 0).all()


def test_every_value_stays_where_it_was_however_oblique():
    vol = volume((0.9, -1.3, 0.4))
    index = np.argwhere(np.ones(vol.shape, bool))
    places = {int(vol.values[tuple(k)]): vol.dicom.to_lps(k) for k in index}
    turned = reorient(vol, "RIA")
    for k in np.argwhere(np.ones(turned.shape, bool)):
        np.testing.assert_allclose(turned.dicom.to_lps(k), places[int(turned.values[tuple(k)])], atol=1e-3)
    back = reorient(turned, reorient(vol, vol.dicom.orientation[::-1]).dicom.orientation[::-1])
    np.testing.assert_array_equal(back.values, vol.values)


def test_lazy_volumes_and_what_leads_stay():
    vol = volume((0, 0, 0))
    marked = vol.assign_coords(interpolated=("z", [False, True, True]))
    times = xr.concat([marked, marked], xr.DataArray([0, 1], dims="time")).chunk({"z": 1})
    turned = reorient(times, "SPL")
    assert isinstance(turned.data, da.Array)
    assert turned.dims == ("time", "z", "y", "x")
    assert turned.sizes["x"] == 3
    assert turned.interpolated.dims == ("x",)
    assert reorient(marked, "LPI").interpolated.values.tolist() == [True, True, False]
    assert turned.attrs["history"][-1] == "reoriented: SPL"


@pytest.mark.parametrize("wrong", ["", "LP", "LPSA", "LRS", "XYZ", None, 3])
def test_wrong_codes_say_what_was_expected(wrong):
    with pytest.raises(InvalidInputError, match="a letter for each"):
        reorient(volume((0, 0, 0)), wrong)


def test_what_has_no_affine_cannot_be_turned():
    with pytest.raises(GeometryError):
        reorient(volume((0, 0, 0)).isel(z=0))
