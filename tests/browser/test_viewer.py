"""The viewer in a cell of JupyterLab, used as a person uses it: mouse, wheel and keys."""

import math

import numpy as np
import pytest
from tests.browser.cells import drag, keep, middle, picture, plane, show, status, until, wait_for_pictures

from researchpacs.viewer._bundle import compressed

pytestmark = [pytest.mark.browser, pytest.mark.server]

SETUP = """
import time
import numpy as np
from researchpacs.viewer import Window, view
from researchpacs.volume import as_volume

a, b, c = 0.2, -0.15, 0.1
turn = (np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        @ np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        @ np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]))
z, y, x = np.ogrid[:275, :512, :512]
values = np.full((275, 512, 512), -1000, np.int16)
values[np.broadcast_to(((x - 256) / 210) ** 2 + ((y - 256) / 150) ** 2 < 1, values.shape)] = 40
for middle in (160, 352):
    values[((x - middle) / 75) ** 2 + ((y - 250) / 100) ** 2 + ((z - 150) / 110) ** 2 < 1] = -850
values += np.random.default_rng(1).normal(0, 12, values.shape[1:]).astype(np.int16)
values[218:223, 248:253, 118:123] = 1500
values[58:63, 248:253, 378:383] = 1500
affine = np.eye(4)
affine[:3, :3] = turn[:, [2, 1, 0]] * (1.25, 0.7, 0.7)
affine[:3, 3] = (-180, -190, -300)
vol = as_volume(values, affine, "1.2.826.0.1.3680043.8.498.2",
                attrs={"Modality": "CT", "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.1"})
saved = []
"""
"""An oblique CT of 512 x 512 x 275 with two beads of 1500 HU in coronal plane 250."""

CENTRES = "[(affine @ [*bead, 1])[:3].tolist() for bead in ((220, 250, 120), (60, 250, 380))]"


@pytest.fixture(scope="module")
def page_with_volume(lab, chromium, opened):
    """A notebook whose kernel has the volume; its last cell is each test's own."""
    with opened(lab, chromium, [SETUP, ""]) as book:
        book.run(0)
        yield book


@pytest.fixture
def book(page_with_volume):
    """The notebook with a fresh viewer; a script error on its page fails the test."""
    page_with_volume.problems.clear()
    show(page_with_volume, "saved.clear()\nviewer = view(vol, save=saved.extend)\nviewer")
    yield page_with_volume
    assert page_with_volume.problems == []


def beads_on_screen(pixels):
    """Centres (x, y) of the two white squares of a coronal picture, the upper first; letters are smaller."""
    from skimage.measure import label, regionprops

    white = pixels.min(axis=-1) > 245
    white[[0, 1, -2, -1]] = white[:, [0, 1, -2, -1]] = False  # the page around it
    white = label(white)
    spots = sorted(regionprops(white), key=lambda spot: -spot.area)[:2]
    return [spot.centroid[::-1] for spot in sorted(spots, key=lambda spot: spot.centroid[0])]


def test_the_first_picture_of_a_ct_needs_less_than_two_megabytes_and_the_bundle_comes_once(
    lab, chromium, opened, tmp_path
):
    with opened(lab, chromium, [SETUP, "view(vol)", "view(vol, window='bone')"]) as book:
        book.run(0)
        before = book.received
        book.run(1)
        wait_for_pictures(book)
        first = book.received - before
        keep(book.page, tmp_path, "first-picture")
        before = book.received
        book.run(2)
        wait_for_pictures(book, 2)
        second = book.received - before
        book.page.evaluate("document.querySelectorAll('.rp-viewer')[1].scrollIntoView()")
        windows = book.page.get_by_label("Window", exact=True)
        chosen = [windows.nth(n).evaluate("(one) => one.selectedOptions[0].text") for n in (0, 1)]
        assert chosen == ["soft tissue", "bone"]
        assert book.problems == []
    planes = 2 * 512 * (512 + 275 + 275)
    assert planes < first - len(compressed()) < 2_000_000
    assert planes < second < planes + len(compressed()) / 2


