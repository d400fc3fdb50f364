"""A stock build of OHIF in Chromium shows what our server holds: each pixel of the picture against the known slice."""

import base64
import contextlib
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from playwright.sync_api import Page
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid
from scipy.ndimage import map_coordinates

import researchpacs as rp
from researchpacs.server.auth import User, hash_password, write_user

pytestmark = [pytest.mark.browser, pytest.mark.server]

ROOT = Path(__file__).parents[3]
PASSWORD = "correct horse"
SLICES = range(60, 84)
"""Of the sample CT, by index from the feet."""
SYNTAXES = (JPEG2000Lossless, JPEGLSLossless, RLELossless, None) * 2
"""Of the first slices, in the second study."""
SPACING_MM = 0.703125
WINDOW = (40, 400)
"""Center and width of the sample's first window."""
CANVAS = "document.querySelector('canvas.cornerstone-canvas').toDataURL('image/png')"
EVERY = 3
"""Of the canvas's rows and columns, how many are compared."""


@dataclass
class Held:
    """What the served archive holds."""

    study: str
    compressed_study: str
    volume: np.ndarray
    """(slice, row, column) in HU, from the feet."""


@dataclass
class Opened:
    """OHIF in a page, and what went wrong or elsewhere."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def build() -> Path:
    """The unpacked package of OHIF."""
    version = json.loads((ROOT / ".ci" / "ohif.json").read_text())["version"]
    folder = Path(os.environ.get("RESEARCHPACS_OHIF") or ROOT / ".stamps" / "ohif" / version)
    if not folder.is_dir():
        pytest.skip("the build of OHIF is missing: .venv/bin/python .ci/ohif.py gets it from the npm registry")
    return folder


@pytest.fixture(scope="module")
def held(tmp_path_factory) -> tuple[Path, Held]:
    """A home with a CT series, and another whose slices are compressed in different ways."""
    place = tmp_path_factory.mktemp("ohif")
    files = sorted(rp.datasets.path("chest_ct").iterdir(), key=position)[SLICES.start : SLICES.stop]
    made = [pydicom.dcmread(file) for file in files]
    volume = np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in made])
    study = str(made[0].StudyInstanceUID)
    new_study, new_series = generate_uid(entropy_srcs=["study"]), generate_uid(entropy_srcs=["series"])
    (place / "compressed").mkdir()
    for number, (ds, syntax) in enumerate(zip(made, SYNTAXES, strict=False)):
        ds.StudyInstanceUID, ds.SeriesInstanceUID = new_study, new_series
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
        if syntax is not None:
            ds.compress(syntax, generate_instance_uid=False)
        ds.save_as(place / "compressed" / f"{number}.dcm")
    with rp.connect(place / "home") as pacs:
        report = pacs.ingest([*files, place / "compressed"])
    assert report.stored == len(SLICES) + len(SYNTAXES)
    return place, Held(study, str(new_study), volume)


def position(file: Path) -> float:
    return float(pydicom.dcmread(file, specific_tags=["ImagePositionPatient"]).ImagePositionPatient[2])


@pytest.fixture(scope="module")
def url(build, held) -> Iterator[str]:
    """Where OHIF is: the server as a person starts it, with one user."""
    place, _ = held
    write_user(place / "users.json", User("ada", "write", hash_password(PASSWORD)))
    command = [sys.executable, "-m", "researchpacs", "--home", str(place / "home"), "serve", "--port", "0"]
    command += ["--users", str(place / "users.json"), "--ohif", str(build), "--ohif-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            yield lines[2].removeprefix("OHIF: ").strip()
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def opened(chromium, url) -> Iterator[Opened]:
    """A page that logs in as a browser does, when it is asked to."""
    login = {"username": "ada", "password": PASSWORD}
    context = chromium.new_context(viewport={"width": 1400, "height": 900}, http_credentials=login)
    page = context.new_page()
    found = Opened(page, url)
    page.on("pageerror", lambda error: found.problems.append(str(error)))
    page.on("console", lambda line: found.problems.append(line.text) if line.type == "error" else None)
    page.on("request", lambda request: found.problems.append(request.url) if elsewhere(request.url, url) else None)
    page.on(
        "response", lambda answer: found.problems.append(f"{answer.status} {answer.url}") if failed(answer) else None
    )
    with contextlib.closing(context):
        yield found
    assert found.problems == []


def elsewhere(asked: str, url: str) -> bool:
    return not asked.startswith((url, "blob:", "data:"))


def failed(answer) -> bool:
    # The first question is asked without a password.
    return answer.status >= 400 and not (answer.status == 401 and answer.request.is_navigation_request())


def test_the_list_shows_the_studies(opened, held):
    opened.page.goto(opened.url, timeout=60_000)
    row = opened.page.get_by_role("row").filter(has_text="CT chest with contrast")
    row.first.wait_for(timeout=60_000)
    assert row.count() == 2
    text = row.first.inner_text()
    assert "Phantom, Chest" in text
    assert "RP0002" in text
    assert opened.page.evaluate("crossOriginIsolated")


def test_each_slice_is_seen_as_it_was_stored(opened, held, tmp_path):
    _, archive = held
    show(opened, archive.study)
    # OHIF begins at the head.
    expected = archive.volume[::-1]
    check_picture(opened.page, expected, 0)
    for index in (1, 2, 11, len(SLICES) - 1):
        scroll_to(opened.page, index)
        check_picture(opened.page, expected, index)
    folder = Path(os.environ.get("RESEARCHPACS_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    opened.page.screenshot(path=folder / "ohif.png")


def test_slices_that_the_browser_decodes_itself_are_seen_as_they_were(opened, held):
    _, archive = held
    show(opened, archive.compressed_study)
    expected = archive.volume[: len(SYNTAXES)][::-1]
    for index in range(len(SYNTAXES)):
        scroll_to(opened.page, index)
        check_picture(opened.page, expected, index)


def test_a_length_drawn_in_ohif_is_a_number_in_sql(opened, held):
    place, archive = held
    show(opened, archive.study)
    page = opened.page
    page.locator("[data-cy=MeasurementTools-split-button-primary]").click()
    box = page.locator("canvas.cornerstone-canvas").bounding_box()
    x, y = (round(box[corner] + box[size] / 2) for corner, size in (("x", "width"), ("y", "height")))
    page.mouse.move(x - 120, y - 50)
    page.mouse.down()
    page.mouse.move(x, y, steps=4)
    page.mouse.move(x + 120, y + 50, steps=4)
    page.mouse.up()
    page.get_by_text("Yes", exact=True).click()
    page.locator("[data-cy=trackedMeasurements-btn]").click()
    page.get_by_text("Create SR", exact=True).click()
    with page.expect_response(lambda answer: answer.request.method == "POST") as stored:
        page.get_by_role("button", name="Save", exact=True).click()
    assert stored.value.status == 200
    with rp.connect(place / "home") as pacs:
        ((value, unit, study),) = pacs.sql("select value, unit, StudyInstanceUID from measurements").fetchall()
    voxels = math.hypot(240, 100) / (box["height"] / archive.volume.shape[1])
    assert value == pytest.approx(voxels * SPACING_MM, rel=1e-3)
    assert (unit, study) == ("mm", archive.study)


def show(opened: Opened, study: str) -> None:
    page = opened.page
    page.goto(f"{opened.url}viewer?StudyInstanceUIDs={study}", timeout=60_000)
    page.wait_for_function("() => /\\(1\\/\\d+\\)/.test(document.body.innerText)", timeout=60_000)
    page.add_locator_handler(page.get_by_text("Skip all"), lambda found: found.click())
    page.add_locator_handler(page.get_by_text("Confirm and hide"), lambda found: found.click())


def scroll_to(page: Page, index: int) -> None:
    """Turn the mouse wheel until the overlay says the slice, from 0."""
    canvas = page.locator("canvas.cornerstone-canvas")
    canvas.hover()
    for _ in range(60):
        shown = int(re.search(r"\((\d+)/\d+\)", page.inner_text("body")).group(1)) - 1
        if shown == index:
            return
        page.mouse.wheel(0, 100 if shown < index else -100)
        page.wait_for_timeout(40)
    raise AssertionError(f"slice {index} did not come by scrolling; {shown} is shown")


def check_picture(page: Page, expected: np.ndarray, index: int) -> None:
    """Compare the canvas with a slice, from which its neighbours and its mirror images can be told."""
    for _ in range(50):
        seen = canvas_of(page)
        difference = np.abs(seen[::EVERY, ::EVERY] - as_shown(expected[index], seen.shape)).max()
        if difference < 1.5:
            break
        page.wait_for_timeout(200)
    assert difference < 1.5
    others = [expected[other] for other in (index - 1, index + 1) if 0 <= other < len(expected)]
    others += [np.fliplr(expected[index]), np.flipud(expected[index]), expected[index].T]
    for other in others:
        assert np.abs(seen[::EVERY, ::EVERY] - as_shown(other, seen.shape)).max() > 50


def canvas_of(page: Page) -> np.ndarray:
    picture = base64.b64decode(page.evaluate(CANVAS).partition(",")[2])
    return np.asarray(Image.open(BytesIO(picture)).convert("L"), float)


def as_shown(slice_hu: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """What is compared of a canvas in whose middle a square slice is as large as it fits, in grey levels.

    The window is linear (PS3.3 C.11.2.1.2.1).
    """
    size = slice_hu.shape[0]
    scale = min(shape) / size
    rows, columns = ((np.arange(0, length, EVERY) + 0.5 - length / 2) / scale + (size - 1) / 2 for length in shape)
    values = map_coordinates(slice_hu, np.meshgrid(rows, columns, indexing="ij"), order=1, cval=-2000)
    center, width = WINDOW
    return np.clip(((values - (center - 0.5)) / (width - 1) + 0.5) * 255, 0, 255)
