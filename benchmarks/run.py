"""Run every bench_*.py here and write their rows into docs/performance.md.

python benchmarks/run.py [TOPIC ...]      all topics, or some, such as "volume"; some are printed only
"""

import importlib
import os
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"

sys.path.insert(0, str(HERE))

from _measure import ROUNDS  # noqa: E402
from _row import Row  # noqa: E402


def main(topics: list[str]) -> int:
    """Measure, write and say whether every target is met."""
    known = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    if unknown := sorted(set(topics) - set(known)):
        print(f"no such topic: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    found = []
    for topic in topics or known:
        for row in importlib.import_module(f"bench_{topic}").rows():
            print(_line(row), flush=True)
            found.append(row)
    if not topics:
        _write(found)
    return 0 if all(row.met is not False for row in found) else 1


def _write(rows: Iterable[Row]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    PAGE.write_text(f"{head}{BEGIN}\n{_table(list(rows))}\n{END}{tail}", encoding="utf-8")


def _table(rows: list[Row]) -> str:
    versions = {name: number for row in rows for name, number in row.versions.items()}
    lines = [
        f"Measured by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
        + f". Ours and the peer's in turn, {ROUNDS} rounds: the fastest of each, for what else the machine does only "
        "adds time (in brackets the slowest), and the highest peak; every call in a fresh process with what it reads "
        "in the page cache.",
        "",
        "| what | ours, s | peer | peer, s | ratio | target | met | peak, MB |",
        "|---|---|---|---|---|---|---|---|",
        *map(_line, rows),
    ]
    return "\n".join(lines)


def _line(row: Row) -> str:
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    peer_s, ratio = ("", "") if row.peer_s is None or row.ratio is None else (f"{row.peer_s:.3f}", f"{row.ratio:.1f}")
    peak = "" if row.peak_mb is None else f"{row.peak_mb:.0f}"
    ours_s = f"{row.ours_s:.3f}"
    if row.slowest_s is not None:
        ours_s = f"{ours_s} ({row.slowest_s[0]:.3f})"
        peer_s = f"{peer_s} ({row.slowest_s[1]:.3f})" if peer_s else ""
    return f"| {row.name} | {ours_s} | {row.peer} | {peer_s} | {ratio} | {row.target} | {met} | {peak} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
