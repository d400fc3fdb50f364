"""Polygons to pixels and back: exact, by an independent rasteriser in rational numbers and by SciPy."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.path import Path as Outline
from scipy import ndimage

from researchpacs.dicom.outlines import outlines
from researchpacs.dicom.polygons import FARTHEST, even_odd_area, even_odd_mask
from researchpacs.errors import GeometryError

SHAPE = (9, 11)

eighths = st.integers(-16, 8 * 12).map(lambda n: n / 8)
polygons = st.lists(st.lists(st.tuples(eighths, eighths), min_size=3, max_size=9), min_size=1, max_size=3)
masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14))


def rational(found: list[list[tuple[float, float]]]) -> np.ndarray:
    """Count boundaries to the left of each centre, in fractions; a centre on one is to its right, or below it."""
    mask = np.zeros(SHAPE, bool)
    for row in range(SHAPE[0]):
        for column in range(SHAPE[1]):
            crossed = 0
            for polygon in found:
                for (r0, c0), (r1, c1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
                    if (r0 <= row) != (r1 <= row):
                        share = (row - Fraction(r0)) / (Fraction(r1) - Fraction(r0))
                        crossed += Fraction(c0) + share * (Fraction(c1) - Fraction(c0)) <= column
            mask[row, column] = crossed % 2
    return mask


@given(polygons)
def test_every_pixel_is_where_rational_numbers_put_it(found) -> None:
    np.testing.assert_array_equal(even_odd_mask([np.array(one) for one in found], SHAPE), rational(found))


@given(st.integers(0, 2**32 - 1))
def test_a_polygon_that_meets_no_centre_is_that_of_matplotlib(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    polygon = np.array(SHAPE) / 2 + rng.uniform(1, 6, (12, 1)) * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    rows, columns = np.indices(SHAPE)
    expected = Outline(polygon).contains_points(np.stack([rows.ravel(), columns.ravel()], axis=1)).reshape(SHAPE)
    np.testing.assert_array_equal(even_odd_mask([polygon], SHAPE), expected)


@given(polygons)
def test_direction_and_first_point_do_not_matter(found) -> None:
    turned = [np.array(one[2:] + one[:2])[::-1] for one in found]
    np.testing.assert_array_equal(even_odd_mask([np.array(one) for one in found], SHAPE), even_odd_mask(turned, SHAPE))


def test_neighbours_share_no_pixel_and_leave_none_out() -> None:
    left, right = ([[0, 1], [0, 4], [6, 6], [6, 1]], [[0, 4], [0, 9], [6, 9], [6, 6]])
    both = [[0, 1], [0, 9], [6, 9], [6, 1]]
    one, other, whole = (even_odd_mask([np.array(points, float)], SHAPE) for points in (left, right, both))
    assert not (one & other).any()
    np.testing.assert_array_equal(one | other, whole)


def test_a_hole_and_a_keyhole_are_the_same() -> None:
    outer = [[0.5, 0.5], [0.5, 8.5], [7.5, 8.5], [7.5, 0.5]]
    inner = [[2.5, 3.5], [4.5, 3.5], [4.5, 5.5], [2.5, 5.5]]
    keyhole = [*outer, outer[0], *inner, inner[0], outer[0]]
    apart = even_odd_mask([np.array(outer), np.array(inner)], SHAPE)
    np.testing.assert_array_equal(even_odd_mask([np.array(keyhole)], SHAPE), apart)
    assert apart.sum() == 7 * 8 - 2 * 2
    assert even_odd_area([np.array(keyhole)]) == pytest.approx(7 * 8 - 2 * 2)


@given(masks)
def test_outlines_give_the_mask_back_and_its_area(mask: np.ndarray) -> None:
    found = outlines(mask)
    np.testing.assert_array_equal(even_odd_mask(found, mask.shape), mask)
    assert even_odd_area(found) == pytest.approx(mask.sum())


@given(masks)
def test_there_is_one_outline_for_each_part(mask: np.ndarray) -> None:
    assert len(outlines(mask)) == ndimage.label(mask)[1]


@given(masks)
def test_outlines_fill_alike_by_the_winding_rule(mask: np.ndarray) -> None:
    """Programs that fill by winding, not by even and odd, read the same from one polygon with keyholes."""
    rows, columns = np.indices(mask.shape)
    centres = np.stack([rows.ravel(), columns.ravel()], axis=1).astype(float)
    winding = np.zeros(len(centres))
    for polygon in outlines(mask):
        here, there = polygon, np.roll(polygon, -1, axis=0)
        for (r0, c0), (r1, _) in zip(here, there, strict=True):  # sides are upright or level
            is_met = ((r0 <= centres[:, 0]) != (r1 <= centres[:, 0])) & (c0 > centres[:, 1])
            winding += np.where(is_met, np.sign(r1 - r0), 0)
    np.testing.assert_array_equal((winding != 0).reshape(mask.shape), mask)
    assert set(np.unique(np.abs(winding))) <= {0, 1}


def test_area_is_that_of_the_shoelace() -> None:
    rng = np.random.default_rng(5)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 500))
    y, x = np.stack([np.sin(angles), np.cos(angles)]) * rng.uniform(50, 60, 500)
    shoelace = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    assert even_odd_area([np.stack([y, x], axis=1)]) == pytest.approx(shoelace)


def test_nothing_is_nothing() -> None:
    assert not even_odd_mask([], SHAPE).any()
    assert even_odd_area([]) == 0
    assert outlines(np.zeros(SHAPE, bool)) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -2 * FARTHEST, 1e300])
def test_what_is_nowhere_is_refused(value: float) -> None:
    with pytest.raises(GeometryError):
        even_odd_mask([np.array([[0, 0], [value, 3], [3, 3]])], SHAPE)


def test_a_million_points_take_moments_and_bounded_memory() -> None:
    angles = np.linspace(0, 2 * np.pi, 1_000_000, endpoint=False)
    circle = 256 + 200.3 * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    mask = even_odd_mask([circle], (512, 512))
    rows, columns = np.ogrid[:512, :512]
    np.testing.assert_array_equal(mask, (rows - 256) ** 2 + (columns - 256) ** 2 < 200.3**2)
    zigzag = np.stack([np.arange(600_000) % 2 * 511.0, np.arange(600_000) / 2000], axis=1)
    with pytest.raises(GeometryError, match="no anatomy"):
        even_odd_mask([zigzag], (512, 512))
