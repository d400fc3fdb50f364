"""Workers of a server: jobs outlive their server, are tried again, and are stopped between two steps."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import researchpacs as rp
from researchpacs.archive import Job, Worker
from researchpacs.errors import RemoteError
from researchpacs.model import Identity
from researchpacs.server import jobs as workers
from researchpacs.server import orthanc
from researchpacs.server.jobs import JobRunner, Retry, Run
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.jobs import answer_as_job
from researchpacs.storage.home import Home
from researchpacs.testing import small_ct

CT = small_ct()
COUNT = 80
SERIES = Identity("A", "", CT.StudyInstanceUID, CT.SeriesInstanceUID, "").orthanc_id("series")

_SERVE = """
import sys, time
import researchpacs as rp
from researchpacs.server import orthanc
from researchpacs.server.jobs import JobRunner

with rp.connect(sys.argv[1]) as pacs, JobRunner(pacs, orthanc.JOBS):
    time.sleep(60)
"""


@pytest.fixture
def pacs(home: Path) -> Iterator["rp._pacs.Pacs"]:
    with rp.connect(home) as pacs:
        yield pacs


def test_a_job_whose_server_was_killed_is_done_once_by_the_next(pacs: "rp._pacs.Pacs") -> None:
    pacs.ingest([small_ct(number) for number in range(COUNT)])
    job = pacs.archive.jobs.submit(
        "ResourceModification",
        {"Operation": "modify", "Level": "series", "Resources": [SERIES], "Bulk": False, "Secret": "s",
         "Options": {"Replace": {"SeriesDescription": "new"}, "KeepSource": False}},
    )  # fmt: skip
    server = subprocess.Popen([sys.executable, "-c", _SERVE, pacs.home])
    try:
        _wait(lambda: pacs.archive.resources.counts().instances > COUNT)
    finally:
        server.kill()
        server.wait()
    assert not pacs.archive.jobs.get(job.id).done
    with JobRunner(pacs, orthanc.JOBS):
        done = pacs.archive.jobs.wait(job.id, timeout_s=60)
    assert (done.state, done.attempts, done.error) == ("success", 2, None)
    assert done.content["InstancesCount"] == COUNT
    assert "Stored" not in done.content
    made = pacs.search("series")
    assert [(one.SeriesDescription, one.instance_count) for one in made] == [("new", COUNT)]
    assert pacs.verify().problems == ()


def test_a_peer_that_does_not_answer_is_tried_again_and_then_given_up(
    pacs: "rp._pacs.Pacs", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_IDLE_S", 0.02)
    tried = []

    def send(run: Run) -> Mapping[str, Any]:
        tried.append(run.job.id)
        if run.job.kind == "Never" or len(tried) < 3:
            raise RemoteError("the peer is gone")
        return {"Sent": 1}

    with JobRunner(pacs, {"Soon": send, "Never": send}, workers=1, retry=Retry(first_s=0.01)):
        soon = pacs.archive.jobs.wait(pacs.archive.jobs.submit("Soon", {}).id, timeout_s=30)
        assert (soon.state, soon.attempts, soon.content) == ("success", 3, {"Sent": 1})
        never = pacs.archive.jobs.wait(pacs.archive.jobs.submit("Never", {}).id, timeout_s=30)
    assert (never.state, never.attempts, never.error, never.error_details) == (
        "failure", 5, "RemoteError", "the peer is gone",
    )  # fmt: skip


def test_waits_double_up_to_a_cap_and_end() -> None:
    retry = Retry(attempts=7, first_s=2, longest_s=10)
    assert [retry.delay_s(times) for times in range(7)] == [2, 4, 8, 10, 10, 10, None]


def test_a_job_whose_end_cannot_be_noted_is_done_again(pacs: "rp._pacs.Pacs", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_IDLE_S", 0.02)
    full = iter([True, True, False])
    succeed = Worker.succeed

    def on_a_full_disk(worker: Worker, job: Job, content: Mapping[str, Any]) -> None:
        if next(full):
            raise OSError(28, "No space left on device")
        succeed(worker, job, content)

    monkeypatch.setattr(Worker, "succeed", on_a_full_disk)
    with JobRunner(pacs, {"Fine": lambda run: {}}, workers=1):
        done = pacs.archive.jobs.wait(pacs.archive.jobs.submit("Fine", {}).id, timeout_s=30)
    assert (done.state, done.attempts) == ("success", 3)


def test_a_worker_that_finds_no_room_begins_when_there_is_some(
    pacs: "rp._pacs.Pacs", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_IDLE_S", 0.02)
    full = iter([True, True, False])
    workspace = Home.workspace

    def on_a_full_disk(home: Home) -> Any:
        if next(full, False):
            raise OSError(28, "No space left on device")
        return workspace(home)

    monkeypatch.setattr(Home, "workspace", on_a_full_disk)
    job = pacs.archive.jobs.submit("Fine", {})
    with JobRunner(pacs, {"Fine": lambda run: {}}, workers=1):
        assert pacs.archive.jobs.wait(job.id, timeout_s=30).state == "success"


def test_a_server_that_ends_gives_its_job_back_at_the_next_step(pacs: "rp._pacs.Pacs") -> None:
    begun = []

    def endless(run: Run) -> Mapping[str, Any]:
        begun.append(run.job.id)
        while True:
            run.step(0.5)
            time.sleep(0.01)

    job = pacs.archive.jobs.submit("Endless", {})
    with JobRunner(pacs, {"Endless": endless}, workers=2):
        _wait(lambda: begun == [job.id])
    found = pacs.archive.jobs.get(job.id)
    assert (found.state, found.progress) == ("pending", 0.5)


def test_a_bug_ends_its_job_only_and_quotes_nothing(pacs: "rp._pacs.Pacs", caplog: pytest.LogCaptureFixture) -> None:
    def broken(run: Run) -> Mapping[str, Any]:
        raise ValueError("Secret^Name")

    with JobRunner(pacs, {"Broken": broken, "Fine": lambda run: {}}, workers=1):
        first = pacs.archive.jobs.wait(pacs.archive.jobs.submit("Broken", {}).id, timeout_s=30)
        second = pacs.archive.jobs.wait(pacs.archive.jobs.submit("Fine", {}).id, timeout_s=30)
    assert (first.state, second.state) == ("failure", "success")
    assert "Secret" not in first.error_details + caplog.text
    assert "ValueError" in caplog.text


def _wait(until: Any) -> None:
    give_up = time.monotonic() + 30
    while not until():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def test_requests_that_wait_for_jobs_leave_threads_for_all_others(pacs: "rp._pacs.Pacs") -> None:
    pacs.ingest([small_ct()])
    request = {"Operation": "modify", "Level": "series", "Resources": [SERIES]}
    statuses: list[int] = []

    def ask() -> None:
        try:
            answer_as_job(pacs, "ResourceModification", request, options={})  # nobody works on it
        except OrthancError as error:
            statuses.append(error.status)

    asking = [threading.Thread(target=ask) for _ in range(30)]
    for one in asking:
        one.start()
    wait_until(lambda: len(statuses) == 14 and len(pacs.archive.jobs.all()) == 16)
    assert statuses == [503] * 14
    for job in pacs.archive.jobs.all():
        pacs.archive.jobs.cancel(job.id)
    for one in asking:
        one.join(timeout=30)
    assert statuses == [503] * 14 + [500] * 16


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(300):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it does not come to hold")
