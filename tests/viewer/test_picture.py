"""The kernel's own picture of a viewer shows each thing where it is."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from researchpacs.viewer import Window, view
from researchpacs.viewer._picture import LINE


@pytest.fixture
def beads(make_volume):
    """A dark oblong box with one bright voxel at (z, y, x) = (20, 10, 30), voxels of 3 x 1 x 0.5 mm."""
    values = np.full((30, 40, 80), -1000, np.int16)
    values[20, 10, 30] = 1000
    affine = np.array([[0, 0, 0.5, 0], [0, 1.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1.0]])
    viewer = view(make_volume(values, affine), window=Window(0, 1000))
    viewer.set_state({"_slices": {"axial": 20, "coronal": 10, "sagittal": 40}})
    return viewer


def brightest(image: Image.Image) -> tuple[float, float]:
    """Row and column of the centre of what is white; letters are grey."""
    grey = np.asarray(image.convert("L"), dtype=float)
    rows, columns = np.nonzero(grey > 220)
    return rows.mean(), columns.mean()


def test_both_planes_have_one_scale_and_things_lie_where_they_are(beads):
    """90 mm tall and 40 mm wide is the coronal plane: with 900 picture elements, ten a mm."""
    image = beads.screenshot(height=900)
    assert image.mode == "RGB"
    assert image.size == (400 + 4 + 400 + 4 + 400, 900)
    top_of_axial = (900 - 400) / 2
    row, column = brightest(image.crop((0, 0, 400, 900)))
    assert (row, column) == pytest.approx((top_of_axial + 10.5 * 10, 30.5 * 5), abs=1.5)
    row, column = brightest(image.crop((404, 0, 804, 900)))
    assert (row, column) == pytest.approx(((29 - 20 + 0.5) * 30, 30.5 * 5), abs=1.5)


def test_a_length_is_drawn_on_its_plane_only(beads):
    def orange() -> int:
        return int((np.asarray(beads.screenshot()) == LINE).all(axis=-1).sum())

    assert orange() == 0
    request = {"kind": "mark", "id": "a", "shape": "length", "plane": "axial", "index": 20, "volume": 0}
    beads._handle_custom_msg({**request, "points_lps": [[5, 5, 60], [30, 30, 60]]}, [])
    assert orange() > 200
    beads.set_state({"_slices": {"axial": 19, "coronal": 10, "sagittal": 40}})
    assert orange() == 0


def test_the_window_decides_the_greys(beads):
    beads.window = Window(-1000, 400)
    mid_grey = np.asarray(beads.screenshot(height=900))[450, 200]
    assert mid_grey == pytest.approx([128] * 3, abs=1)


def test_a_saved_notebook_keeps_a_picture_beside_the_widget(beads):
    data, _ = beads._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == beads.model_id
    assert data["text/plain"] == "<Viewer CT · 80 x 40 x 30 · 0.50 x 1.00 x 3.00 mm, 0 marks>"
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.height == 400
    assert np.asarray(picture).max() > 200
