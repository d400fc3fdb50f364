"""Features: the IBSI's reference values, other implementations, and regions that must be refused."""

import math

import numpy as np
import pytest
import xarray as xr
from skimage.measure import marching_cubes, mesh_surface_area

import researchpacs as rp
from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.volume import as_volume

# The digital phantom of the image biomarker standardisation initiative (Zwanenburg et al., arXiv:1612.07003, chapter
# 5), slice by slice, voxels of 2 mm; 0 where a voxel is not in the region.
PHANTOM = np.array([
    [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
    [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
    [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
    [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
])  # fmt: skip
REGION = PHANTOM > 0
SPACING = (2.0, 2.0, 2.0)

# Reference values for it in chapter 3 of the same manual, to the digits published.
FIRST_ORDER = {
    "mean": 2.15, "variance": 3.05, "skewness": 1.08, "kurtosis": -0.355, "median": 1, "minimum": 1, "percentile_10": 1,
    "percentile_90": 4, "maximum": 6, "interquartile_range": 3, "range": 5, "mean_absolute_deviation": 1.55,
    "robust_mean_absolute_deviation": 1.11, "median_absolute_deviation": 1.15, "coefficient_of_variation": 0.812,
    "quartile_coefficient_of_dispersion": 0.6, "energy": 567, "root_mean_square": 2.77, "entropy": 1.27,
    "uniformity": 0.512,
}  # fmt: skip
SHAPE = {
    "mesh_volume_mm3": 556, "voxel_volume_mm3": 592, "surface_area_mm2": 388, "surface_to_volume_ratio": 0.698,
    "compactness_1": 0.0411, "compactness_2": 0.599, "spherical_disproportion": 1.19, "sphericity": 0.843,
    "asphericity": 0.186, "maximum_3d_diameter_mm": 13.1, "major_axis_length_mm": 11.4, "minor_axis_length_mm": 9.31,
    "least_axis_length_mm": 8.54, "elongation": 0.816, "flatness": 0.749,
}  # fmt: skip


def _volume(data: np.ndarray, *, affine: np.ndarray | None = None, frame: str = "1.2.3") -> xr.DataArray:
    return as_volume(data, np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine, frame)


def _ellipsoid(radii: tuple[float, float, float], spacing: tuple[float, float, float]) -> np.ndarray:
    counts = [int(radius / step) + 2 for radius, step in zip(radii, spacing, strict=True)]
    axes = [np.arange(-n, n + 1) * step for n, step in zip(counts, spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return (z / radii[0]) ** 2 + (y / radii[1]) ** 2 + (x / radii[2]) ** 2 <= 1


@pytest.mark.parametrize(("name", "published"), FIRST_ORDER.items())
def test_first_order_features_have_the_published_values(name, published):
    found = rp.features.first_order(PHANTOM, REGION)[name]
    assert float(f"{found:.3g}") == published


@pytest.mark.parametrize(("name", "published"), SHAPE.items())
def test_shape_features_have_the_published_values(name, published):
    found = rp.features.shape(REGION, spacing=SPACING)[name]
    assert float(f"{found:.3g}") == published


def test_every_feature_is_compared_with_a_published_value_or_follows_from_one():
    assert set(rp.features.first_order(PHANTOM, REGION)) - set(FIRST_ORDER) == {"voxel_count", "standard_deviation"}
    assert set(rp.features.shape(REGION, spacing=SPACING)) == set(SHAPE)


def test_a_volume_brings_its_spacing_and_turning_it_changes_nothing():
    # Rotated, sheared axes of 2 mm would be another shape; turned ones are the same.
    turn = np.array([[0, 0.6, 0.8], [0, -0.8, 0.6], [1, 0, 0]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * 2, (-40, 7, 300)
    expected = rp.features.shape(REGION, spacing=SPACING)
    for vol in (_volume(REGION), _volume(REGION, affine=affine), _volume(REGION, affine=affine)[::-1, :, ::-1]):
        assert rp.features.shape(vol) == pytest.approx(expected)
        assert rp.features.shape(vol.transpose("x", "z", "y")) == pytest.approx(expected)


def test_features_of_a_volume_and_its_own_mask():
    vol = _volume(PHANTOM.astype(np.int16)).chunk({"z": 1})
    assert rp.features.first_order(vol, vol > 0) == rp.features.first_order(PHANTOM, REGION)
    assert rp.features.first_order(vol.transpose("y", "x", "z"), vol > 0) == rp.features.first_order(PHANTOM, REGION)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.7, 0.7), (0.5, 2.0, 1.0)])
def test_the_surface_is_that_of_another_marching_cubes(spacing):
    mask = _ellipsoid((15, 9, 12), spacing)
    points, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(float), 0.5, spacing=spacing, method="lorensen")
    corners = points[faces].astype(float)
    volume = abs(np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6)
    found = rp.features.shape(mask, spacing=spacing)
    assert found["mesh_volume_mm3"] == pytest.approx(volume, rel=1e-5)
    assert found["surface_area_mm2"] == pytest.approx(mesh_surface_area(points, faces), rel=1e-5)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2).max()
    assert found["maximum_3d_diameter_mm"] == pytest.approx(apart, rel=1e-5)


def test_a_row_of_voxels_is_a_rod_with_pointed_ends():
    found = rp.features.shape(np.ones((1, 1, 9), bool), spacing=(1, 1, 1))
    assert found["mesh_volume_mm3"] == pytest.approx(8 * 0.5 + 2 * 0.5 * 0.5 / 3)
    assert found["surface_area_mm2"] == pytest.approx(8 * 4 * math.sqrt(0.5) + 8 * math.sqrt(3) / 8)


def test_the_farthest_pair_is_found_among_all_pairs():
    random = np.random.default_rng(3)
    for density in (0.02, 0.3):
        mask = random.random((11, 14, 9)) < density
        spacing = (2.5, 0.8, 1.1)
        faces = [(np.argwhere(mask) + 0.5 * sign * np.eye(3)[axis]) for axis in range(3) for sign in (-1, 1)]
        points = np.concatenate(faces) * spacing
        apart = np.linalg.norm(points[:, None] - points[None], axis=2).max()
        assert rp.features.shape(mask, spacing=spacing)["maximum_3d_diameter_mm"] == pytest.approx(apart)


def test_a_large_ball_measures_like_a_ball():
    found = rp.features.shape(_ellipsoid((30, 30, 30), (1, 1, 1)), spacing=(1, 1, 1))
    assert found["mesh_volume_mm3"] == pytest.approx(4 / 3 * math.pi * 30**3, rel=0.01)
    assert found["maximum_3d_diameter_mm"] == pytest.approx(61, abs=0.1)
    assert found["major_axis_length_mm"] == pytest.approx(4 * math.sqrt(30**2 / 5), rel=0.01)


def test_bins_have_the_width_asked_for_and_start_at_the_minimum():
    values = np.array([[[-7.0, -3.1, -3.0, 0.9, 1.0, 5.0]]])
    found = rp.features.first_order(values, bin_width=4)
    assert found["uniformity"] == pytest.approx((2**2 + 2**2 + 1 + 1) / 36)
    assert found["entropy"] == pytest.approx(2 * (1 / 3) * math.log2(3) + 2 * (1 / 6) * math.log2(6))


def test_values_that_are_none_are_left_out():
    with_gaps = np.array([[[1.0, np.nan, 3.0, np.inf, 4.0, 4.0]]])
    assert rp.features.first_order(with_gaps) == rp.features.first_order(np.array([[[1.0, 3.0, 4.0, 4.0]]]))
    with pytest.raises(InvalidInputError, match="no finite value"):
        rp.features.first_order(np.full((1, 1, 2), np.nan))


def test_equal_values_have_no_spread_and_no_division_by_zero():
    found = rp.features.first_order(np.zeros((2, 2, 2)))
    assert (found["variance"], found["skewness"], found["kurtosis"], found["entropy"]) == (0, 0, 0, 0)
    assert math.isnan(found["coefficient_of_variation"])


def test_two_values_leave_none_between_their_percentiles():
    found = rp.features.first_order(np.array([[[1.0, 3.0]]]))
    assert math.isnan(found["robust_mean_absolute_deviation"])
    assert found["mean_absolute_deviation"] == 1


def test_one_voxel_has_a_volume_and_no_axes():
    found = rp.features.shape(np.ones((1, 1, 1)), spacing=(1, 2, 3))
    assert found["voxel_volume_mm3"] == pytest.approx(6)
    assert found["mesh_volume_mm3"] == pytest.approx(1)
    assert found["maximum_3d_diameter_mm"] == pytest.approx(3)
    assert math.isnan(found["flatness"])


def test_sums_of_small_integers_do_not_wrap():
    assert rp.features.first_order(np.full((4, 4, 4), 200, np.uint8))["energy"] == 64 * 200**2


def test_a_mask_on_another_grid_is_refused():
    vol = _volume(PHANTOM)
    mask = vol > 0
    shifted = np.diag([2.0, 2.0, 2.0, 1.0])
    shifted[0, 3] = 1.0
    for other in (_volume(REGION, affine=shifted), _volume(REGION, frame="1.2.9"), mask[::-1], mask[:-1]):
        with pytest.raises(GeometryError):
            rp.features.first_order(vol, other)
    with pytest.raises(GeometryError, match="do not both know"):
        rp.features.first_order(vol, mask.drop_vars("frame"))
    with pytest.raises(InvalidInputError, match="shape"):
        rp.features.first_order(PHANTOM, REGION[:-1])


@pytest.mark.parametrize(
    ("mask", "spacing", "says"),
    [
        (np.zeros((2, 2, 2)), SPACING, "empty"),
        (PHANTOM, SPACING, "0 or 1"),
        (np.ones((2, 2)), SPACING, "three dimensions"),
        (np.array([[["a"]]]), SPACING, "numbers"),
        (REGION, None, "give spacing"),
        (REGION, (1, 2), "three positive"),
        (REGION, (1, 2, -1), "three positive"),
        (REGION, "abc", "three positive"),
        (_volume(REGION), SPACING, "of its own"),
    ],
)
def test_what_has_no_shape_is_refused(mask, spacing, says):
    with pytest.raises(InvalidInputError, match=says):
        rp.features.shape(mask, spacing=spacing)


@pytest.mark.parametrize("width", [0, -1, math.inf, math.nan, "4", True])
def test_a_bin_has_a_positive_width(width):
    with pytest.raises(InvalidInputError, match="bin_width"):
        rp.features.first_order(PHANTOM, REGION, bin_width=width)
