"""The kernel's own picture of a viewer shows each thing where it is."""

import base64
import io
import json
from html.parser import HTMLParser

import nbformat
import numpy as np
import pytest
from nbconvert.exporters import HTMLExporter
from PIL import Image
from traitlets.config import Config

from researchpacs.annotation import Measurement
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
    assert picture.height == 320
    drawn = np.asarray(beads.screenshot(height=320)).astype(int)
    assert np.abs(np.asarray(picture.convert("RGB")) - drawn).max() < 8


def test_a_page_made_of_a_saved_notebook_shows_picture_description_and_table_and_runs_nothing(beads, numbered):
    hostile = '<script>window.hit=1</script><img src=x onerror="window.hit=1">'
    viewer = view(numbered.assign_attrs(Modality=hostile))
    ends = numbered.dicom.to_lps([[2, 3, 1], [2, 3, 8]])
    viewer.add(Measurement.length(numbered, *ends, label=hostile, author="me"))
    data, metadata = viewer._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("viewer", outputs=[output])])
    options = {"template_name": "lab", "mathjax_url": "", "require_js_url": ""}
    page, _ = HTMLExporter(config=Config({"HTMLExporter": options})).from_notebook_node(notebook)
    assert "axial plane 4 of 6, coronal plane 5 of 8, sagittal plane 6 of 10" in page
    assert "data:image/jpeg;base64," in page
    assert "length 4.9 mm" in page
    assert hostile not in page
    found = Tags(convert_charrefs=True)
    found.feed(page)
    assert any(hostile in text for text in found.texts), "as text"
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not [text for text in found.scripts if "window.hit" in text]


class Tags(HTMLParser):
    """What a page consists of, as a browser takes it apart."""

    def __init__(self, **options):
        super().__init__(**options)
        self.attributes, self.texts, self.scripts, self.inside = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.inside = tag
        self.attributes += attrs

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        (self.scripts if self.inside in ("script", "style") else self.texts).append(data)


def test_a_saved_viewer_of_noise_stays_below_300_kilobytes(make_volume):
    noise = np.random.default_rng(1).normal(40, 300, (40, 256, 256)).astype(np.int16)
    affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [6, 0, 0, 0], [0, 0, 0, 1.0]])
    data, _ = view(make_volume(noise, affine))._repr_mimebundle_()
    assert len(json.dumps(data)) < 300_000
