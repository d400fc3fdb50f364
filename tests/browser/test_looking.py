"""What can be looked at, and how: windows, colours, turns, layouts, time, frames; and what goes wrong says so."""

import nbformat
import numpy as np
import pytest
from tests.browser.cells import drag, keep, middle, plane, show, status, until, until_page, until_seen

from researchpacs.viewer._colours import coloured

pytestmark = [pytest.mark.browser, pytest.mark.server]

SETUP = """
import numpy as np, xarray as xr
import dask.array as da
from IPython.display import display
from researchpacs.errors import PixelDataError
from researchpacs.viewer import Window, view
from researchpacs.volume import as_volume

values = np.full((20, 60, 80), -1000, np.int16)
values[:, 10:50, 10:70] = 40
values[:, 10:20, 10:20] = 400
affine = np.array([[0, 0, 1.0, -40], [0, 1.0, 0, -30], [3.0, 0, 0, -30], [0, 0, 0, 1]])
told = {"Modality": "CT", "units": "HU", "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.1"}
vol = as_volume(values, affine, "1.2.826.0.1.3680043.8.498.2", attrs=told)
"""
"""A CT with a bright corner to the front and to the patient's right."""

HOSTILE = [
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    "<svg onload=window.hit=1>",
    '"><iframe srcdoc="<script>parent.hit=1</script>">',
    "';window.hit=1;//",
    "<a href=javascript:window.hit=1>x</a>",
    "<style>*{display:none}</style>",
    "<math><mtext></p><style><img src onerror=window.hit=1>",
    "{{constructor.constructor('window.hit=1')()}}",
    "${window.hit=1}",
    "&lt;script&gt;window.hit=1&lt;/script&gt;",
    "\\u003cscript\\u003ewindow.hit=1\\u003c/script\\u003e",
]


@pytest.fixture(scope="module")
def notebook(lab, chromium, opened):
    with opened(lab, chromium, [SETUP, ""]) as book:
        book.run(0)
        yield book


@pytest.fixture
def book(notebook):
    """The notebook; a script error on its page fails the test."""
    notebook.problems.clear()
    yield notebook
    assert notebook.problems == []


