"""The quick start in JupyterLab, by hand: a length drawn with the mouse is a number in SQL."""

import math
import os
from pathlib import Path

import nbformat
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.server]

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01-quick-start.ipynb"
SPACING_MM = (2.0, 0.703125)
"""Of the sample CT's coronal plane: rows, columns."""
SHAPE = (150, 512)


@pytest.fixture
def quick_start(lab, chromium, opened, home):
    """The notebook, run from top to bottom on an archive of its own."""
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    with opened(lab, chromium, [f"import os\nos.environ['RESEARCHPACS_HOME'] = {str(home)!r}", *cells, ""]) as book:
        for cell in range(len(cells) + 1):
            book.run(cell)
        yield book


def test_a_length_drawn_on_the_coronal_plane_is_a_number_in_sql(quick_start, tmp_path):
    page = quick_start.page
    page.wait_for_function("() => document.querySelectorAll('[data-plane][data-shown]').length === 3", timeout=60_000)
    page.evaluate("document.querySelector('.rp-viewer').scrollIntoView()")
    page.wait_for_timeout(500)
    assert page.locator(".jp-OutputArea-output[data-mime-type*=stderr]").count() == 0

    coronal = page.locator("[data-plane=coronal]")
    box = coronal.locator(".rp-canvas").bounding_box()
    x, y = (round(box[corner] + box[size] / 2) for corner, size in (("x", "width"), ("y", "height")))
    page.mouse.click(x, y)
    page.keyboard.press("l")
    page.mouse.move(x - 60, y - 20)
    page.mouse.down()
    page.mouse.move(x, y, steps=4)
    page.mouse.move(x + 60, y + 30, steps=4)
    page.mouse.up()
    row = page.locator(".rp-marks tbody tr")
    row.wait_for()
    label = row.get_by_label("Label", exact=True)
    label.fill("drawn")
    label.press("Enter")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Saved 1 mark.").wait_for()
    folder = Path(os.environ.get("RESEARCHPACS_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / "quick-start.png")

    # Sample files hold reports of others, which measured no series that is here.
    query = (
        "select label, round(value, 6), unit, SeriesInstanceUID from measurements "
        "where SeriesInstanceUID is not null order by label"
    )
    drawn, nodule = quick_start.ask(f"pacs.sql({query!r}).fetchall()")
    assert drawn[0::3] == ["drawn", nodule[3]]
    assert drawn[2] == nodule[2] == "mm"
    # The picture fills the viewport and has one scale for both axes.
    mm_per_pixel = max(SHAPE[0] * SPACING_MM[0] / box["height"], SHAPE[1] * SPACING_MM[1] / box["width"])
    assert drawn[1] == pytest.approx(math.hypot(120, 50) * mm_per_pixel, abs=0.01)
    assert nodule[1] == pytest.approx(12.0, abs=0.5)
    assert quick_start.ask("len(pacs.annotations(series))") == 2
    assert quick_start.problems == []
