"""Run every bench_*.py here and write their rows into docs/performance.md.

python benchmarks/run.py [TOPIC ...]      all topics, or some, such as "volume"; each writes its own table
"""

import importlib
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"

sys.path.insert(0, str(HERE))

from _row import Row  # noqa: E402


def main(topics: list[str]) -> int:
    """Measure, write and say whether every target is met."""
    known = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    if unknown := sorted(set(topics) - set(known)):
        print(f"no such topic: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    found = []
    for topic in topics or known:
        rows = []
        for row in importlib.import_module(f"bench_{topic}").rows():
            print(_line(row), flush=True)
            rows.append(row)
        _write(topic, rows)
        found += rows
    return 0 if all(row.met is not False for row in found) else 1


def _write(topic: str, rows: list[Row]) -> None:
    begin, end = f"<!-- {topic} -->", f"<!-- /{topic} -->"
    page = PAGE.read_text(encoding="utf-8")
    if begin not in page:
        page = f"{page.rstrip()}\n\n{begin}\n{end}\n"
    head, _, rest = page.partition(begin)
    _, _, tail = rest.partition(end)
    PAGE.write_text(f"{head}{begin}\n{_table(topic, rows)}\n{end}{tail}", encoding="utf-8")


def _table(topic: str, rows: list[Row]) -> str:
    versions = {name: number for row in rows for name, number in row.versions.items()}
    lines = [
        f"## {topic.capitalize()}",
        "",
        f"By `python benchmarks/run.py {topic}` on {datetime.now(UTC):%Y-%m-%d}: {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        + "".join(f", {name} {number}" for name, number in sorted(versions.items()))
        + ".",
        "",
        "| what | ours, s | peer | peer, s | ratio | target | met | peak, MB |",
        "|---|---|---|---|---|---|---|---|",
        *map(_line, rows),
    ]
    return "\n".join(lines)


def _line(row: Row) -> str:
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    peer_s, ratio = ("", "") if row.peer_s is None or row.ratio is None else (_digits(row.peer_s), f"{row.ratio:.1f}")
    peak = "" if row.peak_mb is None else f"{row.peak_mb:.0f}"
    ours_s = _digits(row.ours_s)
    if row.slowest_s is not None:
        ours_s = f"{ours_s} ({_digits(row.slowest_s[0])})"
        peer_s = f"{peer_s} ({_digits(row.slowest_s[1])})" if peer_s else ""
    return f"| {row.name} | {ours_s} | {row.peer} | {peer_s} | {ratio} | {row.target} | {met} | {peak} |"


def _digits(seconds: float) -> str:
    return f"{seconds:.3f}" if seconds >= 0.1 else f"{seconds:.2g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
