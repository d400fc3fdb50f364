"""The notebook about servers and peers, run top to bottom as a newcomer would."""

import re
import resource
from pathlib import Path
from typing import Any

import pytest

import researchpacs as rp
from researchpacs import notebook

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "02-archive-and-peers.ipynb"

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, float]:
    folder = tmp_path_factory.mktemp("peers")
    for name in ("chest_ct", "chest_ct_prior", "pydicom_samples"):
        rp.datasets.path(name)
    before = _own_s()
    return notebook._run(NOTEBOOK, folder=folder, home=folder / "home"), _own_s() - before


def _own_s() -> float:
    """Processor time of what was started and has ended: what else the machine does adds nothing."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_it_runs_in_less_than_a_minute(ran: tuple[Any, float]) -> None:
    assert 1 < ran[1] < 60


def test_one_slice_moves_a_hundredth_of_the_series(ran: tuple[Any, float]) -> None:
    line = next(line for line in _text(ran).split("\n") if "bytes moved" in line)
    moved, whole = (int(number.replace(",", "")) for number in re.findall(r"[\d,]+", line)[:2])
    assert 512 * 512 * 2 <= moved < 0.01 * whole


def test_both_protocols_give_the_same_slice_and_the_peers_all_instances(ran: tuple[Any, float]) -> None:
    shown = _text(ran)
    assert "True" in shown.split("\n")
    assert re.search(r"<IngestReport: 150 stored, 0 duplicates, 0 conflicts, 0 refused>", shown)
    sent = re.search(r"<SendReport: 150 sent, 0 failed>, (\d+), (\d+)", shown)
    assert sent
    assert int(sent[2]) == int(sent[1]) + 1, "the prior is a study that the ward did not have"


def test_neither_the_token_nor_a_person_is_shown(ran: tuple[Any, float]) -> None:
    shown = _text(ran)
    assert re.findall(r"token: (\S+)", shown) == ["..."]
    assert "^" not in shown


def _text(ran: tuple[Any, float]) -> str:
    """What the cells print and show."""
    outputs = [output for cell in ran[0].cells for output in cell.get("outputs", [])]
    return "\n".join(one.get("text") or one.get("data", {}).get("text/plain") or "" for one in outputs)
