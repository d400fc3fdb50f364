"""Ten processes on one archive: four take in and delete, four ask, two freeze cohorts; no error and no torn answer."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import researchpacs as rp
from researchpacs.cohort._members import digest_of

from .invariants import all_rows, counts_of_levels

_SECONDS = 10
_SOAK_SECONDS = 120

_BEGIN = """
import sys
import time
import json
import researchpacs as rp

home, number, seconds, query = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
pacs = rp.connect(home)
made = []
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.readline()
end = time.monotonic() + seconds
"""
_END = """
sys.stdout.write(json.dumps(made))
pacs.close()
"""
_INGEST = """
from researchpacs.testing import small_ct

turn = 0
while turn < 3 or time.monotonic() < end:
    turn += 1
    root = f"1.2.826.0.1.3680043.8.498.77.{number}.{turn}"
    def slice_of(series, at):
        uids = {"StudyInstanceUID": root, "SeriesInstanceUID": f"{root}.{series}"}
        return small_ct(at, SOPInstanceUID=f"{root}.{series}.{at}", PatientID=f"P{(number + turn) % 3}", **uids)
    report = pacs.ingest([slice_of(series, at) for series in (1, 2) for at in range(1, 7)], progress=False)
    assert (report.stored, report.conflicts, report.refused) == (12, 0, 0), repr(report)
    asked = "select count(*) from instances where StudyInstanceUID = $uid"
    assert pacs.sql(asked, uid=root).fetchall() == [(12,)], "what was just stored is not there"
    if turn % 3 == 0:
        gone = pacs.delete(pacs.series(f"{root}.2"))
        assert gone == 6
        assert pacs.sql(asked, uid=root).fetchall() == [(6,)], "what was just deleted is there"
    made.append([root, 6 if turn % 3 == 0 else 12])
"""
_ASK = """
while len(made) < 3 or time.monotonic() < end:
    assert pacs.sql(query).fetchall() == [(True,)], "the levels disagree"
    made.append(pacs.sql("select count(*) from instances").fetchall()[0][0])
    hits = pacs.search("series", Modality="CT", order="SeriesInstanceUID", limit=5)
    assert all(hit.instance_count for hit in hits)
"""
_FREEZE = """
from researchpacs.errors import InvalidInputError

while len(made) < 3 or time.monotonic() < end:
    hits = pacs.search("series", Modality="CT")
    if not hits:
        continue
    try:
        cohort = pacs.freeze(hits, name=f"cohort-{number}-{len(made)}")
    except InvalidInputError as error:
        assert "nothing to freeze" in str(error)
        continue
    assert all(member.instance_count for member in cohort.members)
    made.append([cohort.name, cohort.digest, len(cohort)])
"""
_PROGRAMS = [_INGEST] * 4 + [_ASK] * 4 + [_FREEZE] * 2


def test_ten_processes_disturb_no_one(home: Path) -> None:
    _together(home, seconds=_SECONDS)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_ten_processes_disturb_no_one_for_two_minutes(home: Path) -> None:
    _together(home, seconds=_SOAK_SECONDS)


def _together(home: Path, *, seconds: float) -> None:
    with rp.connect(home) as pacs:
        query = counts_of_levels(pacs.catalog)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _BEGIN + program + _END, str(home), str(number), str(seconds), query],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, program in enumerate(_PROGRAMS)
    ]
    try:
        answers = _answers(children)
    finally:
        for child in children:
            child.kill()
            child.communicate()
    _everything_told_is_there(home, answers)


def _answers(children: list[subprocess.Popen[str]]) -> list[list[Any]]:
    """What each says it has done; they begin together."""
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", child.communicate()[1]
    told = []
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child, program in zip(children, _PROGRAMS, strict=True):
        said, errors = child.communicate(timeout=1200)
        assert (child.returncode, errors) == (0, ""), program
        told.append(json.loads(said))
    return told


def _everything_told_is_there(home: Path, answers: list[list[Any]]) -> None:
    studies = {root: count for made in answers[:4] for root, count in made}
    cohorts = {name: (digest, length) for made in answers[8:] for name, digest, length in made}
    assert len(studies) >= 12
    assert len(cohorts) >= 6
    with rp.connect(home) as pacs:
        assert pacs.archive.verify().ok
        assert not pacs.catalog.mended
        assert dict(pacs.sql("select StudyInstanceUID, instance_count from studies").fetchall()) == studies
        assert pacs.sql(counts_of_levels(pacs.catalog)).fetchall() == [(True,)]
        for name, (digest, length) in cohorts.items():
            cohort = pacs.cohort(name)
            assert (cohort.digest, len(cohort), digest_of(cohort.members)) == (digest, length, digest)
        in_sql = pacs.sql("select name, digest, series_count from cohorts").fetchall()
        assert {name: (digest, length) for name, digest, length in in_sql} == cohorts
        found = all_rows(pacs.catalog)
        pacs.catalog.sync(rebuild=True)
        anew = all_rows(pacs.catalog)
        for name, rows in anew.items():
            assert found[name] == rows, name