def test_planes_are_scrolled_with_wheel_and_keys(book):
    page = book.page
    assert status(book, "axial").startswith("138/275")
    assert status(book, "coronal").startswith("257/512")
    page.mouse.move(*middle(plane(book, "axial")))
    for _ in range(5):
        page.mouse.wheel(0, 100)
    until(book, "viewer._slices", {"axial": 142, "coronal": 256, "sagittal": 256})
    page.mouse.wheel(0, -100)
    page.mouse.click(*middle(plane(book, "coronal")))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("PageUp")
    until(book, "viewer._slices", {"axial": 141, "coronal": 247, "sagittal": 256})
    page.wait_for_selector("[data-plane=coronal][data-shown='247']")
    np.testing.assert_allclose(
        book.ask("list(viewer.position_lps)"), book.ask("vol.dicom.to_lps([141, 247, 256]).tolist()"), atol=1e-6
    )


def test_python_moves_the_planes_and_sets_the_window(book):
    book.ask("setattr(viewer, 'position_lps', (affine @ [30, 100, 10, 1])[:3].tolist())")
    book.page.wait_for_selector("[data-plane=axial][data-shown='30']")
    book.page.wait_for_selector("[data-plane=coronal][data-shown='100']")
    book.ask("setattr(viewer, 'window', Window(100, 50))")
    book.page.wait_for_function("document.querySelector('.rp-status').textContent.includes('W 50 C 100')")


