"""Jobs: durable, claimed once, steered at their next step, free again when their worker dies."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from researchpacs.archive import EmbeddedArchive
from researchpacs.archive._job import Job, JobStoppedError
from researchpacs.archive._jobs import Jobs
from researchpacs.errors import ConflictError, NotFoundError
from researchpacs.storage.home import Home

_CLAIM_AND_HANG = """
import sys, time
from researchpacs.archive import EmbeddedArchive
from researchpacs.archive._jobs import Jobs
from researchpacs.storage.home import Home

home = Home.open(sys.argv[1])
with Jobs(home, EmbeddedArchive(home).ledger).worker() as worker:
    job = worker.claim({"copy"})
    worker.step(job, 0.5)
    print(job.id, flush=True)
    time.sleep(60)
"""

_CLAIM_ALL = """
import sys
from researchpacs.archive import EmbeddedArchive
from researchpacs.archive._jobs import Jobs
from researchpacs.storage.home import Home

home = Home.open(sys.argv[1])
with Jobs(home, EmbeddedArchive(home).ledger).worker() as worker:
    while job := worker.claim({"copy"}):
        worker.succeed(job, {})
        print(job.id, flush=True)
"""


@pytest.fixture
def archive(home: Path) -> Iterator[EmbeddedArchive]:
    archive = EmbeddedArchive(Home.open(home))
    yield archive
    archive.close()


@pytest.fixture
def jobs(archive: EmbeddedArchive) -> Jobs:
    return Jobs(archive.home, archive.ledger)


def test_a_job_is_there_after_a_restart_with_all_that_it_was_told(jobs: Jobs, archive: EmbeddedArchive) -> None:
    job = jobs.submit("copy", {"Resources": ["a"]}, content={"n": 1}, priority=3)
    archive.close()
    found = Jobs(archive.home, EmbeddedArchive(archive.home).ledger).get(job.id)
    assert (found, found.state, found.request, found.content) == (job, "pending", {"Resources": ["a"]}, {"n": 1})


def test_the_most_urgent_comes_first_then_the_oldest_and_unknown_kinds_wait(jobs: Jobs) -> None:
    low, first, second = (jobs.submit("copy", {}, priority=priority) for priority in (0, 5, 5))
    jobs.submit("other", {}, priority=9)
    with jobs.worker() as worker:
        claimed = [worker.claim({"copy"}) for _ in range(4)]
    assert [job.id if job else None for job in claimed] == [first.id, second.id, low.id, None]


def test_no_job_is_claimed_twice_by_threads_and_processes(jobs: Jobs, archive: EmbeddedArchive) -> None:
    wanted = {jobs.submit("copy", {}).id for _ in range(40)}

    def work() -> list[str]:
        done = []
        with jobs.worker() as worker:
            while job := worker.claim({"copy"}):
                worker.succeed(job, {})
                done.append(job.id)
        return done

    other = subprocess.Popen([sys.executable, "-c", _CLAIM_ALL, archive.home.path], stdout=subprocess.PIPE, text=True)
    with ThreadPoolExecutor(3) as pool:
        mine = [job_id for found in pool.map(lambda _: work(), range(3)) for job_id in found]
    theirs = other.communicate(timeout=60)[0].split()
    assert len(mine) + len(theirs) == len(wanted)
    assert {*mine, *theirs} == wanted
    assert {job.state for job in jobs.all()} == {"success"}


def test_a_job_whose_worker_was_killed_is_claimed_again_at_once(jobs: Jobs, archive: EmbeddedArchive) -> None:
    job = jobs.submit("copy", {})
    process = subprocess.Popen(
        [sys.executable, "-c", _CLAIM_AND_HANG, archive.home.path], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == job.id
        with jobs.worker() as worker:
            assert worker.claim({"copy"}) is None, "it is alive"
            process.kill()
            process.wait()
            again = worker.claim({"copy"})
            assert again is not None
            assert (again.id, again.attempts, again.progress) == (job.id, 2, 0.5)
            worker.succeed(again, {"n": 1})
    finally:
        process.kill()
        process.communicate()
    assert jobs.get(job.id).state == "success"


def test_a_job_that_kills_its_workers_is_given_up(jobs: Jobs) -> None:
    job = jobs.submit("copy", {})
    for _ in range(5):
        with jobs.worker() as worker:
            assert worker.claim({"copy"})
            jobs.release(worker.name, died=True)
    assert (jobs.get(job.id).state, jobs.get(job.id).error) == ("failure", "WorkerLost")


def test_a_worker_that_lost_its_claim_can_end_nothing(jobs: Jobs) -> None:
    jobs.submit("copy", {})
    with jobs.worker() as worker:
        job = _claimed(worker.claim({"copy"}))
        jobs.release(worker.name)
        for call in (lambda: worker.step(job, 1.0), lambda: worker.succeed(job, {}), lambda: worker.fail(job, "E", "")):
            with pytest.raises(JobStoppedError):
                call()
    assert jobs.get(job.id).state == "pending"


def test_neither_a_server_that_ends_nor_a_peer_that_fails_makes_a_job_look_deadly(jobs: Jobs) -> None:
    job = jobs.submit("copy", {})
    for _ in range(6):
        with jobs.worker() as worker:
            assert worker.claim({"copy"})
    for _ in range(6):
        with jobs.worker() as worker:
            worker.put_off(_claimed(worker.claim({"copy"})), "RemoteError", "gone", delay_s=0)
    with jobs.worker() as worker:
        assert worker.claim({"copy"})
        jobs.release(worker.name, died=True)
    found = jobs.get(job.id)
    assert (found.state, found.attempts, found.put_off) == ("pending", 13, 6)


def test_much_work_is_put_in_with_a_note_or_not_at_all(jobs: Jobs) -> None:
    def note(con: sqlite3.Connection) -> None:
        con.execute("insert into journal (kind, level, orthanc_id) values ('new', 'series', 'x')")

    def fail(con: sqlite3.Connection) -> None:
        note(con)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        jobs.submit_all("copy", [({"n": 1}, {}), ({"n": 2}, {})], also=fail)
    assert jobs.all() == []
    jobs.submit_all("copy", [({"n": 1}, {"shown": 1}), ({"n": 2}, {})], also=note)
    assert [(job.request, job.content) for job in jobs.all()] == [({"n": 1}, {"shown": 1}), ({"n": 2}, {})]


def test_waiting_jobs_are_paused_resumed_and_cancelled_at_once(jobs: Jobs) -> None:
    job = jobs.submit("copy", {})
    jobs.pause(job.id)
    with jobs.worker() as worker:
        assert worker.claim({"copy"}) is None
    jobs.resume(job.id)
    assert jobs.get(job.id).state == "pending"
    jobs.cancel(job.id)
    assert (jobs.get(job.id).state, jobs.get(job.id).error) == ("failure", "Cancelled")
    with pytest.raises(ConflictError):
        jobs.cancel(job.id)
    with pytest.raises(ConflictError):
        jobs.resume(job.id)
    jobs.resubmit(job.id)
    assert (jobs.get(job.id).state, jobs.get(job.id).error) == ("pending", None)
    with pytest.raises(ConflictError):
        jobs.resubmit(job.id)
    for steer in (jobs.cancel, jobs.pause, jobs.resume, jobs.resubmit, jobs.get):
        with pytest.raises(NotFoundError):
            steer("nope")


@pytest.mark.parametrize(("order", "state"), [("cancel", "failure"), ("pause", "paused")])
def test_a_running_job_is_steered_at_its_next_step(jobs: Jobs, order: str, state: str) -> None:
    jobs.submit("copy", {})
    with jobs.worker() as worker:
        job = _claimed(worker.claim({"copy"}))
        worker.step(job, 0.25, {"seen": 1})
        getattr(jobs, order)(job.id)
        assert jobs.get(job.id).state == "running"
        with pytest.raises(JobStoppedError):
            worker.step(job, 0.5)
    assert jobs.get(job.id).state == state
    assert jobs.get(job.id).content == {"seen": 1}


def test_a_cancelled_job_stays_cancelled_when_its_worker_dies_before_the_next_step(jobs: Jobs) -> None:
    jobs.submit("copy", {})
    with jobs.worker() as worker:
        job = _claimed(worker.claim({"copy"}))
        jobs.cancel(job.id)
    assert (jobs.get(job.id).state, jobs.get(job.id).error) == ("failure", "Cancelled")


def test_a_job_put_off_waits_and_is_claimed_again(jobs: Jobs) -> None:
    jobs.submit("copy", {})
    with jobs.worker() as worker:
        job = _claimed(worker.claim({"copy"}))
        worker.put_off(job, "RemoteError", "gone", delay_s=3600)
        assert jobs.get(job.id).state == "retry"
        assert worker.claim({"copy"}) is None
        jobs.cancel(job.id)
        jobs.resubmit(job.id)
        job = _claimed(worker.claim({"copy"}))
        worker.put_off(job, "RemoteError", "gone", delay_s=0)
        assert _claimed(worker.claim({"copy"})).attempts == 2


def test_waiting_returns_when_a_job_is_done(jobs: Jobs) -> None:
    job = jobs.submit("copy", {})
    assert jobs.wait(job.id, timeout_s=0.05).state == "pending"

    def work() -> None:
        with jobs.worker() as worker:
            worker.fail(_claimed(worker.claim({"copy"})), "PixelDataError", "cannot decode")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work)
        done = jobs.wait(job.id, timeout_s=30)
    assert (done.state, done.error, done.error_details) == ("failure", "PixelDataError", "cannot decode")
    assert done.completed_at is not None


def test_the_oldest_finished_jobs_go_and_their_outputs_with_them(jobs: Jobs) -> None:
    first = jobs.submit("copy", {})
    jobs.output(first.id).write_bytes(b"made")
    with jobs.worker() as worker:
        worker.succeed(_claimed(worker.claim({"copy"})), {})
        for _ in range(101):
            jobs.submit("copy", {})
            worker.succeed(_claimed(worker.claim({"copy"})), {})
        jobs.submit("copy", {})
    assert not jobs.output(first.id).exists()
    with pytest.raises(NotFoundError):
        jobs.get(first.id)
    assert len(jobs.all()) == 101


def _claimed(job: Job | None) -> Job:
    assert job is not None
    return job
