"""A routing server killed at any moment: every series that became stable is labelled and at its peer in the end."""

import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import Dataset

import researchpacs as rp
from researchpacs.server.routing import routing
from researchpacs.server.stable import StableWatch
from researchpacs.testing import small_ct

_SEED = 20240229
_SERIES, _SLICES = 4, 3
_SERVE = """
import sys, time
from pathlib import Path
import researchpacs as rp
from researchpacs.server.routing import _router, routing
from researchpacs.server.stable import StableWatch

_router._POLL_S = 0.1
with rp.connect(sys.argv[1]) as pacs, routing(pacs, Path(sys.argv[2])), StableWatch(pacs, age_s=0.1):
    print("ready", flush=True)
    time.sleep(60)
"""
_RULES = """
[retry]
first_s = 0.1
longest_s = 0.5
[[rule]]
name = "all"
when = "Modality = 'CT'"
then = { label = "seen", send = "clinic" }
"""


@pytest.fixture
def pacs(home: Path) -> Iterator[rp.Pacs]:
    with rp.connect(home) as pacs:
        yield pacs


@pytest.fixture
def clinic(pacs: rp.Pacs, tmp_path: Path) -> Iterator[Path]:
    """The folder in which a peer keeps what it gets, a file an instance."""
    program = shutil.which("storescp", path="/usr/bin:/usr/local/bin") or shutil.which("storescp")
    if program is None:
        pytest.skip("dcmtk's storescp is missing: apt-get install dcmtk")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = int(sock.getsockname()[1])
    folder = tmp_path / "clinic"
    folder.mkdir()
    receiver = subprocess.Popen([program, "-aet", "CLINIC", "-od", str(folder), str(port)])
    pacs.peers.add("clinic", aet="CLINIC", host="127.0.0.1", port=port)
    yield folder
    receiver.kill()
    receiver.wait()


def test_a_router_killed_at_any_moment_misses_no_series(pacs: rp.Pacs, clinic: Path, tmp_path: Path) -> None:
    _kill(3, pacs, clinic, tmp_path / "rules.toml")


@pytest.mark.soak
def test_a_router_killed_twenty_times_misses_no_series(pacs: rp.Pacs, clinic: Path, tmp_path: Path) -> None:
    _kill(20, pacs, clinic, tmp_path / "rules.toml")


def _kill(rounds: int, pacs: rp.Pacs, clinic: Path, rules: Path) -> None:
    chance, uids, killed = random.Random(_SEED), set[str](), 0
    rules.write_text(_RULES)
    with routing(pacs, rules):
        pass  # the rule is known from now on
    for number in range(rounds):
        command = [sys.executable, "-c", _SERVE, str(pacs.home), str(rules)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        for one in range(_SERIES):
            uid = f"1.2.{number}.{one}"
            pacs.ingest([_slice(uid, slice_) for slice_ in range(_SLICES)], progress=False)
            uids.add(uid)
        time.sleep(chance.uniform(0, 1.5))
        child.kill()
        child.communicate()
        killed += child.returncode == -signal.SIGKILL
    assert killed == rounds
    with routing(pacs, rules), StableWatch(pacs, age_s=0.1):
        _wait(lambda: {one.uid for one in pacs.search("series", labels="seen")} == uids)
        _wait(lambda: all(job.done for job in pacs.archive.jobs.all()))
    assert {job.state for job in pacs.archive.jobs.all()} == {"success"}
    expected = {str(_slice(uid, slice_).SOPInstanceUID) for uid in uids for slice_ in range(_SLICES)}
    assert {path.name.split(".", 1)[1] for path in clinic.iterdir()} == expected


def _slice(series: str, number: int) -> Dataset:
    uids = {"StudyInstanceUID": f"{series}.0", "SeriesInstanceUID": series, "SOPInstanceUID": f"{series}.{number + 1}"}
    return small_ct(number, **uids)


def _wait(until: Callable[[], object], *, timeout_s: float = 120) -> None:
    give_up = time.monotonic() + timeout_s
    while not until():
        assert time.monotonic() < give_up
        time.sleep(0.05)
