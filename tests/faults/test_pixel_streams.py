"""Mutated pixel streams, and headers that lie about them: a frame or an error, no crash, in little time and memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = Path(__file__).with_name("pixel_streams.py")
_MOST_SECONDS = 2.0
"""Of the processor, so that other work on the machine does not count."""
_MOST_BYTES = 512 << 20


@pytest.mark.parametrize("count", [600, pytest.param(10_000, marks=pytest.mark.soak)])
def test_mutated_pixel_streams_are_decoded_or_refused(tmp_path: Path, count: int) -> None:
    log = tmp_path / "cases"
    command = [sys.executable, str(_PROGRAM), "0", str(count), str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = log.read_text().splitlines()[-1] if log.exists() else "none"
    assert done.returncode == 0, f"died of {done.returncode} in case {last}: {done.stderr[-2000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["became"]) == {"decoded", "refused"}, found
    assert sum(found["became"].values()) == count
    assert min(found["became"].values()) > count / 20, "the cases are all alike"
    assert found["slowest"][0] < _MOST_SECONDS, found["slowest"]
    assert found["grown"] < _MOST_BYTES, found