def test_windows_are_chosen_by_menu_key_and_drag_for_both_planes(book, tmp_path):
    page = book.page
    page.get_by_label("Window", exact=True).select_option(label="lung")
    until(book, "[viewer.window.center, viewer.window.width]", [-600, 1500])
    lung = picture(plane(book, "coronal"), tmp_path / "lung.png")
    page.mouse.click(*middle(plane(book, "axial")))
    page.keyboard.press("3")
    until(book, "[viewer.window.center, viewer.window.width]", [400, 1800])
    bone = picture(plane(book, "coronal"), tmp_path / "bone.png")
    height, width, _ = lung.shape
    tissue = (height // 2 + 6, width // 2 + 6)  # beside the reference lines
    # 40 HU: (40 - -1350) / 1500 and (40 - -500) / 1800 of the way from black to white, noise of 12 HU.
    assert lung[tissue].mean() == pytest.approx(255 * 1390 / 1500, abs=8)
    assert bone[tissue].mean() == pytest.approx(255 * 540 / 1800, abs=8)
    x, y = middle(plane(book, "axial"))
    drag(page, (x, y), (x + 60, y + 30), button="right")
    page.wait_for_timeout(400)
    center, width = book.ask("[viewer.window.center, viewer.window.width]")
    assert width > 1800
    assert center > 400
    page.keyboard.press("i")
    until(book, "viewer._inverted", True)
    page.keyboard.press("0")
    until(book, "[viewer.window.center, viewer.window.width, viewer._inverted]", [40, 400, False])


def test_zoom_and_pan_change_the_view_and_reset_restores_it(book, tmp_path):
    page = book.page
    before = picture(plane(book, "axial"), tmp_path / "before.png")
    x, y = middle(plane(book, "axial"))
    page.mouse.move(x, y)
    page.keyboard.down("Control")
    for _ in range(5):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_function("document.querySelector('.rp-status').textContent.endsWith(' 1.6')")
    drag(page, (x, y), (x + 50, y - 40), button="middle")
    page.wait_for_timeout(300)
    changed = picture(plane(book, "axial"), tmp_path / "changed.png")
    assert np.abs(changed - before).mean() > 10
    assert status(book, "axial").startswith("138/275"), "Ctrl and wheel do not scroll"
    page.mouse.click(x, y)
    page.keyboard.press("0")
    page.mouse.move(5, 5)
    page.wait_for_timeout(300)
    restored = picture(plane(book, "axial"), tmp_path / "restored.png")
    assert np.abs(restored - before)[10:-10, 10:-10].mean() < 1


def test_a_length_drawn_between_two_beads_is_their_distance_in_the_patient(book, tmp_path):
    """The whole chain, on the coronal plane of an oblique volume: picture, mouse, kernel."""
    page = book.page
    coronal = plane(book, "coronal")
    book.ask(f"setattr(viewer, 'position_lps', (np.mean({CENTRES}, axis=0)).tolist())")
    page.wait_for_selector("[data-plane=coronal][data-shown='250']")
    book.ask("setattr(viewer, 'window', Window(1000, 900))")
    page.mouse.move(5, 5)
    page.wait_for_timeout(500)
    keep(page, tmp_path, "beads")
    box = coronal.locator(".rp-canvas").bounding_box()
    spots = beads_on_screen(picture(coronal.locator(".rp-canvas"), tmp_path / "beads.png"))
    start, end = ((round(box["x"] + sx), round(box["y"] + sy)) for sx, sy in spots)
    book.ask("setattr(viewer, 'window', 'lung')")
    page.mouse.click(*middle(coronal))
    page.keyboard.press("l")
    drag(page, start, end)
    until(book, "len(viewer.annotations)", 1)

    centres = np.array(book.ask(CENTRES))
    points = np.array(book.ask("[list(point) for point in viewer.annotations[0].points_lps]"))
    value = book.ask("viewer.annotations[0].value")
    mm_per_pixel = math.dist(*centres) / math.dist(start, end)
    assert np.linalg.norm(points - centres, axis=1).max() < 1.5 * mm_per_pixel
    assert value == pytest.approx(math.dist(*centres), abs=3 * mm_per_pixel)
    assert value == pytest.approx(math.dist(*points), abs=1e-3)
    assert_points_are_where_the_mouse_was(book, box, start, end, points)

    begun = book.ask("str(viewer.annotations[0].created_at)")
    page.wait_for_timeout(1500)
    assert book.ask("str(viewer.annotations[0].created_at)") == begun, "a length at rest is not measured again"
    row = page.locator(".rp-marks tbody tr")
    assert f"{value:.1f} mm" in row.text_content()
    label = row.get_by_label("Label", exact=True)
    label.fill("bead to bead")
    label.press("Enter")
    until(book, "viewer.annotations[0].label", "bead to bead")
    keep(page, tmp_path, "length")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Saved 1 mark.").wait_for()
    page.wait_for_timeout(500)
    assert page.get_by_role("status").filter(has_text="Saved 1 mark.").is_visible(), "nothing was sent after it"
    assert book.ask("[saved[0].value, saved[0].label, viewer._marks[0]['state']]") == [value, "bead to bead", "saved"]
    keep(page, tmp_path, "saved")


def assert_points_are_where_the_mouse_was(book, box, start, end, points):
    """Map page coordinates to LPS by hand: the picture is centred and fills the viewport, one scale for both axes."""
    affine = np.array(book.ask("affine.tolist()"))
    wide, tall = 512 * 0.7, 275 * 1.25
    scale = max(wide / box["width"], tall / box["height"])
    for (page_x, page_y), point in zip((start, end), points, strict=True):
        right = (page_x - box["x"] - box["width"] / 2) * scale
        down = (page_y - box["y"] - box["height"] / 2) * scale
        index = [(275 - 1) / 2 - down / 1.25, 250, (512 - 1) / 2 + right / 0.7]
        assert np.linalg.norm((affine @ [*index, 1])[:3] - point) < 1e-3


def test_a_draft_is_moved_by_its_handle_and_removed_by_key(book):
    page = book.page
    x, y = middle(plane(book, "axial"))
    page.mouse.click(x, y)
    page.keyboard.press("l")
    drag(page, (x - 80, y), (x + 80, y))
    until(book, "len(viewer.annotations)", 1)
    value = book.ask("viewer.annotations[0].value")
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    drag(page, (x + 80, y), (x + 120, y))
    page.wait_for_timeout(600)
    assert book.ask("viewer.annotations[0].value") == pytest.approx(value * 200 / 160, abs=1e-3)
    assert book.ask("[viewer.window.center, viewer.window.width]") == [40, 400], "a drag of a handle does not window"
    page.locator(".rp-marks tbody tr").get_by_role("button", name="axial").click()
    page.keyboard.press("Delete")
    until(book, "len(viewer.annotations)", 0)
    page.get_by_text("No marks yet").wait_for()
    page.wait_for_function("document.querySelectorAll('[data-plane=axial] svg.svg-layer line').length === 0")


def test_a_length_is_shown_on_its_own_plane_only(book):
    page = book.page
    x, y = middle(plane(book, "axial"))
    page.mouse.click(x, y)
    page.keyboard.press("l")
    drag(page, (x - 50, y - 20), (x + 50, y + 20))
    until(book, "len(viewer.annotations)", 1)
    lines = page.locator("[data-plane=axial] svg.svg-layer line")
    assert lines.count() > 0
    assert page.locator("[data-plane=coronal] svg.svg-layer line").count() == 0
    page.mouse.wheel(0, 100)
    page.wait_for_selector("[data-plane=axial][data-shown='138']")
    page.wait_for_function("document.querySelectorAll('[data-plane=axial] svg.svg-layer line').length === 0")


def test_keys_never_reach_the_notebook(book):
    page = book.page
    cells = "window.jupyterapp.shell.currentWidget.content.widgets.length"
    before = page.evaluate(cells)
    page.mouse.click(*middle(plane(book, "axial")))
    for key in ("d", "d", "a", "b", "x", "m", "Shift+L"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert page.evaluate(cells) == before
    assert page.locator(".jp-LineNumbers, .cm-lineNumbers").count() == 0


def test_planes_come_and_the_view_is_known_while_a_cell_runs(page_with_volume):
    book = page_with_volume
    book.run_code(
        "viewer = view(vol)\ndisplay(viewer)\nend = time.time() + 30\n"
        "while viewer._slices['coronal'] == 256 and time.time() < end:\n    time.sleep(0.1)\n"
        "seen_in_cell = viewer._slices['coronal']",
        wait=False,
    )
    wait_for_pictures(book)
    book.page.mouse.move(*middle(plane(book, "coronal")))
    book.page.mouse.wheel(0, 100)
    book.page.wait_for_selector("[data-plane=coronal][data-shown='257']")
    until(book, "seen_in_cell", 257)


def test_a_plane_that_cannot_be_read_says_so_and_is_tried_again(page_with_volume, tmp_path):
    book = page_with_volume
    book.run_code(
        "import dask.array as da\nbroken = [True]\n"
        "def read(block, block_info=None):\n"
        "    if broken and block_info[0]['chunk-location'][0] == 138:\n"
        "        raise OSError(5, 'Input/output error', '/scans/DOE^JANE/138.dcm')\n"
        "    return block\n"
        "lazy = da.from_array(values, chunks=(1, 512, 512))\n"
        "lazy = lazy.map_blocks(read, dtype=np.int16, meta=np.empty((0, 0, 0), np.int16))\n"
        "view(as_volume(lazy, affine, '1.2.3', attrs=vol.attrs))"
    )
    page = book.page
    page.wait_for_selector("[data-plane=axial][data-shown='137']")
    coronal = page.locator("[data-plane=coronal]")
    coronal.get_by_text("Plane 257 could not be shown. OSError: Input/output error").wait_for()
    assert "JANE" not in page.locator(".rp-viewer").text_content()
    keep(page, tmp_path, "error")
    book.ask("broken.clear()")
    coronal.get_by_role("button", name="Try again").click()
    page.wait_for_selector("[data-plane=coronal][data-shown='256']")
    assert coronal.get_by_role("alert").is_hidden()


def test_cleared_outputs_leave_nothing_behind(book):
    for _ in range(3):
        book.page.evaluate("window.jupyterapp.commands.execute('notebook:clear-cell-output')")
        book.page.wait_for_function("document.querySelectorAll('.rp-viewer').length === 0")
        show(book, "viewer = view(vol)\nviewer")
    assert book.page.locator("canvas").count() == 3


def test_without_webgl_pictures_are_drawn_and_nothing_is_measured(lab, chromium_without_webgl, opened, tmp_path):
    with opened(lab, chromium_without_webgl, [SETUP, "viewer = view(vol)\nviewer"]) as book:
        book.run(0)
        book.run(1)
        wait_for_pictures(book)
        page = book.page
        page.get_by_text("no WebGL").wait_for()
        assert page.get_by_role("button", name="Length (L)").count() == 0
        page.mouse.move(*middle(plane(book, "axial")))
        page.mouse.wheel(0, 100)
        page.wait_for_selector("[data-plane=axial][data-shown='138']")
        keep(page, tmp_path, "without-webgl")
        assert picture(plane(book, "axial"), tmp_path / "cpu.png").std() > 40
