"""A rendering shows what is there from the side asked for; where nothing renders it says so."""

import numpy as np
import pytest

from researchpacs.errors import GeometryError, InvalidInputError, UnsupportedError
from researchpacs.reconstruct import _renderer, render, rendering
from researchpacs.volume import as_volume

LEFT, HEAD = np.array([25.0, 0.0, -10.0]), np.array([0.0, 0.0, 25.0])


def volume(handed=1, dtype=np.int16):
    """Two balls of bone in air: a large one at the left, a small one at the head."""
    shape, affine = (40, 40, 44), np.eye(4)
    affine[:3, :3] = np.array([[0.0, 0, 1], [0, 1, 0], [handed, 0, 0]]) * 2.0
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    places = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    inside = (np.linalg.norm(places - LEFT, axis=-1) < 9) | (np.linalg.norm(places - HEAD, axis=-1) < 6)
    return as_volume(np.where(inside, 1200, -1000).astype(dtype), affine, "1.2.3", attrs={"units": "HU"})


def spots(picture, half_mm):
    """Centres (row, column) of what is bright, in mm from the middle, up and right; half the picture has `half_mm`."""
    from scipy import ndimage

    bright = np.asarray(picture.convert("L")) > 60
    labels, count = ndimage.label(bright)
    sizes = ndimage.sum(bright, labels, range(1, count + 1))
    centres = np.array(ndimage.center_of_mass(bright, labels, range(1, count + 1)))
    order = np.argsort(sizes)[::-1]
    scale = 2 * half_mm * 1.02 / picture.size[0]
    found = (centres[order] - (np.array(picture.size[::-1]) - 1) / 2) * (-scale, scale)
    return found[np.asarray(sizes)[order] > 20]


@pytest.mark.parametrize("handed", [1, -1])
@pytest.mark.parametrize(("side", "left", "head"), [
    ("front", (-10, 25), (25, 0)), ("back", (-10, -25), (25, 0)), ("left", (-10, 0), (25, 0)),
    ("head", (0, -25), (0, 0)), ("feet", (0, 25), (0, 0)),
])  # fmt: skip
def test_each_side_shows_what_is_there(handed, side, left, head):
    if _renderer.renderer() is None:
        with pytest.raises(UnsupportedError, match="EGL"):
            render(volume(handed))
        return
    picture = render(volume(handed), "bone", side=side, size=(300, 300))
    assert picture.size == (300, 300)
    found = spots(picture, 40 if side == "left" else 44)
    assert len(found) == 2
    np.testing.assert_allclose(found[0], left, atol=2.5)
    np.testing.assert_allclose(found[1], head, atol=2.5)


def test_presets_differ_and_a_picture_is_the_same_again():
    if _renderer.renderer() is None:
        with pytest.raises(UnsupportedError, match="EGL"):
            render(volume())
        return
    vol = volume()
    bone, skin = (np.asarray(render(vol, name, size=(120, 90))) for name in ("bone", "skin"))
    assert bone.shape == (90, 120, 3)
    assert (bone != skin).any()
    np.testing.assert_array_equal(bone, np.asarray(render(vol.chunk({"z": 7}), "bone", size=(120, 90))))
    white = np.asarray(render(vol, "bone", size=(120, 90), background=(1, 1, 1)))
    assert (white[0, 0] == 255).all()
    padded = vol.where(vol > 0, -3000).astype(np.int16).assign_attrs(padding=(-3000.0, -3000.0))
    seen = np.asarray(render(padded, "skin", size=(120, 90))).any(axis=-1)
    assert (seen != skin.any(axis=-1)).mean() < 0.01, "padding is as clear as air"


def test_without_a_renderer_there_is_a_way_out(monkeypatch):
    monkeypatch.setattr(rendering, "renderer", lambda: None)
    with pytest.raises(UnsupportedError, match="rotate"):
        render(volume())


def test_a_crash_while_it_is_tried_is_a_no(monkeypatch):
    monkeypatch.setattr(_renderer.sys, "executable", "/bin/false")
    assert _renderer.renderer.__wrapped__() is None
    monkeypatch.setattr(_renderer.sys, "executable", "/no/such/program")
    assert _renderer.renderer.__wrapped__() is None


@pytest.mark.parametrize("wrong", [
    {"preset": "liver"}, {"side": "below"}, {"size": (0, 5)}, {"size": 5}, {"size": (99999, 5)},
    {"background": "red"}, {"background": (2, 0, 0)}, {"look": (0, 0, 0)},
])  # fmt: skip
def test_wrong_calls_say_what_was_expected(wrong):
    with pytest.raises(InvalidInputError, match="expected"):
        render(volume(), **wrong)


def test_values_that_are_no_hu_and_arrays_without_a_place_are_refused():
    with pytest.raises(InvalidInputError, match="HU"):
        render(volume().assign_attrs(units="Bq/ml"))
    with pytest.raises(GeometryError):
        render(volume().isel(z=0))
