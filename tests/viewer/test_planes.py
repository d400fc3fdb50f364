"""Every pixel of a picture is the voxel that lies where the picture's geometry says."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from researchpacs.errors import GeometryError
from researchpacs.viewer._planes import array_stacks, letters, plane_stacks, stored_type
from researchpacs.volume import as_volume

SHAPE = (5, 7, 9)
AXIS_ALIGNED = [np.eye(3)[:, order] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
"""All 48 ways in which array axes can lie along patient axes, both handednesses."""


def rotation(a: float, b: float, c: float) -> np.ndarray:
    """Turn about x, then y, then z."""
    return (
        np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        @ np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        @ np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    )


def volume(directions: np.ndarray, spacing=(2.5, 0.8, 0.7)):
    affine = np.eye(4)
    affine[:3, :3] = directions * np.asarray(spacing)
    affine[:3, 3] = (-31.0, 12.5, 88.0)
    return as_volume(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), affine, "1.2.3")


def pixels_lie_where_they_say(vol) -> None:
    """Look the value of each pixel up by its point in the patient, through the volume's own geometry."""
    for stack in plane_stacks(vol.dicom.affine_lps, vol.shape):
        count, rows, columns = stack.shape
        for index in range(count):
            cut = [slice(None)] * 3
            cut[stack.axes[0]] = index
            picture = stack.picture(vol.values[tuple(cut)])
            assert picture.shape == (rows, columns)
            for row, column in product(range(rows), range(columns)):
                voxel = vol.dicom.to_index(stack.to_lps(index, row, column))
                assert np.abs(voxel - np.rint(voxel)).max() < 1e-6
                assert vol.values[tuple(np.rint(voxel).astype(int))] == picture[row, column]


@pytest.mark.parametrize("directions", AXIS_ALIGNED, ids=lambda d: "".join(map(str, d.astype(int).ravel())))
def test_pictures_keep_the_radiological_convention_for_every_acquisition(directions):
    axial, coronal, sagittal = plane_stacks(volume(directions).dicom.affine_lps, SHAPE)
    assert [letters(sagittal.row_cosines), letters(sagittal.column_cosines)] == ["P", "F"]
    assert [letters(axial.row_cosines), letters(axial.column_cosines)] == ["L", "P"]
    assert [letters(coronal.row_cosines), letters(coronal.column_cosines)] == ["L", "F"]
    pixels_lie_where_they_say(volume(directions))


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.floats(-np.pi, np.pi)] * 3))
def test_pixels_of_oblique_volumes_lie_where_they_say(angles):
    pixels_lie_where_they_say(volume(rotation(*angles)))


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.floats(-np.pi, np.pi)] * 3), st.tuples(*[st.floats(-20, 20)] * 3))
def test_a_point_goes_to_a_pixel_and_back(angles, pixel):
    for stack in plane_stacks(volume(rotation(*angles)).dicom.affine_lps, SHAPE):
        assert np.abs(np.subtract(stack.to_pixel(stack.to_lps(*pixel)), pixel)).max() < 1e-9


def test_a_coronal_plane_of_an_axial_series_starts_at_the_highest_slice():
    """Image Position (Patient) is the centre of the first pixel: x of column 0, z of the last slice."""
    vol = volume(np.eye(3)[:, [2, 1, 0]])
    _, coronal, _ = plane_stacks(vol.dicom.affine_lps, SHAPE)
    assert coronal.origin == pytest.approx((-31.0, 12.5, 88.0 + 4 * 2.5))
    assert coronal.step == pytest.approx((0, 0.8, 0))
    assert coronal.spacing == pytest.approx((2.5, 0.7))
    assert coronal.location(3) == pytest.approx(12.5 + 3 * 0.8)


@pytest.mark.parametrize(
    ("leaning", "left"),
    [
        ([[np.sin(0.2), 0, 1], [0, 1, 0], [np.cos(0.2), 0, 0]], ["axial", "sagittal"]),
        ([[0, 0, 1], [np.sin(0.2), 1, 0], [np.cos(0.2), 0, 0]], ["axial", "coronal"]),
    ],
    ids=["sideways", "backwards"],
)
def test_of_slices_that_lean_only_planes_that_are_rectangles_are_shown_with_each_pixel_in_its_place(leaning, left):
    """Slices that lean backwards shift from one to the next along the coronal planes' own normal."""
    vol = volume(np.array(leaning))
    assert [stack.name for stack in plane_stacks(vol.dicom.affine_lps, SHAPE)] == left
    pixels_lie_where_they_say(vol)


def test_acquired_planes_that_are_no_rectangles_are_refused():
    lean = np.radians(12)
    with pytest.raises(GeometryError, match=r"axial plane are 12\.0 degrees off") as refused:
        plane_stacks(volume(np.array([[0, np.sin(lean), 1], [0, np.cos(lean), 0], [1, 0, 0]])).dicom.affine_lps, SHAPE)
    assert refused.value.reasons == ("gantry_tilt",)


def test_what_lies_in_no_patient_is_shown_as_the_array_is():
    values = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    for stack, axis in zip(array_stacks(SHAPE, (2.0, 1.0, 0.5)), range(3), strict=True):
        assert (stack.name, stack.oriented, stack.calibrated) == ("zyx"[axis], False, True)
        np.testing.assert_array_equal(stack.picture(values.take(1, axis)), values.take(1, axis))
        assert stack.spacing == tuple(mm for k, mm in enumerate((2.0, 1.0, 0.5)) if k != axis)
    (frames,) = array_stacks(SHAPE, None)
    assert (frames.name, frames.shape, frames.calibrated) == ("frame", SHAPE, False)


@pytest.mark.parametrize(
    ("direction", "text"),
    [
        ((1, 0, 0), "L"),
        ((-1, 0, 0), "R"),
        ((0, -1, 0), "A"),
        ((0, 0, 1), "H"),
        ((0.9, 0.43, 0), "LP"),
        ((1, 0.1, 0), "L"),
    ],
)
def test_letters_name_where_a_direction_leads(direction, text):
    assert letters(direction) == text


@pytest.mark.parametrize(
    ("dtype", "travels_as"),
    [
        ("u1", "<i2"),
        ("i1", "<i2"),
        (">i2", "<i2"),
        ("?", "<i2"),
        ("u2", "<f4"),
        ("i4", "<f4"),
        ("f4", "<f4"),
        ("f8", "<f4"),
    ],
)
def test_planes_travel_as_int16_only_where_no_value_is_lost(dtype, travels_as):
    assert stored_type(np.dtype(dtype)) == np.dtype(travels_as)
