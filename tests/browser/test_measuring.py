"""Every tool of the viewer, used with mouse and keys on a phantom whose truth is known."""

import math

import pytest
from tests.browser.cells import MARK_TEXT, drag, keep, middle, plane, show, until, until_page, until_still

pytestmark = [pytest.mark.browser, pytest.mark.server]

SETUP = """
import numpy as np, xarray as xr
from researchpacs.viewer import Window, view
from researchpacs.volume import as_volume

turn = np.linalg.qr(np.array([[1, 0.2, -0.1], [-0.15, 1, 0.2], [0.1, -0.2, 1]]))[0]
turn = turn * np.sign(np.diag(turn))
z, y, x = np.ogrid[:50, :100, :120]
values = np.full((50, 100, 120), -1000, np.int16)
values[np.broadcast_to(((x - 60) / 55) ** 2 + ((y - 50) / 45) ** 2 < 1, values.shape)] = 40
ball = ((x - 60) * 1.0) ** 2 + ((y - 50) * 1.0) ** 2 + ((z - 25) * 2.0) ** 2 < 24 ** 2
values[ball] = 140
affine = np.eye(4)
affine[:3, :3] = turn[:, [2, 1, 0]] * (2.0, 1.0, 1.0)
affine[:3, 3] = (-60, -50, -300)
vol = as_volume(values, affine, "1.2.826.0.1.3680043.8.498.2",
                attrs={"Modality": "CT", "units": "HU", "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.1"})
heard, saved, noticed = [], [], []
"""
"""An oblique CT, 120 x 100 x 100 mm, with a ball of 140 HU and 24 mm radius in tissue of 40 HU."""

SIZE_MM = {"axial": (120, 100), "coronal": (120, 100), "sagittal": (100, 100)}
"""Width and height of each picture."""


@pytest.fixture(scope="module")
def notebook(lab, chromium, opened):
    with opened(lab, chromium, [SETUP, ""]) as book:
        book.run(0)
        yield book


@pytest.fixture
def book(notebook):
    """The notebook with a fresh viewer; a script error on its page fails the test."""
    notebook.problems.clear()
    show(notebook, "heard.clear()\nviewer = view(vol, save=saved.extend)\nviewer.on_measure(heard.append)\nviewer")
    yield notebook
    assert notebook.problems == []


def mm_per_pixel(book, name):
    """The picture is centred and fills the viewport, one scale for both axes."""
    box, (wide, tall) = plane(book, name).locator(".rp-canvas").bounding_box(), SIZE_MM[name]
    return max(wide / box["width"], tall / box["height"])


def at(book, name, right_mm, down_mm):
    """The place on the page so many mm from the middle of a plane."""
    x, y = middle(plane(book, name))
    scale = mm_per_pixel(book, name)
    return round(x + right_mm / scale), round(y + down_mm / scale)


def draw(book, name, key, *strokes):
    """Choose a tool by its key and make strokes with the mouse, each a press, moves and a release."""
    book.page.keyboard.press("Escape")
    before = book.ask("len(viewer._marks)")
    until_page(book, "(n) => document.querySelectorAll('.rp-marks tbody tr').length === n", before)
    plane(book, name).focus()
    book.page.keyboard.press(key)
    book.page.wait_for_selector(f"button[aria-pressed=true][title$='({key.upper()})']", timeout=60_000)
    until_still(plane(book, name))  # the table has grown, and what is above may have moved
    for stroke in strokes:
        drag(book.page, *(at(book, name, *place) for place in stroke))
    until(book, "len(viewer._marks)", before + 1)
    return {one["name"]: one["value"] for one in book.ask("viewer._marks[-1]['quantities']")}


def test_lines_and_angles_measure_what_was_drawn_on_every_plane(book, tmp_path):
    scale = max(mm_per_pixel(book, name) for name in SIZE_MM)
    for name in ("axial", "coronal", "sagittal"):
        assert draw(book, name, "l", [(-25, 8), (25, 8)])["length"] == pytest.approx(50, abs=0.5)
    axes = draw(book, "coronal", "d", [(-20, -20), (20, -20)])
    assert axes["long axis"] == pytest.approx(40, abs=2 * scale)
    assert 0 < axes["short axis"] < axes["long axis"]
    angle = draw(book, "axial", "a", [(-30, 20), (0, 20)], [(0, 20), (0, -5)])["angle"]
    assert angle == pytest.approx(90, abs=3)
    cobb = draw(book, "sagittal", "k", [(-20, -20), (10, -20)], [(-20, 0), (10, 8)])["angle"]
    assert cobb == pytest.approx(math.degrees(math.atan2(8, 30)), abs=3)
    labels = book.ask("[m.label for m in viewer.annotations]")
    assert labels == ["length 1", "length 2", "length 3", "bidirectional 1", "angle 1", "Cobb angle 1"]
    until(book, "[h.label for h in heard][-1]", "Cobb angle 1")
    keep(book.page, tmp_path, "lines")


