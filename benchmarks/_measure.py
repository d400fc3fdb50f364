"""Measure calls, each in a fresh process, ours and the peer's in turn.

A task is a function of a benchmark script that takes the text it is given and returns a `Clock`. What must not be
counted, such as imports, it does before it looks at the clock.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

__all__ = ["Measured", "alternately", "clock"]

ROUNDS = int(os.environ.get("RESEARCHPACS_BENCH_ROUNDS", "7"))


@dataclass
class Clock:
    """What one call took."""

    seconds: float = 0.0
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Measured:
    """What several rounds took."""

    seconds: float
    """Of the fastest round: whatever else the machine does only ever adds to it."""
    slowest: float
    peak_bytes: int | None
    rounds: int


@contextmanager
def clock() -> Iterator[Clock]:
    """Take the time and, on Linux, how far the resident memory rises above what it is at the start."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    found = Clock()
    if status.exists():
        clear.write_text("5")  # the peak starts again from what is resident now
        before = _kib(status, "VmRSS")
    start = perf_counter()
    yield found
    found.seconds = perf_counter() - start
    if status.exists():
        found.peak_bytes = 1024 * (_kib(status, "VmHWM") - before)


def alternately(*tasks: Callable[[str], Clock], given: str) -> list[Measured]:
    """Run each task in turn, round after round, every time in a process of its own."""
    rounds: list[list[Clock]] = [[] for _ in tasks]
    for _ in range(ROUNDS):
        for task, found in zip(tasks, rounds, strict=True):
            found.append(_in_a_process(task, given))
    return [
        Measured(
            seconds=min(u.seconds for u in found),
            slowest=max(u.seconds for u in found),
            peak_bytes=max((u.peak_bytes for u in found if u.peak_bytes is not None), default=None),
            rounds=len(found),
        )
        for found in rounds
    ]


def _in_a_process(task: Callable[[str], Clock], given: str) -> Clock:
    script = Path(task.__code__.co_filename)
    command = [sys.executable, __file__, str(script), task.__name__, given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{script.name}: {task.__name__} failed\n{done.stderr}")
    return Clock(**json.loads(done.stdout.splitlines()[-1]))


def _kib(status: Path, name: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1])


def _main(script: str, name: str, given: str) -> None:
    sys.path.insert(0, str(Path(script).parent))
    spec = importlib.util.spec_from_file_location(Path(script).stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, name)(given)
    print(json.dumps({"seconds": found.seconds, "peak_bytes": found.peak_bytes}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
