"""The quick start, run as `make demo` runs it, and held against the phantom's truth."""

import json
import re
import time
from pathlib import Path

import pytest

import researchpacs as rp
from researchpacs import notebook

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    folder = tmp_path_factory.mktemp("demo")
    rp.datasets.path("chest_ct"), rp.datasets.path("chest_ct_prior")
    started = time.monotonic()
    page = notebook.demo(folder, home=None)
    return page, folder / "home", time.monotonic() - started


def test_it_leaves_one_page_with_its_pictures(ran: tuple[Path, Path, float]):
    html = ran[0].read_text()
    assert len(re.findall("data:image/(?:png|jpeg);base64,", html)) >= 3, "viewer, projection and surface"
    assert "axial plane" in html, "the viewer's picture is told in words"
    assert "Traceback" not in html


def test_the_page_fetches_nothing(ran: tuple[Path, Path, float]):
    fetched = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"'](?!data:)(\S+?)[\"']", ran[0].read_text())
    assert fetched == []


def test_sql_has_the_diameter_of_the_nodule(ran: tuple[Path, Path, float]):
    with rp.connect(ran[1]) as pacs:
        ((value, unit),) = pacs.sql("select value, unit from measurements where label = 'nodule'").fetchall()
    assert unit == "mm"
    assert value == pytest.approx(rp.datasets.truth("chest_ct")["nodule"]["diameter_mm"], abs=0.5)


def test_running_it_again_adds_nothing(ran: tuple[Path, Path, float]):
    _, home, _ = ran
    with rp.connect(home) as pacs:
        before = [pacs.sql(f"select count(*) from {table}").fetchall() for table in ("instances", "measurements")]
    notebook.demo(home.parent, home=home)
    with rp.connect(home) as pacs:
        after = [pacs.sql(f"select count(*) from {table}").fetchall() for table in ("instances", "measurements")]
        assert after == before
        assert pacs.sql("select count(*) from measurements where label = 'nodule'").fetchall() == [(1,)]


def test_the_page_names_no_person(ran: tuple[Path, Path, float]):
    html = re.sub(r"data:[^\"']+", "", ran[0].read_text())
    with rp.connect(ran[1]) as pacs:
        people = pacs.sql("select PatientName, PatientID from patients").fetchall()
    assert people
    assert [value for row in people for value in row if value and len(value) > 3 and value in html] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_committed_without_outputs(path: Path):
    cells = json.loads(path.read_text())["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