def test_areas_measure_mm2_and_hu_beneath_them(book, tmp_path):
    inside = {"mean": 140, "sd": 0, "min": 140, "max": 140}
    scale = mm_per_pixel(book, "coronal")
    circle = draw(book, "coronal", "o", [(0, 0), (10, 0)])
    assert circle.pop("area") == pytest.approx(math.pi * 100, abs=2 * math.pi * 10 * scale)
    assert circle == pytest.approx(inside)
    ellipse = draw(book, "axial", "e", [(0, 0), (12, 8)])
    assert ellipse.pop("area") == pytest.approx(math.pi * 96, rel=0.1)
    assert ellipse == pytest.approx(inside)
    box = draw(book, "sagittal", "r", [(-10, -5), (10, 5)])
    assert box.pop("area") == pytest.approx(200, abs=60 * scale)
    assert box == pytest.approx(inside)
    outline = draw(book, "coronal", "f", [(-40, 20), (-40, 40), (-10, 40), (-10, 25), (-40, 20)])
    assert outline["area"] == pytest.approx(525, rel=0.1)
    assert outline["mean"] == pytest.approx(40)
    assert draw(book, "axial", "g", [(0, 0), (0, 0)]) == {"value": 140}
    for words in ("mean 140", "mm²"):
        until_page(book, MARK_TEXT, ["coronal", words])
    until_page(book, "() => document.querySelectorAll('.rp-marks tbody tr').length === 5")
    assert book.page.get_by_label("Label", exact=True).first.input_value() == "circle 1"
    keep(book.page, tmp_path, "areas")


def test_a_mark_is_undone_redone_moved_removed_and_found_again(book):
    page = book.page
    draw(book, "axial", "o", [(0, 0), (10, 0)])
    area = book.ask("viewer.annotations[0].value")
    page.keyboard.press("Escape")
    rim = at(book, "axial", 10, 0)
    drag(page, rim, at(book, "axial", 20, 0))
    until(book, f"viewer.annotations[0].value > {3.5 * area}", True)
    moved = book.ask("viewer.annotations[0].value")
    assert moved == pytest.approx(4 * area, rel=0.1)
    plane(book, "axial").focus()
    page.keyboard.press("Control+z")
    until(book, "viewer.annotations[0].value", area)
    page.keyboard.press("Control+z")
    until(book, "len(viewer.annotations)", 0)
    page.keyboard.press("Control+Shift+z")
    page.keyboard.press("Control+y")
    until(book, "[m.value for m in viewer.annotations]", [moved])
    page.keyboard.press("Home")
    page.wait_for_selector("[data-plane=axial][data-shown='0']", timeout=60_000)
    until_page(book, "() => document.querySelectorAll('[data-plane=axial] svg.svg-layer circle').length === 0")
    page.locator(".rp-marks tbody tr").get_by_role("button", name="axial").click()
    page.wait_for_selector("[data-plane=axial][data-shown='25']", timeout=60_000)
    page.keyboard.press("Delete")
    until(book, "len(viewer.annotations)", 0)


def test_python_draws_and_follows_and_the_browser_shows_it(book):
    page = book.page
    book.ask(
        "[viewer.observe(lambda c: noticed.append(c['name']), n) for n in ('window', 'position_lps', 'zoom', 'tool')]"
    )
    ends = "[vol.dicom.to_lps([25, 30, 40]).tolist(), vol.dicom.to_lps([25, 30, 80]).tolist()]"
    book.ask(
        f"viewer.add(__import__('researchpacs').Measurement.length(vol, *{ends}, label='from Python', author='me'))"
    )
    page.locator(".rp-marks tbody tr").wait_for(timeout=60_000)
    assert "40.0 mm" in page.locator(".rp-marks tbody tr").text_content()
    until_page(book, MARK_TEXT, ["axial", "from Python"])
    book.ask("[setattr(viewer, 'tool', 'zoom'), setattr(viewer, 'colormap', 'hot'), setattr(viewer, 'zoom', 2.0)]")
    until_page(book, "() => document.querySelector('[data-plane=axial] .rp-status').textContent.endsWith(' 2.0')")
    assert page.get_by_role("button", name="Zoom (Z)").get_attribute("aria-pressed") == "true"
    plane(book, "axial").focus()
    page.keyboard.press("l")
    until(book, "viewer.tool", "length")
    page.keyboard.press("2")
    until(book, "viewer.window == Window(-600, 1500)", True)
    assert set(book.ask("noticed")) >= {"window", "zoom", "tool"}
    book.ask("setattr(viewer, 'annotations', [])")
    page.get_by_text("No marks yet").wait_for(timeout=60_000)
