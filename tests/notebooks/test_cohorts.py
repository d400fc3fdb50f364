"""The notebook about cohorts, run top to bottom, and held against the truth of the phantom."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

import researchpacs as rp
from researchpacs import notebook

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04-cohorts.ipynb"

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("cohorts")
    for name in ("chest_ct", "chest_ct_prior"):
        rp.datasets.path(name, slices=60)
    return notebook._run(NOTEBOOK, folder=folder, home=folder / "home")


def test_what_came_later_is_told_apart(ran: Any) -> None:
    shown = _text(ran)
    assert re.search(r"change\s+SeriesInstanceUID\n0\s+added", shown)
    assert re.search(r"CT series then: (\d+)\nCT series now: +(\d+)", shown).groups() == ("5", "6")


def test_the_filters_are_drawn(ran: Any) -> None:
    pictures = [data["text/html"] for data in _outputs(ran) if "<svg" in data.get("text/html", "")]
    assert len(pictures) == 1
    assert "1 patients, 2 studies, 2 series" in pictures[0]


def test_the_copy_of_the_trial_is_found_by_its_pictures(ran: Any) -> None:
    assert re.search(r"kind split_a split_b\n0\s+pixels\s+(train\s+test|test\s+train)", _text(ran))
    assert "<Cohort 'clean': 1 patients, 2 studies, 3 series" in _text(ran)


def test_the_nodules_are_as_large_as_they_were_made(ran: Any) -> None:
    """Of voxels 5 mm high, so to a twentieth."""
    rows = re.findall(r"\d (20\d\d-\d\d-\d\d)\s+([\d.]+)\s+-?[\d.]+\s+None", _text(ran))
    assert [date for date, _ in rows] == ["2024-06-12", "2025-06-12"]
    for (_, volume), name in zip(rows, ("chest_ct_prior", "chest_ct"), strict=True):
        diameter = rp.datasets.truth(name)["nodule"]["diameter_mm"]
        assert float(volume) == pytest.approx(math.pi / 6 * diameter**3, rel=0.06)


def test_the_export_is_the_same_cohort_elsewhere(ran: Any) -> None:
    shown = _text(ran)
    assert "\nTrue\n" in shown
    assert "patient-001/study-001/series-001.nii.gz" in shown
    assert "CC0 1.0" in shown


def test_no_person_is_shown(ran: Any) -> None:
    shown = _text(ran)
    for word in ("RP-PHANTOM", "TRIAL-7", "Trial^", "^"):
        assert word not in shown


def _outputs(ran: Any) -> list[Any]:
    return [one["data"] for cell in ran.cells for one in cell.get("outputs", []) if "data" in one]


def _text(ran: Any) -> str:
    """What the cells print and show."""
    outputs = [output for cell in ran.cells for output in cell.get("outputs", [])]
    return "\n".join(one.get("text") or one.get("data", {}).get("text/plain") or "" for one in outputs)
