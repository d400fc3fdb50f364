"""The notebook about reconstruction, run top to bottom as a newcomer would, and held against the phantoms' truth."""

import base64
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import researchpacs as rp
from researchpacs import notebook

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "06-reconstruction.ipynb"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("reconstruction")
    for name in ("chest_ct", "chest_ct_prior", "chest_pet"):
        rp.datasets.path(name)
    return notebook._run(NOTEBOOK, folder=folder, home=folder / "home")


@pytest.fixture
def shown(ran: Any) -> str:
    """What the cells print and show."""
    outputs = [output for cell in ran.cells for output in cell.get("outputs", [])]
    return "\n".join(one.get("text") or one.get("data", {}).get("text/plain") or "" for one in outputs)


def numbers(pattern: str, shown: str) -> list[float]:
    found = re.search(pattern, shown)
    assert found, pattern
    return [float(one.replace(",", "")) for one in found.groups()]


def test_grids_change_and_places_stay(shown: str) -> None:
    assert "dask.array.core (150, 180, 180) (2.0, 2.0, 2.0)" in shown
    assert "SPL -> SAR" in shown
    found = numbers(r"the nodule is at \[\s*(-?[\d.]+)\s+(-?[\d.]+)\s+(-?[\d.]+)\s*\] in both", shown)
    assert found == pytest.approx(rp.datasets.truth("chest_ct")["nodule"]["center_lps"], abs=0.001)


def test_the_nodule_has_its_volume(shown: str) -> None:
    diameter = rp.datasets.truth("chest_ct")["nodule"]["diameter_mm"]
    (volume,) = numbers(r"the nodule has (\d+) mm3", shown)
    assert volume == pytest.approx(np.pi / 6 * diameter**3, rel=0.12)


def test_the_spine_is_as_long_as_its_points_are_apart(shown: str) -> None:
    (length,) = numbers(r"(\d+) mm along the spine", shown)
    assert 240 < length < 245


def test_the_lungs_are_lungs(shown: str) -> None:
    litres, body, mean = numbers(r"lungs ([\d.]+) l, body ([\d.]+) l, mean in the lungs (-\d+) HU", shown)
    assert 3 < litres < 4.5
    assert 16 < body < 21
    assert -870 < mean < -780


def test_the_prior_is_registered_kept_and_subtracted(shown: str) -> None:
    assert "the volumes are in different Frames of Reference" in shown
    (shift,) = numbers(r"Registration\(rigid, ([\d.]+) mm at the middle\)", shown)
    assert shift < 1
    assert "<IngestReport: 1 stored, 0 duplicates, 0 conflicts, 0 refused>" in shown
    (grown,) = numbers(r"grown by ([\d.]+) HU at 5 mm", shown)
    assert grown > 700, "nodule now, lung a year before"


def test_pet_is_in_colour_where_it_is_hot(shown: str) -> None:
    red, _, blue = numbers(r"at the nodule \[\s*(\d+)\s+(\d+)\s+(\d+)\s*\]", shown)
    assert red > blue + 20


def test_every_picture_has_something_on_it(ran: Any, shown: str) -> None:
    pictures = [
        output.data["image/png"]
        for cell in ran.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == (6 if "no OpenGL renders" in shown else 7)
    for picture in pictures:
        colours = Image.open(BytesIO(base64.b64decode(picture))).convert("RGB").getcolors(1 << 20)
        assert colours is not None
        assert len(colours) > 50


def test_no_person_is_shown(ran: Any) -> None:
    page = re.sub(r"data:[^\"']+", "", notebook._as_page(ran))
    assert "Phantom^" not in page
    assert "RP-PHANTOM" not in page
