"""The notebook about volumes, run top to bottom as a newcomer would, and held against the phantoms' truth."""

import base64
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import researchpacs as rp
from researchpacs import notebook

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "05-volumes.ipynb"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("volumes")
    for name in ("chest_ct", "tilted_ct", "gapped_ct", "oblique_mr", "cine_mr"):
        rp.datasets.path(name)
    return notebook._run(NOTEBOOK, folder=folder, home=folder / "home")


@pytest.fixture
def shown(ran: Any) -> str:
    """What the cells print and show."""
    outputs = [output for cell in ran.cells for output in cell.get("outputs", [])]
    return "\n".join(one.get("text") or one.get("data", {}).get("text/plain") or "" for one in outputs)


def test_the_nodule_has_the_value_of_the_phantom(shown: str) -> None:
    found = re.search(r"nodule at index .* has (-?\d+) HU", shown)
    assert found
    assert int(found[1]) == rp.datasets.truth("chest_ct")["nodule"]["hu"]


def test_what_is_irregular_is_refused_by_its_reason_and_repaired(shown: str) -> None:
    assert "('gantry_tilt',) - series" in shown
    assert "('missing_slices',) - series" in shown
    assert re.search(r"repaired: gantry tilt of 13\.\d+ degrees", shown)
    truth = rp.datasets.truth("gapped_ct")
    first, step = truth["origin_lps"][2], truth["spacing"][0]
    expected = [first + step * number for number in truth["missing_slices"]]
    found = re.search(r"invented slices at z = \[(.*)\] mm", shown)
    assert found
    assert [float(number) for number in found[1].split(",")] == pytest.approx(expected)


def test_geometry_is_kept_and_another_frame_refused(shown: str) -> None:
    assert "same place: True" in shown
    assert "difference where both are: 0" in shown
    assert "the arrays lie in different patient frames" in shown
    assert "equal, without a copy on the disk: True" in shown
    assert "['ct.json', 'ct.zarr', 't1.nii.gz', 't1.nrrd']" in shown


def test_levels_of_the_pyramid_get_coarser(shown: str) -> None:
    levels = re.findall(r"^(\d) \{'z': (\d+), 'y': (\d+), 'x': (\d+)\}", shown, re.MULTILINE)
    assert [tuple(map(int, level)) for level in levels] == [(0, 150, 512, 512), (1, 150, 256, 256), (2, 75, 128, 128)]


def test_there_are_pictures_with_something_on_them(ran: Any) -> None:
    pictures = [
        output.data["image/png"]
        for cell in ran.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 3
    for picture in pictures:
        colours = Image.open(BytesIO(base64.b64decode(picture))).convert("RGB").getcolors(1 << 20)
        assert colours is not None
        assert len(colours) > 50


def test_the_notebook_is_saved_without_outputs() -> None:
    assert '"output_type"' not in NOTEBOOK.read_text()
