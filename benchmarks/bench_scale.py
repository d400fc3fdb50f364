"""A catalog of a million studies, five million series and five million instances: what questions and changes cost.

Every question is asked idle, and while another process takes in a small study and commits it once a second. Times are
medians, in brackets the 95th percentile; what is read is in the page cache. Beside a search stands the same question in
SQL by hand, over the same connection.

RESEARCHPACS_BENCH_STUDIES makes it smaller or larger (a multiple of a hundred); RESEARCHPACS_BENCH_HOSPITAL names a
folder that is taken as it is, or made and kept.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from _hospital import SAMPLED, SERIES, make, sizes
from _row import Row

STUDIES = int(os.environ.get("RESEARCHPACS_BENCH_STUDIES", "1000000"))
KEPT = os.environ.get("RESEARCHPACS_BENCH_HOSPITAL")
TIMES = 3 * int(os.environ.get("RESEARCHPACS_BENCH_ROUNDS", "7"))
LARGEST_ROW = 100
_VERSIONS = {name: version(name) for name in ("researchpacs", "duckdb")}
_FIRST = (
    "import researchpacs as rp; pacs = rp.connect({home!r}); "
    "assert pacs.sql('select count(*) from series').fetchall()[0][0] > 0"
)


@dataclass(frozen=True)
class Question:
    """Something to ask, as a user would, and in SQL by hand where a search stands for it."""

    name: str
    target_s: float
    ask: Callable[[Any, random.Random], Any]
    by_hand: Callable[[Any, random.Random], Any] | None = None


def rows() -> Iterable[Row]:
    with _hospital() as home:
        yield _size_row(home)
        for state, doing in (("idle", nullcontext()), ("while another process commits", _committing(home))):
            with doing:
                yield _connect_row(home, state)
                yield from _question_rows(home, state)
        yield from _change_rows(home)


def _size_row(home: Path) -> Row:
    row, ledger, catalog = sizes(home)
    name = f"{STUDIES:,} studies: {row:.0f} bytes an instance row in the catalog, {ledger:.0f} in the ledger; "
    name += f"{catalog / 1e6:,.0f} MB of catalog; count of all series"
    counting = _in_child("count", home)["count"][0]
    return Row(name, counting, "", None, f"< {LARGEST_ROW} bytes", row < LARGEST_ROW, None, 1, _VERSIONS)


def _connect_row(home: Path, state: str) -> Row:
    took = []
    for _ in range(TIMES):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", _FIRST.format(home=str(home))], check=True)
        took.append(time.perf_counter() - started)
    p50, p95 = _percentiles(took)
    return Row(
        f"connect and the first answer, the whole process, {state}", p50, "", None, "p50 < 0.4 s, p95 < 1 s",
        p50 < 0.4 and p95 < 1, None, len(took), _VERSIONS, (p95, 0.0),
    )  # fmt: skip


def _question_rows(home: Path, state: str) -> Iterator[Row]:
    found = _in_child("questions", home)
    for question in QUESTIONS:
        p50, p95 = _percentiles(found[question.name])
        hand = _percentiles(found[f"{question.name} by hand"]) if question.by_hand else None
        yield Row(
            f"{question.name}, {state}", p50, "SQL by hand" if hand else "", hand[0] if hand else None,
            f"< {question.target_s * 1e3:.0f} ms", p50 < question.target_s, None, len(found[question.name]), _VERSIONS,
            (p95, hand[1] if hand else 0.0),
        )  # fmt: skip


def _change_rows(home: Path) -> Iterator[Row]:
    found = _in_child("changes", home)
    for name, target_s in (("adding a study of 100 instances", 0.150), ("deleting it", 0.200)):
        p50, p95 = _percentiles(found[name])
        yield Row(
            f"{name}, from acknowledged to visible in SQL", p50, "", None, f"< {target_s * 1e3:.0f} ms", p50 < target_s,
            None, len(found[name]), _VERSIONS, (p95, 0.0),
        )  # fmt: skip


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    return statistics.median(seconds), sorted(seconds)[round(0.95 * (len(seconds) - 1))]


# -- what is asked -----------------------------------------------------------------------------------------------------

_COHORT = """
select s.Modality, year(t.StudyDate) as year, count(*) as series, sum(s.instance_count) as instances
from series s join studies t using (StudyInstanceUID)
"""
_QUARTER = "s.Modality = 'CT' and s.BodyPartExamined = 'CHEST' and s.StudyDate between $first and $last"
_OF_NAME = "patient_key in (select patient_key from patients where patient_search_name like $name)"
_OF_TEXT = (
    "text_key in (select text_key from search_texts where contains(search_text, $a) and contains(search_text, $b))"
)


def _sql(pacs: Any, query: str, **values: Any) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = pacs.sql(query, **values).fetchall()
    return found


QUESTIONS = (
    Question("a study by UID", 0.005, lambda pacs, at: pacs.study(_uid("study", at.randrange(STUDIES)))),
    Question("a series by UID", 0.005, lambda pacs, at: pacs.series(_uid("series", at.randrange(STUDIES * SERIES)))),
    Question("the 100 instances of a series", 0.005, lambda pacs, at: pacs.series(_uid("series", _full(at))).instances),
    Question(
        "modality, date and body part: the first 50 series", 0.050,
        lambda pacs, at: list(pacs.search("series", Modality="CT", BodyPartExamined="CHEST", StudyDate=_span(at, ""),
                                          order="StudyDate", limit=50)),
        lambda pacs, at: _sql(pacs, f"select * from series s where {_QUARTER} order by StudyDate limit 50",
                              **_days(at)),
    ),
    Question(
        "a name with *: the first 50 studies", 0.100,
        lambda pacs, at: list(pacs.search(PatientName=f"{_family(at)}*", order="StudyDate", limit=50)),
        lambda pacs, at: _sql(pacs, f"select * from studies where {_OF_NAME} order by StudyDate limit 50",
                              name=f"{_family(at).lower()}%"),
    ),
    Question(
        "a name with * at both ends: count", 0.100,
        lambda pacs, at: len(pacs.search(PatientName=f"*{_family(at)[1:]}*")),
        lambda pacs, at: _sql(pacs, f"select count(*) from studies where {_OF_NAME}",
                              name=f"%{_family(at)[1:].lower()}%"),
    ),
    Question(
        "two words of text: the first 50 series", 0.100,
        lambda pacs, at: list(pacs.search("series", text=" ".join(_words(at)), order="StudyDate", limit=50)),
        lambda pacs, at: _sql(pacs, f"select * from series where {_OF_TEXT} order by StudyDate limit 50", **_two(at)),
    ),
    Question(
        "two words of text: count", 0.100,
        lambda pacs, at: len(pacs.search("series", text=" ".join(_words(at)))),
        lambda pacs, at: _sql(pacs, f"select count(*) from series where {_OF_TEXT}", **_two(at)),
    ),
    Question("a cohort: join and group by, filtered", 0.300,
             lambda pacs, at: _sql(pacs, f"{_COHORT} where {_QUARTER} group by all", **_days(at))),
    Question("a cohort: join and group by, all series", 1.0, lambda pacs, at: _sql(pacs, f"{_COHORT} group by all")),
    Question(
        "an attribute that is a column: count", 0.050,
        lambda pacs, at: len(pacs.search("series", KVP=(at.choice([90, 110, 130]), None))),
        lambda pacs, at: _sql(pacs, "select count(*) from series where KVP >= $least", least=at.choice([90, 110, 130])),
    ),
    Question(
        "an attribute that is no column, by tag_num: count", 3.0,
        lambda pacs, at: _sql(pacs, "select count(*) from series where tag_num(tags, 'GeneratorPower') > $least",
                              least=at.randrange(10, 60)),
    ),
)  # fmt: skip


def _full(at: random.Random) -> int:
    """A series whose instances are there."""
    return at.randrange(STUDIES // SAMPLED) * SAMPLED * SERIES + at.randrange(SERIES)


def _uid(kind: str, number: int) -> str:
    """The UID that the hospital gave; found before the clock starts, as all that draws by chance."""
    import duckdb

    query = "select '1.2.840.99999.' || hash($number::bigint, $kind) || '.' || hash($kind, $number::bigint)"
    ((uid,),) = duckdb.execute(query, {"kind": kind, "number": number}).fetchall()
    return str(uid)


def _span(at: random.Random, between: str) -> tuple[str, str]:
    year, month = at.randrange(2006, 2026), at.choice([1, 4, 7, 10])
    return f"{year}{between}{month:02}", f"{year}{between}{month + 2:02}"


def _days(at: random.Random) -> dict[str, str]:
    first, last = _span(at, "-")
    return {"first": f"{first}-01", "last": f"{last}-28"}


def _family(at: random.Random) -> str:
    return at.choice(["MEIER", "HAVOV", "GARMINI", "OLISSON", "ROSSEZ", "KLENINI", "NGUYNAK"])


def _words(at: random.Random) -> tuple[str, str]:
    return at.choice(["Lung", "bone", "flair", "delayed"]), at.choice(["CONTRAST", "trauma", "knee", "pelvis"])


def _two(at: random.Random) -> dict[str, str]:
    return dict(zip("ab", map(str.lower, _words(at)), strict=True))


# -- processes ---------------------------------------------------------------------------------------------------------


@contextmanager
def _hospital() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(KEPT or folder) / "home"
        if not home.exists():
            make(home, STUDIES)
        yield home


@contextmanager
def _committing(home: Path) -> Iterator[None]:
    """Keep another process taking in and committing, once a second."""
    command = [sys.executable, __file__, "commit", str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "committing\n"
        try:
            yield
        finally:
            other.stdin.close()
    assert other.returncode == 0, "the committing process failed"


def _in_child(name: str, home: Path) -> dict[str, list[float]]:
    done = subprocess.run([sys.executable, __file__, name, str(home)], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    from _scale_work import work

    work(*sys.argv[1:])
