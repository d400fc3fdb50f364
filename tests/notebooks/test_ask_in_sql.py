"""The notebook about SQL, run top to bottom as a newcomer would, and held against the phantom's truth."""

import base64
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import researchpacs as rp
from researchpacs import notebook

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "03-ask-in-sql.ipynb"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("sql")
    for name in ("chest_ct", "pydicom_samples"):
        rp.datasets.path(name)
    return notebook._run(NOTEBOOK, folder=folder, home=folder / "home")


def answer(ran: Any, beginning: str) -> str:
    """What the cell that begins so, below its magic, shows."""
    cells = [cell for cell in ran.cells if cell.cell_type == "code" and beginning in cell.source]
    assert len(cells) == 1
    return "\n".join(output.get("data", {}).get("text/plain", "") for output in cells[0].outputs)


def test_the_measurement_is_that_of_the_phantom(ran: Any) -> None:
    truth = rp.datasets.truth("chest_ct")["nodule"]["diameter_mm"]
    label, quantity, value, unit = answer(ran, "select m.label").split("\n")[2].split()[:4]
    assert (label, quantity, unit) == ("nodule", "Length", "mm")
    assert float(value) == pytest.approx(truth, abs=0.5)


def test_a_frame_of_the_notebook_and_a_file_are_joined(ran: Any) -> None:
    reader, department, read, measured, difference = answer(ran, "from readings r").split("\n")[2].split()
    assert (reader, department) == ("A", "body")
    assert float(difference) == pytest.approx(float(read) - float(measured), abs=0.06)


def test_private_elements_and_sequences_are_shown(ran: Any) -> None:
    assert "GEMS" in answer(ran, "with private")
    assert "PHOTON" in answer(ran, "'BeamSequence'")


def test_there_is_a_picture_with_something_on_it(ran: Any) -> None:
    pictures = [
        output.data["image/png"]
        for cell in ran.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 1
    colours = Image.open(BytesIO(base64.b64decode(pictures[0]))).convert("RGB").getcolors(1 << 20)
    assert colours is not None
    assert len(colours) > 20


def test_no_person_is_shown(ran: Any, tmp_path: Path) -> None:
    page = re.sub(r"data:[^\"']+", "", notebook._as_page(ran))
    with rp.connect(tmp_path / "home") as pacs:
        pacs.ingest([rp.datasets.path("pydicom_samples")], progress=False)
        people = pacs.sql("select PatientName, PatientID from patients").fetchall()
    people += [("Test^Phantom", None)]
    assert len(people) > 5
    assert [value for row in people for value in row if value and len(value) > 3 and value in page] == []
