"""Stacks are what their measured positions say."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from researchpacs.dicom.geometry import REASONS, blame, classify
from researchpacs.dicom.pixels import PixelLayout

LAYOUT = PixelLayout("1.2.840.10008.1.2.1", 8, 9, 1, 16, 12, 0, "MONOCHROME2", 0)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Plane:
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None = AXIAL
    pixel_spacing: tuple[float, ...] | None = (0.8, 0.7)
    layout: PixelLayout | None = LAYOUT


def axial(*heights):
    return [Plane((10.0, 20.0, float(z))) for z in heights]


def reasons(frames):
    return classify(frames)[0].reasons


rotations = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)


@settings(deadline=None, max_examples=60)
@given(rotations, st.floats(0.3, 10), st.integers(2, 40), st.randoms(use_true_random=False))
def test_affine_puts_every_slice_where_its_header_says_in_any_input_order(q, step, n, random):
    cosines = Rotation.from_quat(q).as_matrix()
    start = np.array([-100.0, 50.0, 700.0])
    points = [start + k * step * cosines[:, 2] for k in range(n)]
    frames = [Plane(tuple(p.tolist()), (*cosines[:, 0].tolist(), *cosines[:, 1].tolist())) for p in points]
    shuffled = random.sample(frames, n)
    geometry, order = classify(shuffled)
    assert geometry.kind == "uniform"
    assert [shuffled[k] for k in order] == frames
    affine = np.array(geometry.affine_lps)
    for k, point in enumerate(points):
        np.testing.assert_allclose(affine @ [k, 0, 0, 1], [*point, 1], atol=1e-9)
    # Row index steps along the column cosines by the first number of Pixel Spacing (PS3.3 C.7.6.2.1.1).
    np.testing.assert_allclose(affine[:3, 1], cosines[:, 1] * 0.8, atol=1e-9)
    np.testing.assert_allclose(affine[:3, 2], cosines[:, 0] * 0.7, atol=1e-9)
    assert geometry.spacing == pytest.approx((step, 0.8, 0.7))


def test_z_increases_along_row_cross_column():
    geometry, order = classify(axial(30, 10, 20))
    assert order == (1, 2, 0)
    assert geometry.affine_lps[2] == (10.0, 0.0, 0.0, 10.0)
    upside_down = [replace(u, orientation=(-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)) for u in axial(30, 10, 20)]
    assert classify(upside_down)[1] == (0, 2, 1)


@pytest.mark.parametrize(("spacing", "off", "kind"), [
    (0.2, 0.015, "uniform"), (0.2, 0.03, "nonuniform_spacing"),
    (3.0, 0.14, "uniform"), (3.0, 0.16, "nonuniform_spacing"),
])  # fmt: skip
def test_tolerance_is_the_larger_of_a_fiftieth_millimetre_and_a_twentieth_of_the_spacing(spacing, off, kind):
    heights = np.arange(10) * spacing
    heights[4] += off
    geometry, _ = classify(axial(*heights))
    assert geometry.kind == kind
    assert geometry.spacing_error_mm == pytest.approx(off)


@pytest.mark.parametrize(("angle_deg", "found"), [(0.05, ()), (0.2, ("gantry_tilt",)), (20, ("gantry_tilt",))])
def test_a_tilt_counts_from_a_tenth_degree_and_keeps_its_sheared_affine(angle_deg, found):
    slant = np.tan(np.radians(angle_deg))
    frames = [Plane((0.0, 2.0 * k * slant, 2.0 * k)) for k in range(10)]
    geometry, _ = classify(frames)
    assert geometry.reasons == found
    np.testing.assert_allclose(np.array(geometry.affine_lps)[:3, 0], [0, 2 * slant, 2])


def test_missing_slices_are_gaps_of_whole_multiples():
    frames = axial(0, 2, 4, 8, 10, 16)
    assert reasons(frames) == ("missing_slices",)
    assert blame(frames) == {"missing_slices": (3, 5)}
    assert classify(frames)[0].affine_lps is None


def test_missing_slices_are_found_where_every_other_is_missing_half_the_way():
    assert reasons(axial(0, 1, 3, 4, 6, 7, 9)) == ("missing_slices",)


def test_gaps_that_fit_no_grid_are_nonuniform():
    frames = axial(0, 2, 4, 6, 9.1, 11.1)
    assert reasons(frames) == ("nonuniform_spacing",)
    assert blame(frames)["nonuniform_spacing"] == (4,)
    assert reasons(axial(*range(10), 4.5)) == ("nonuniform_spacing",)


def test_a_slice_met_twice_is_a_duplicate():
    frames = axial(0, 1, 2, 2, 3)
    assert reasons(frames) == ("duplicate_positions",)
    assert blame(frames) == {"duplicate_positions": (3,)}
    assert reasons(axial(*[k % 5 for k in range(50)])) == ("duplicate_positions",)
    assert reasons(axial(5, 5)) == ("duplicate_positions",)


def test_several_faults_are_named_gravest_first():
    assert reasons(axial(0, 1, 1, 2, 5)) == ("duplicate_positions", "missing_slices")
    assert list(REASONS).index("duplicate_positions") < list(REASONS).index("missing_slices")


def test_planes_turned_against_each_other_are_mixed():
    turned = (1.0, 0.0, 0.0, 0.0, np.cos(0.01), np.sin(0.01))
    assert reasons([*axial(0, 1, 2), replace(*axial(3), orientation=turned)]) == ("mixed_orientation",)
    in_plane = (np.cos(0.01), np.sin(0.01), 0.0, -np.sin(0.01), np.cos(0.01), 0.0)
    assert reasons([*axial(0, 1, 2), replace(*axial(3), orientation=in_plane)]) == ("mixed_orientation",)


def test_digits_that_vary_from_slice_to_slice_are_not_mixed():
    frames = [
        replace(plane, orientation=(1.0, k * 1e-8, 0.0, 0.0, 1.0, -k * 1e-8))
        for k, plane in enumerate(axial(*range(9)))
    ]
    assert reasons(frames) == ()


@pytest.mark.parametrize("other", [
    replace(axial(3)[0], layout=replace(LAYOUT, rows=16)),
    replace(axial(3)[0], pixel_spacing=(0.81, 0.7)),
    replace(axial(3)[0], position=(11.0, 20.0, 3.0)),
    replace(axial(2)[0], position=(90.0, 20.0, 2.0)),
])  # fmt: skip
def test_frames_of_another_size_spacing_or_line_are_another_stack(other):
    frames = [*axial(0, 1, 2), other]
    assert "multiple_stacks" in reasons(frames)
    assert classify(frames)[0].kind == "multiple_stacks"


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("change", [
    {"position": None}, {"position": (NAN, 0.0, 0.0)}, {"position": (0.0, INF, 0.0)}, {"position": (0.0, 0.0)},
    {"position": (0.0, 0.0, 1e300)},
    {"orientation": None}, {"orientation": (0.0,) * 6}, {"orientation": (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)},
    {"orientation": (1.0, 0.0, 0.0, 0.0, 0.9, 0.0)}, {"orientation": (NAN,) * 6}, {"orientation": (1e300,) * 6},
    {"pixel_spacing": None}, {"pixel_spacing": (0.0, 1.0)}, {"pixel_spacing": (-1.0, 1.0)},
    {"pixel_spacing": (NAN, 1.0)}, {"pixel_spacing": (INF, 1.0)},
])  # fmt: skip
def test_headers_that_cannot_be_are_not_believed(change):
    frames = [*axial(0, 1), replace(axial(2)[0], **change)]
    geometry, order = classify(frames)
    assert geometry.kind == "no_position"
    assert geometry.affine_lps is None
    assert order == (0, 1, 2)
    assert blame(frames)["no_position"] == (2,)


def test_cosines_rounded_to_three_digits_are_believed():
    cosines = Rotation.from_rotvec([0.3, -0.2, 0.7]).as_matrix().round(3)
    orientation = (*cosines[:, 0].tolist(), *cosines[:, 1].tolist())
    normal = np.cross(cosines[:, 0], cosines[:, 1])
    normal /= np.linalg.norm(normal)
    assert reasons([Plane(tuple((k * normal).tolist()), orientation) for k in range(5)]) == ()


def test_nothing_and_what_has_no_pixels_is_no_image():
    assert classify([])[0].kind == "not_an_image"
    assert classify([])[1] == ()
    assert classify([replace(axial(1)[0], layout=None)])[0].kind == "not_an_image"
    assert classify([replace(axial(1)[0], layout=replace(LAYOUT, rows=0))])[0].kind == "not_an_image"


def test_one_slice_has_no_spacing_along_z():
    geometry, order = classify(axial(5))
    assert (geometry.reasons, geometry.shape, order) == (("single_slice",), (1, 8, 9), (0,))
    assert geometry.spacing == (None, 0.8, 0.7)
    assert geometry.is_volume
    assert not classify([Plane(None)])[0].is_volume


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 11), max_size=8))
def test_no_header_makes_it_fail(rows):
    frames = [Plane(r[:3], r[3:9], r[9:]) for r in rows]
    geometry, order = classify(frames)
    assert sorted(order) == list(range(len(frames)))
    assert set(geometry.reasons) <= set(REASONS)


def test_twenty_thousand_frames_take_under_a_second():
    import time

    frames = axial(*np.random.default_rng(1).permutation(20_000))
    start = time.process_time()
    geometry, _ = classify(frames)
    assert geometry.kind == "uniform"
    assert time.process_time() - start < 1.0
