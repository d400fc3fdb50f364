"""What the processes of bench_scale.py do."""

import json
import random
import select
import sys
import tempfile
import time
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Any

from bench_scale import QUESTIONS, TIMES

_CHANGES = 10


def work(name: str, home: str) -> None:
    """Do one of the works, and print the seconds that it took by what was done."""
    import researchpacs as rp

    with rp.connect(home) as pacs:
        pacs.sql("select count(*) from series").fetchall()
        found = {"count": _count, "questions": _questions, "changes": _changes, "commit": _commit}[name](pacs)
    if found:
        print(json.dumps(found))


def _count(pacs: Any) -> dict[str, list[float]]:
    started = time.perf_counter()
    pacs.sql("select count(*) from series").fetchall()
    return {"count": [time.perf_counter() - started]}


def _questions(pacs: Any) -> dict[str, list[float]]:
    """Ask every question as often with ever other values, once before the clock runs; by hand with the same ones."""
    found = defaultdict(list)
    for question in QUESTIONS:
        for number in range(TIMES + 1):
            for name, ask in ((question.name, question.ask), (f"{question.name} by hand", question.by_hand)):
                if ask is not None:
                    seconds = _seconds(ask, pacs, random.Random(number))
                    found[name] += [seconds] if number else []
    return found


def _seconds(ask: Any, pacs: Any, at: random.Random) -> float:
    started = time.perf_counter()
    ask(pacs, at)
    return time.perf_counter() - started


def _changes(pacs: Any) -> dict[str, list[float]]:
    """Add studies one by one, and delete them again."""
    found = defaultdict(list)
    ((known,),) = pacs.sql("select count(*) from studies").fetchall()
    added = []
    for number in range(_CHANGES + 1):
        uid = _take_study(pacs, f"{time.time_ns()}", series=4, slices=25)
        added.append(uid)
        found["adding a study of 100 instances"] += _until(pacs, known + len(added))[:number]
    for number, uid in enumerate(added):
        pacs.archive.delete("study", uid)
        found["deleting it"] += _until(pacs, known + len(added) - number - 1)[:number]
    return found


def _until(pacs: Any, expected: int) -> list[float]:
    """Ask for the number of studies, which has to be right at once."""
    started = time.perf_counter()
    ((found,),) = pacs.sql("select count(*) from studies").fetchall()
    took = time.perf_counter() - started
    assert found == expected, f"{found} studies, {expected} are there"
    return [took]


def _commit(pacs: Any) -> None:
    """Take in a small study and commit it once a second, until standard input ends."""
    for number in count():
        started = time.monotonic()
        _take_study(pacs, f"{time.time_ns()}", series=2, slices=10)
        pacs.sync()
        if number == 0:
            print("committing", flush=True)
        if select.select([sys.stdin], [], [], max(0.0, started + 1 - time.monotonic()))[0]:
            return


def _take_study(pacs: Any, number: str, *, series: int, slices: int) -> str:
    from researchpacs.testing import small_ct

    uid = f"1.2.826.0.1.3680043.8.498.5.{number}"
    with tempfile.TemporaryDirectory() as folder:
        for one in range(series):
            for place in range(slices):
                ds = small_ct(
                    place, PatientID=f"NEW{number}", PatientName=f"New^{number}", StudyInstanceUID=uid,
                    SeriesInstanceUID=f"{uid}.{one}", SOPInstanceUID=f"{uid}.{one}.{place}", SeriesNumber=one,
                )  # fmt: skip
                ds.save_as(Path(folder) / f"{one}-{place}.dcm", enforce_file_format=True)
        report = pacs.ingest(folder, progress=False)
    assert report.stored == series * slices, report
    return uid
