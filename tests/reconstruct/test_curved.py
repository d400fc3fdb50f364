"""Curved planes: along a tube whose course is known the tube becomes a straight band."""

import dask.array as da
import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.reconstruct import curved
from researchpacs.volume import as_volume

RADIUS, TUBE = 30.0, 4.0
ANGLES = np.linspace(0.2, np.pi - 0.2, 9)
TURN = Rotation.from_rotvec([0.5, -0.3, 0.8]).as_matrix()
CENTRE = np.array([5.0, -20.0, 100.0])
ARC = CENTRE + RADIUS * np.stack([np.cos(ANGLES), np.sin(ANGLES), 0 * ANGLES], axis=1) @ TURN.T
"""Points of half a circle in an oblique plane."""


def tube(dtype=np.float32, handed=1):
    """1000 less the distance to the circle."""
    shape, affine = (56, 100, 92), np.eye(4)
    affine[:3, :3] = np.diag([1.6, 1.0 * handed, 1.1])
    affine[:3, 3] = CENTRE - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    places = (np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3] - CENTRE) @ TURN
    distance = np.hypot(np.hypot(places[..., 0], places[..., 1]) - RADIUS, places[..., 2])
    return as_volume((1000 - 10 * distance).astype(dtype), affine, "1.2.3", attrs={"Modality": "MR"})


@pytest.mark.parametrize("handed", [1, -1])
@pytest.mark.parametrize("across", [None, TURN @ [1.0, 0, 0]])
def test_a_straightened_tube_is_a_straight_band(handed, across):
    picture = curved(tube(handed=handed), ARC, width=20, across=across, spacing=0.5)
    assert picture.dims == ("along", "across")
    assert picture.shape == (int(RADIUS * np.ptp(ANGLES) / 0.5) + 1, 40)
    assert float(picture.along[-1]) == pytest.approx(RADIUS * np.ptp(ANGLES), abs=0.6)
    expected = np.broadcast_to(1000 - 10 * np.abs(picture.across.values), picture.shape)
    np.testing.assert_allclose(picture.values, expected, atol=9)


def test_every_pixel_knows_where_it_is():
    vol = tube()
    picture = curved(vol, ARC, width=20)
    places = np.stack([picture.x_lps, picture.y_lps, picture.z_lps], axis=-1)
    local = (places - CENTRE) @ TURN
    distance = np.hypot(np.hypot(local[..., 0], local[..., 1]) - RADIUS, local[..., 2])
    np.testing.assert_allclose(picture.values, 1000 - 10 * distance, atol=6)
    steps = np.linalg.norm(np.diff(places[:, 10], axis=0), axis=1)
    assert steps == pytest.approx(min(vol.dicom.spacing), rel=0.05)
    rows = places[:, -1] - places[:, 0]
    tangents = np.gradient(places.mean(axis=1), axis=0)
    assert np.abs((rows * tangents).sum(axis=1)).max() < 0.05 * np.linalg.norm(rows[0]) * np.linalg.norm(tangents[0])


def test_in_a_stretched_picture_lengths_are_true():
    # Seen along the circle's axis the whole arc is unrolled; the tube stays in the middle.
    flat = curved(tube(), ARC, how="stretched", across=TURN @ [0.0, 0, 1], width=20, spacing=0.5)
    np.testing.assert_allclose(flat.values, np.broadcast_to(1000 - 10 * np.abs(flat.across.values), flat.shape), atol=9)
    assert float(flat.along[-1]) == pytest.approx(RADIUS * np.ptp(ANGLES), abs=0.6)
    # Along a direction in the circle's plane it swings, and rows are straight lines.
    swinging = curved(tube(), ARC, how="stretched", across=TURN @ [0.0, 1, 0], width=50, spacing=0.5)
    brightest = swinging.across.values[swinging.values.argmax(axis=1)]
    assert np.ptp(brightest) == pytest.approx(RADIUS * (1 - np.sin(0.2)), abs=1.5)
    assert float(swinging.along[-1]) == pytest.approx(2 * RADIUS * np.cos(0.2), abs=0.6)


def test_the_curve_is_the_natural_spline_of_scipy():
    points = np.array([[0.0, 0, 0], [10, 5, 0], [15, 20, 4], [40, 22, 9]])
    knots = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    spline = CubicSpline(knots, points, bc_type="natural")
    fine = spline(np.linspace(0, knots[-1], 4000))
    vol = as_volume(np.zeros((20, 40, 60), np.int16), np.eye(4)[[2, 1, 0, 3]], "1.2.3")
    picture = curved(vol, points, width=2, spacing=1.0)
    middle = np.stack([picture[name].values.mean(axis=1) for name in ("x_lps", "y_lps", "z_lps")], axis=1)
    off = np.linalg.norm(middle[:, None] - fine[None], axis=2).min(axis=1)
    assert off.max() < 0.02
    run = np.linalg.norm(np.diff(fine, axis=0), axis=1).sum()
    assert float(picture.along[-1]) == pytest.approx(run, abs=1.0)


def test_lazy_volumes_stay_lazy_and_read_the_box_only():
    vol = tube()
    lazy = vol.copy(data=da.from_array(vol.values, chunks=(1, 100, 92)))
    picture = curved(lazy, ARC, width=20)
    assert isinstance(picture.data, da.Array)
    np.testing.assert_array_equal(picture.values, curved(vol, ARC, width=20).values)


def test_outside_and_padding_are_told():
    vol = tube(np.int16)
    wide = curved(vol, ARC, width=300, fill=-7)
    assert int(wide[0, 0]) == -7
    assert wide.dtype == np.int16
    padded = vol.where(vol > 900, -2000).astype(np.int16).assign_attrs(padding=(-2000.0, -2000.0))
    values = curved(padded, ARC, width=40).values
    assert ((values == -2000) | (values >= 900)).all()
    assert (values == -2000).any()


def test_a_curved_picture_is_in_no_frame():
    with pytest.raises(GeometryError):
        _ = curved(tube(), ARC).dicom.affine_lps


@pytest.mark.parametrize("wrong", [
    {"points_lps": [[0, 0, 0]]}, {"points_lps": [[0, 0, 0], [0, 0, 0]]}, {"points_lps": [[np.nan, 0, 0], [1, 1, 1]]},
    {"width": 0}, {"spacing": -1}, {"how": "bent"}, {"across": (0, 0, 0)},
    {"points_lps": [[0, 0, 0], [0, 0, 9]], "how": "stretched", "across": (0, 0, 1)},
])  # fmt: skip
def test_wrong_calls_say_what_was_expected(wrong):
    with pytest.raises(InvalidInputError):
        curved(tube(), **{"points_lps": ARC, **wrong})