def central(pixels):
    """The middle 160 x 160 pixels of a picture."""
    y, x = (size // 2 for size in pixels.shape[:2])
    return pixels[y - 80 : y + 80, x - 80 : x + 80]


def until_colour(book, tmp_path, name, expected, tolerance):
    """Wait until the middle of a plane has a colour."""

    def fits(pixels):
        return np.abs(central(pixels)[80, 80] - np.asarray(expected, dtype=int)).max() <= tolerance

    until_seen(book, plane(book, name), tmp_path / "seen.png", fits)


def until_bright(book, tmp_path, corner):
    """Wait until a quarter of the axial plane is the brightest."""
    axial = plane(book, "axial")
    until_seen(book, axial, tmp_path / "seen.png", lambda pixels: brightest_quarter(central(pixels)) == corner)


def letters(book, name="axial"):
    return plane(book, name).locator(".rp-letter").all_text_contents()


def brightest_quarter(pixels):
    """Which quarter of a picture is brightest: (down, right)."""
    grey = pixels.mean(axis=-1)
    quarters = {(v, u): grey[v * 80 : v * 80 + 80, u * 80 : u * 80 + 80].mean() for v in (0, 1) for u in (0, 1)}
    return max(quarters, key=quarters.get)


def test_letters_follow_turns_and_flips_as_the_picture_does(book, tmp_path):
    show(book, "viewer = view(vol, window=Window(200, 500))\nviewer")
    page = book.page
    plane(book, "axial").focus()
    page.keyboard.press("x")
    until_letters(book, ["A", "L", "P", "R"])
    until_bright(book, tmp_path, (0, 0))  # to the front, and the patient's right on the left
    for key, expected, corner in (
        ("h", ["A", "R", "P", "L"], (0, 1)),
        ("v", ["P", "R", "A", "L"], (1, 1)),
        ("0", ["A", "L", "P", "R"], (0, 0)),
        ("q", ["R", "A", "L", "P"], (0, 1)),
    ):
        plane(book, "axial").focus()
        page.keyboard.press(key)
        until_letters(book, expected)
        until_bright(book, tmp_path, corner)
    assert letters(book, "coronal") == ["H", "L", "F", "R"], "the other planes stay as they are"


def until_letters(book, expected):
    letters_now = "[...document.querySelectorAll('[data-plane=axial] .rp-letter')].map((e) => e.textContent).join()"
    until_page(book, f"(text) => {letters_now} === text", ",".join(expected))


def test_colour_maps_and_inversion_look_as_the_kernel_draws_them(book, tmp_path):
    show(book, "viewer = view(vol, window=Window(40, 800))\nviewer")
    page = book.page
    plane(book, "axial").focus()
    page.keyboard.press("x")
    for name in ("grey", "hot", "viridis", "grey"):
        page.get_by_label("Colours", exact=True).select_option(label=name)
        until(book, "viewer.colormap", name)
        for inverted in (True, False):
            plane(book, "axial").focus()
            page.keyboard.press("i")
            until(book, "viewer._inverted", inverted)
            page.keyboard.press("ArrowDown")
            grey = np.array([[127 if inverted else 128]], np.uint8)
            until_colour(book, tmp_path, "axial", coloured(grey, name)[0, 0], 8)


def test_the_crosshair_brings_the_other_planes_and_lines_show_where_they_cut(book, tmp_path):
    show(book, "viewer = view(vol)\nviewer")
    page = book.page
    axial = plane(book, "axial")
    x, y = middle(axial)
    box = axial.locator(".rp-canvas").bounding_box()
    scale = max(80 / box["width"], 60 / box["height"])
    axial.focus()
    page.keyboard.press("c")
    drag(page, (x, y), (round(x + 20.3 / scale), round(y - 9.3 / scale)))
    until(book, "[viewer._slices['coronal'], viewer._slices['sagittal']]", [20, 60])
    np.testing.assert_allclose(book.ask("list(viewer.position_lps)"), [20, -10, 0], atol=1.01)
    page.wait_for_selector("[data-plane=coronal][data-shown='20']", timeout=60_000)
    lines = axial.locator("svg.rp-lines line")
    assert sorted(lines.evaluate_all("(all) => all.map((line) => line.dataset.cuts)")) == ["coronal", "sagittal"]
    across = axial.locator("line[data-cuts=coronal]")
    assert float(across.get_attribute("y1")) == pytest.approx(box["height"] / 2 - 9.5 / scale, abs=1)
    keep(page, tmp_path, "crosshair")
    axial.focus()
    page.keyboard.press("t")
    until_page(book, "() => document.querySelector('[data-plane=coronal]').hidden")
    until(book, "[viewer._layout, viewer.plane]", ["stack", "axial"])
    book.ask("setattr(viewer, 'plane', 'sagittal')")
    until_page(book, "() => !document.querySelector('[data-plane=sagittal]').hidden")
    assert axial.is_hidden()


def test_repeats_have_a_slider_and_are_played(book, tmp_path):
    show(
        book,
        "times = xr.concat([vol + 100 * n for n in range(4)], dim='time').astype('int16')\n"
        "times = times.assign_coords(time=('time', [0.0, 1.5, 3.0, 4.5], {'units': 's'})).assign_attrs(told)\n"
        "viewer = view(times, window=Window(200, 800))\nviewer",
    )
    page = book.page
    slider = page.get_by_role("slider", name="time", exact=True)
    assert page.locator(".rp-repeat").text_content() == "1/4  time 0 s"
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("[data-plane=coronal][data-volume='1']", timeout=60_000)
    until(book, "viewer.volume", 1)
    assert page.locator(".rp-repeat").text_content() == "2/4  time 1.5 s"
    book.ask("setattr(viewer, 'volume', 3)")
    page.wait_for_selector("[data-plane=axial][data-volume='3']", timeout=60_000)
    plane(book, "axial").focus()
    page.keyboard.press("Space")
    page.wait_for_selector("[data-plane=axial][data-volume='1']", timeout=60_000)
    page.keyboard.press("Space")
    assert page.get_by_role("button", name="Play (Space)").get_attribute("aria-pressed") == "false"
    keep(page, tmp_path, "repeats")


def test_frames_and_colour_are_shown_and_not_measured(book, tmp_path):
    show(
        book,
        "film = np.zeros((6, 40, 50, 3), np.uint8)\nfilm[..., 0] = 200\nfilm[3:, ..., 1] = 100\n"
        "viewer = view(xr.DataArray(film, dims=('frame', 'row', 'column', 'rgb'), attrs={'Modality': 'US'}))\nviewer",
        planes=1,
    )
    page = book.page
    until(book, "viewer._slices", {"frame": 3})
    assert "uncalibrated" in status(book, "frame")
    until_colour(book, tmp_path, "frame", [200, 100, 0], 3)
    assert page.get_by_role("button", name="Length (L)").count() == 0
    assert page.get_by_label("Window", exact=True).count() == 0
    plane(book, "frame").focus()
    page.keyboard.press("Home")
    page.wait_for_selector("[data-plane=frame][data-shown='0']", timeout=60_000)
    until_colour(book, tmp_path, "frame", [200, 0, 0], 3)
    keep(page, tmp_path, "frames")


def test_a_frame_that_cannot_be_decoded_is_a_tile_with_the_reason_and_the_rest_scrolls(book, tmp_path):
    show(
        book,
        "def read(block, block_info=None):\n"
        "    if block_info[0]['chunk-location'][0] == 11:\n"
        "        raise PixelDataError('frame 11 is cut short')\n"
        "    return block\n"
        "lazy = da.from_array(values, chunks=(1, 60, 80)).map_blocks(read, dtype=np.int16, meta=values[:0])\n"
        "viewer = view(as_volume(lazy, affine, '1.2.3', attrs=told), layout='stack')\nviewer",
        planes=1,
    )
    page = book.page
    plane(book, "axial").focus()
    page.keyboard.press("ArrowDown")
    plane(book, "axial").get_by_text("Plane 12 could not be shown. frame 11 is cut short").wait_for(timeout=60_000)
    keep(page, tmp_path, "tile")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("[data-plane=axial][data-shown='12']", timeout=60_000)
    assert plane(book, "axial").get_by_role("alert").is_hidden()


def test_hostile_text_never_runs(book):
    show(book, f"hostile = {HOSTILE!r}\nviewer = view(vol.assign_attrs(Modality=hostile[1], units=hostile[0]))\nviewer")
    page = book.page
    page.evaluate("window.hit = 0")
    code = (
        "[viewer.add(__import__('researchpacs').Measurement.length(vol, (0, 0, 0), (10, n, 0), label=text, author='x'))"
        " for n, text in enumerate(hostile)]"
    )
    book.ask(code)
    until_page(book, "(n) => document.querySelectorAll('.rp-marks tbody tr').length === n", len(HOSTILE))
    labels = page.locator(".rp-marks tbody input").evaluate_all("(all) => all.map((one) => one.value)")
    assert labels == HOSTILE
    page.wait_for_timeout(500)
    assert page.evaluate("window.hit") == 0
    assert page.locator(".rp-viewer img, .rp-viewer script, .rp-viewer iframe, .rp-viewer style").count() == 0


def test_a_saved_notebook_keeps_a_small_picture(book, lab):
    show(book, "viewer = view(vol, window='lung')\nviewer")
    page = book.page
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    name = page.evaluate("window.jupyterapp.shell.currentWidget.context.path")
    for _ in range(100):
        saved = nbformat.read(lab.folder / name, as_version=4)
        outputs = [output for cell in saved.cells for output in cell.get("outputs", []) if "image/png" in output.data]
        if outputs and "view(vol, window='lung')" in saved.cells[-1].source:
            break
        page.wait_for_timeout(200)
    (output,) = outputs
    assert len(nbformat.writes(nbformat.v4.new_notebook(cells=[saved.cells[-1]]))) < 300_000
    assert "application/vnd.jupyter.widget-view+json" in output.data
