"""Irregular stacks open as they are, or repaired: landmarks stay where they are, and what is invented is marked."""

import numpy as np
import pytest

from researchpacs.errors import GeometryError
from researchpacs.volume import open_volume, open_volumes, read_volume

TILT = np.deg2rad(13.5)
LANDMARKS = np.array([(12.0, 14.0, 10.0), (40.0, 22.0, 24.0), (26.0, 44.0, 40.0), (18.0, 30.0, 30.0)])
SIDE, SPACING, STEP = 64, (0.8, 0.9), 2.0


def head(points):
    """HU + 1024 of a phantom with landmarks, at (..., 3) LPS mm."""
    values = np.full(points.shape[:-1], 1064.0)
    for landmark in LANDMARKS:
        values += 1500 * np.exp(-((points - landmark) ** 2).sum(axis=-1) / (2 * 2.5**2))
    return values


def scan(make_series, firsts, each=None):
    """What a scanner with upright planes makes of the phantom where slices begin at `firsts`."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    in_plane = np.stack([columns * SPACING[1], rows * SPACING[0], 0.0 * rows], axis=-1)
    pixels = [np.rint(head(first + in_plane)).astype(np.uint16) for first in np.array(firsts, float)]

    def spaced(k, ds):
        ds.PixelSpacing = list(SPACING)
        if each is not None:
            each(k, ds)

    return make_series([tuple(first) for first in firsts], pixels=pixels, each=spaced)


def tilted():
    """First pixels of slices whose stack leans by 13.5 degrees."""
    return [(0.0, STEP * k * np.tan(TILT) - 6, STEP * k) for k in range(26)]


def centres(vol):
    """Where the landmarks are in a volume with right angles: centres of mass about them, LPS."""
    index = np.indices(vol.shape).reshape(3, -1).T
    points = vol.dicom.to_lps(index)
    weights = np.clip(vol.values.ravel().astype(float) - 300, 0, None)
    found = []
    for landmark in LANDMARKS:
        near = np.linalg.norm(points - landmark, axis=1) < 7
        found.append((points[near] * weights[near, None]).sum(axis=0) / weights[near].sum())
    return np.array(found)


@pytest.mark.parametrize("opens", [read_volume, open_volume])
def test_a_tilted_scan_is_sheared_upright_and_landmarks_stay(make_series, opens):
    series = scan(make_series, tilted())
    with pytest.raises(GeometryError, match=r"by 13\.50 degrees.*repair"):
        opens(series)
    vol = opens(series, on_irregular="repair").compute()
    direction = vol.dicom.direction
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(vol.dicom.spacing, (STEP, *SPACING), rtol=1e-6)
    off = np.linalg.norm((centres(vol) - LANDMARKS) / (SPACING[1], SPACING[0], STEP), axis=1)
    assert off.max() < 0.5
    assert vol.values.min() == -1000  # air where nothing was seen
    assert "13.50 degrees" in vol.attrs["history"][-1]


def test_a_kept_tilt_has_the_exact_sheared_affine(make_series):
    series = scan(make_series, tilted())
    vol = read_volume(series, on_irregular="keep")
    for k, first in enumerate(tilted()):
        np.testing.assert_allclose(vol.dicom.to_lps((k, 0, 0)), first, atol=2e-4)
    np.testing.assert_array_equal(vol.values, read_volume(scan(make_series, tilted()), on_irregular="keep").values)
    assert open_volume(series, on_irregular="keep").compute().identical(vol)


def test_a_volume_repaired_lazily_is_the_one_read(make_series):
    series = scan(make_series, tilted())
    assert open_volume(series, on_irregular="repair").compute().identical(read_volume(series, on_irregular="repair"))


def test_gaps_are_filled_between_neighbours_and_marked(make_series):
    present = [0, 1, 2, 5, 6, 7, 8, 10]
    series = scan(make_series, [(0.0, 0.0, STEP * k) for k in present])
    kept = read_volume(series, on_irregular="keep")
    assert kept.z.values.tolist() == [STEP * k for k in present]
    with pytest.raises(GeometryError, match="not evenly spaced"):
        _ = kept.dicom.affine_lps
    for opens in (read_volume, open_volume):
        vol = opens(series, on_irregular="repair").compute()
        assert vol.z.values.tolist() == [STEP * k for k in range(11)]
        assert np.flatnonzero(~vol.interpolated.values).tolist() == present
        np.testing.assert_array_equal(vol.values[present], kept.values)
        between = (2 * kept.values[2].astype(float) + kept.values[3]) / 3
        np.testing.assert_array_equal(vol.values[3], np.rint(between))
        assert vol.sel(z=~vol.interpolated).shape == kept.shape
        assert "3 of 11 slices interpolated" in vol.attrs["history"][-1]


def test_uneven_slices_come_onto_a_regular_grid(make_series):
    heights = np.array([0, 2, 4, 6.5, 8.5, 10.5, 12.5])
    vol = read_volume(scan(make_series, [(0.0, 0.0, z) for z in heights]), on_irregular="repair")
    step = vol.dicom.spacing[0]
    assert vol.sizes["z"] == round(12.5 / step) + 1
    truth = head(vol.dicom.to_lps(np.indices(vol.shape).reshape(3, -1).T)) - 1024
    assert np.abs(vol.values.ravel() - truth).mean() < 5
    assert vol.interpolated.values.any()


def test_a_tilt_with_gaps_is_repaired_in_both_ways(make_series):
    firsts = tilted()
    series = scan(make_series, firsts[:8] + firsts[9:])
    vol = read_volume(series, on_irregular="repair")
    assert np.flatnonzero(vol.interpolated).tolist() == [8]
    off = np.linalg.norm((centres(vol) - LANDMARKS) / (SPACING[1], SPACING[0], STEP), axis=1)
    assert off.max() < 0.5


def test_repetitions_are_repaired_alike(make_series):
    firsts = tilted()

    def repeat(k, ds):
        ds.TemporalPositionIdentifier = k // len(firsts) + 1

    series = scan(make_series, [*firsts, *firsts], each=repeat)
    vol = read_volume(series, on_irregular="repair")
    once = read_volume(scan(make_series, firsts), on_irregular="repair")
    assert vol.dims == ("dynamic", "z", "y", "x")
    for k in range(2):
        np.testing.assert_array_equal(vol.values[k], once.values)


def test_a_uniform_series_is_the_same_whatever_the_policy(make_series):
    series = scan(make_series, [(0.0, 0.0, STEP * k) for k in range(4)])
    vol = read_volume(series)
    assert read_volume(series, on_irregular="repair").identical(vol)
    assert read_volume(series, on_irregular="keep").identical(vol)


@pytest.mark.parametrize("firsts", [[(0, 0, 0), (0, 0, 2), (0, 0, 2), (0, 0, 4)], [None, None]])
def test_what_cannot_be_repaired_is_kept_without_a_place(make_series, firsts):
    def same_number(_, ds):
        ds.InstanceNumber = 1

    series = make_series(firsts, each=same_number)
    with pytest.raises(GeometryError, match="cannot be repaired"):
        read_volume(series, on_irregular="repair")
    vol = read_volume(series, on_irregular="keep")
    assert vol.shape == (len(firsts), 5, 6)
    with pytest.raises(GeometryError, match="frame"):
        _ = vol.dicom.affine_lps


def test_volumes_of_a_series_open_one_by_one(make_series):
    turned = [(1, 0, 0, 0, 1, 0)] * 3 + [(0, 1, 0, 0, 0, -1)] * 2
    firsts = [(0, 0, 0), (0, 0, 2), (0, 0, 4), (0, 0, 0), (3, 0, 0)]
    series = make_series(firsts, orientation=turned)
    axial, sagittal = open_volumes(series)
    assert (axial.shape, sagittal.shape) == ((3, 5, 6), (2, 5, 6))
    assert axial.values[1, 0, 0] == 100 - 1024
    assert (axial.dicom.orientation, sagittal.dicom.orientation) == ("SPL", "RIP")
    heap = read_volume(series, on_irregular="keep")
    assert heap.shape == (5, 5, 6)
    assert "frame" not in heap.coords
