"""Many clients at once: no request fails, and the memory of the server stays bounded.

The clients are those of `benchmarks/bench_load.py`, which keeps 64 of them busy for a minute.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import psutil
import pytest

import researchpacs as rp
from researchpacs.testing import small_ct

CLIENTS = 64
SECONDS = 8
MOST_MB = 512


@pytest.fixture(scope="module")
def clients() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "_load.py"
    spec = importlib.util.spec_from_file_location("_load", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def peak_mb(pid: int) -> float:
    """The highest resident memory of a process and those it started, in 10^6 bytes."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    status = [Path(f"/proc/{one.pid}/status").read_text() for one in processes]
    return sum(int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) for text in status) * 1024 / 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc; run it on Linux")
def test_64_clients_that_look_fetch_and_store_see_no_error_in_bounded_memory(
    clients: ModuleType, tmp_path: Path
) -> None:
    old = []
    for series in range(4):
        uid = f"1.2.3.{series}"
        for k in range(1, 9):
            names = {"PatientName": f"B{series}", "SeriesInstanceUID": uid, "SOPInstanceUID": f"{uid}.{k}"}
            old.append(small_ct(k, size=512, seed=series, **names))
    with rp.connect(tmp_path / "home") as pacs:
        pacs.ingest(old)
    new = []
    for number in range(200):
        new.append(tmp_path / f"{number}.dcm")
        small_ct(number, size=512, SOPInstanceUID=f"1.2.4.{number}").save_as(new[-1], enforce_file_format=True)
    command = [
        sys.executable,
        "-m",
        "researchpacs",
        "--home",
        str(tmp_path / "home"),
        "serve",
        "--no-auth",
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(re.findall(r":(\d+)/", server.stdout.readline())[0])
            found = clients.load(port, new, clients=CLIENTS, seconds=SECONDS)
            peak = peak_mb(server.pid)
        finally:
            server.terminate()
    assert found.errors == []
    assert all(found.seconds.values()), "every kind of request was made"
    assert peak < MOST_MB
    with rp.connect(tmp_path / "home") as pacs:
        assert pacs.sql("select count(*) from instances").fetchall() == [(len(old) + len(found.seconds["store"]),)]
        assert pacs.verify().ok
