"""Jobs: work that outlives a request, a process and a restart, each step of it claimed by one worker only.

A worker is a thread with a workspace of the home, whose lock the system releases when the process dies: a running job
whose worker has lost its lock is free to be claimed again, at once and without a clock. So a handler has to be able to
begin its work anew.
"""

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from filelock import FileLock, Timeout

from researchpacs.errors import ConflictError, NotFoundError, ResearchPacsError
from researchpacs.storage.home import Home
from researchpacs.storage.ledger import Ledger

__all__ = ["Job", "JobState", "JobStoppedError", "Jobs", "Worker"]

JobState: TypeAlias = Literal["pending", "running", "success", "failure", "paused", "retry"]

CANCELLED = "Cancelled"
"""`Job.error` of a job that somebody called off."""

_KEPT = 100
_ATTEMPTS = 5
_DONE = ("success", "failure")
_CLAIM = """
update jobs
set state = 'running', worker = :worker, wanted = null, attempts = attempts + 1, error = null, error_details = ''
where id = (
    select id
    from jobs
    where (state = 'pending' or (state = 'retry' and not_before <= :now))
        and kind in (select value from json_each(:kinds))
    order by priority desc, number
    limit 1
)
returning *
"""
_OLD = """
select id
from jobs
where state in ('success', 'failure')
order by completed_at desc, number desc
limit -1 offset ?
"""


class JobStoppedError(ResearchPacsError):
    """The work on a job has to end here: it was called off, paused, or given to another worker."""


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work and what has become of it."""

    id: str
    kind: str
    state: JobState
    priority: int
    """The higher, the earlier."""
    request: Mapping[str, Any]
    """What to do; may hold patient data."""
    content: Mapping[str, Any]
    """What is shown of it; never holds patient data."""
    progress: float
    """From 0 to 1."""
    error: str | None
    """The kind of failure: the name of an error's class."""
    error_details: str
    """Without patient data."""
    attempts: int
    """How often it was begun."""
    runtime_s: float
    created_at: str
    """UTC, ISO 8601."""
    completed_at: str | None
    """UTC, ISO 8601; None while there is work left."""

    @property
    def done(self) -> bool:
        """Whether nothing will happen to it any more by itself."""
        return self.state in _DONE


class Jobs:
    """The jobs of a home; any number of processes may submit, watch and work.

    Parameters
    ----------
    home
        Where workers have their workspaces and jobs their outputs.
    ledger
        The home's ledger, with the archive's tables.
    """

    def __init__(self, home: Home, ledger: Ledger) -> None:
        self._home = home
        self._ledger = ledger
        self._news = threading.Condition()

    def submit(
        self, kind: str, request: Mapping[str, Any], *, content: Mapping[str, Any] | None = None, priority: int = 0
    ) -> Job:
        """Put work into the queue; it is durable when this returns.

        Parameters
        ----------
        kind
            What a worker knows it by.
        request
            What to do, as JSON can hold it.
        content
            What is shown of it from the start, without patient data.
        priority
            The higher, the earlier.
        """
        row = (str(uuid.uuid4()), kind, priority, json.dumps(dict(request)), json.dumps(dict(content or {})))
        with self._ledger.writing() as con:
            con.execute(
                "insert into jobs (id, kind, state, priority, request, content) values (?, ?, 'pending', ?, ?, ?)", row
            )
            old = [found for (found,) in con.execute(_OLD, (_KEPT,)).fetchall()]
            con.executemany("delete from jobs where id = ?", [(one,) for one in old])
        for one in old:
            self.output(one).unlink(missing_ok=True)
        self._tell()
        return self.get(row[0])

    def get(self, job_id: str) -> Job:
        """Find a job.

        Raises
        ------
        NotFoundError
            There is none of this id, or not any more: of finished jobs the newest 100 are kept.
        """
        with self._ledger.reading() as con:
            row = con.execute("select * from jobs where id = ?", (job_id,)).fetchone()
        if row is None:
            raise NotFoundError("no job has this id")
        return _job(row)

    def all(self) -> list[Job]:
        """Every job, oldest first."""
        with self._ledger.reading() as con:
            return [_job(row) for row in con.execute("select * from jobs order by number")]

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Return a job when it is done, or as it stands after a while."""
        give_up = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with self._news:
                job = self.get(job_id)
                if job.done or (give_up is not None and time.monotonic() >= give_up):
                    return job
                # Another process may be the one that ends it.
                self._news.wait(0.1)

    def output(self, job_id: str) -> Path:
        """Where the file that a job makes belongs; it is removed with the job."""
        self._home.outputs.mkdir(exist_ok=True)
        return self._home.outputs / str(uuid.UUID(job_id))

    # -- steer --------------------------------------------------------------------------------------------------------

    def cancel(self, job_id: str) -> None:
        """Call a job off: at once where nobody works on it, else at its worker's next step.

        Raises
        ------
        ConflictError
            It is done already.
        """
        self._steer(job_id, "cancel", ("pending", "paused", "retry"), "failure")

    def pause(self, job_id: str) -> None:
        """Let a job rest until `resume`; errors as for `cancel`."""
        self._steer(job_id, "pause", ("pending", "retry"), "paused")

    def resume(self, job_id: str) -> None:
        """Go on with a job that rests.

        Raises
        ------
        ConflictError
            It does not rest.
        """
        self._move(job_id, ("paused",), "update jobs set state = 'pending', wanted = null where id = ?")

    def resubmit(self, job_id: str) -> None:
        """Begin a job anew that failed.

        Raises
        ------
        ConflictError
            It did not fail.
        """
        self._move(
            job_id,
            ("failure",),
            "update jobs set state = 'pending', wanted = null, attempts = 0, progress = 0, runtime_s = 0, "
            "error = null, error_details = '', completed_at = null where id = ?",
        )

    def _steer(self, job_id: str, wanted: str, idle: Collection[str], becomes: JobState) -> None:
        with self._ledger.writing() as con:
            state = _state(con, job_id)
            if state == "running":
                con.execute("update jobs set wanted = ? where id = ?", (wanted, job_id))
            elif state not in idle:
                raise ConflictError(f"the job's state is {state}; it cannot be told to {wanted}")
            elif becomes == "failure":
                _end(con, job_id, "failure", error=CANCELLED, details="called off")
            else:
                con.execute("update jobs set state = ? where id = ?", (becomes, job_id))
        self._tell()

    def _move(self, job_id: str, states: Collection[str], statement: str) -> None:
        with self._ledger.writing() as con:
            state = _state(con, job_id)
            if state not in states:
                raise ConflictError(f"the job's state is {state}; it has to be {' or '.join(states)}")
            con.execute(statement, (job_id,))
        self._tell()

    # -- work ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def worker(self) -> "Iterator[Worker]":
        """Enter as a worker: what this process's death frees again."""
        with self._home.workspace() as tmp:
            worker = Worker(self, self._ledger, tmp)
            try:
                yield worker
            finally:
                self.release(worker.name)

    def wait_for_work(self, timeout_s: float) -> None:
        """Return when something has changed in this process, or after a while: other processes do not tell."""
        with self._news:
            self._news.wait(timeout_s)

    def release(self, worker: str) -> None:
        """Give back what a worker had claimed; what it was asked to do meanwhile is done."""
        with self._ledger.writing() as con:
            rows = con.execute(
                "select id, wanted, attempts from jobs where worker = ? and state = 'running'", (worker,)
            ).fetchall()
            for job_id, wanted, attempts in rows:
                if wanted == "cancel":
                    _end(con, job_id, "failure", error=CANCELLED, details="called off")
                elif attempts >= _ATTEMPTS:
                    details = f"its worker died {attempts} times at it"
                    _end(con, job_id, "failure", error="WorkerLost", details=details)
                else:
                    con.execute(
                        "update jobs set state = iif(wanted = 'pause', 'paused', 'pending'), worker = null, "
                        "wanted = null where id = ?",
                        (job_id,),
                    )
        if rows:
            self._tell()

    def release_dead(self) -> None:
        """Give back what was claimed by workers whose process is gone."""
        with self._ledger.reading() as con:
            rows = con.execute("select distinct worker from jobs where state = 'running'").fetchall()
        for (worker,) in rows:
            if not self._alive(worker):
                self.release(worker)

    def _alive(self, worker: str) -> bool:
        path = self._home.tmp / f"{worker}.lock"
        if not path.exists():
            return False
        lock = FileLock(path)
        try:
            with lock.acquire(blocking=False):
                return False
        except Timeout:
            return True

    def _tell(self) -> None:
        with self._news:
            self._news.notify_all()


class Worker:
    """One thread's hold on the jobs it has claimed; made by `Jobs.worker`."""

    def __init__(self, jobs: Jobs, ledger: Ledger, tmp: Path) -> None:
        self._jobs = jobs
        self._ledger = ledger
        self._began: dict[str, float] = {}
        self.tmp = tmp
        """A workspace for temporary files."""
        self.name = tmp.name

    def claim(self, kinds: Collection[str]) -> Job | None:
        """Take the most urgent job of these kinds; None where there is none. No other worker gets the same."""
        self._jobs.release_dead()
        values = {"worker": self.name, "now": time.time(), "kinds": json.dumps(sorted(kinds))}
        with self._ledger.reading() as con:
            waiting = con.execute("select 1 from jobs where state in ('pending', 'retry') limit 1").fetchone()
        if waiting is None:
            return None
        with self._ledger.writing() as con:
            row = con.execute(_CLAIM, values).fetchone()
        if row is None:
            return None
        self._began[row["id"]] = time.monotonic()
        return _job(row)

    def step(self, job: Job, progress: float, content: Mapping[str, Any] | None = None) -> None:
        """Tell how far the work is.

        Raises
        ------
        JobStoppedError
            The job was called off or paused, which is noted by then, or is not this worker's any more.
        """
        with self._ledger.writing() as con:
            row = self._held(con, job)
            if row["wanted"] == "cancel":
                _end(con, job.id, "failure", error=CANCELLED, details="called off", runtime_s=self._spent(job))
            elif row["wanted"] == "pause":
                con.execute(
                    "update jobs set state = 'paused', worker = null, wanted = null, runtime_s = runtime_s + ? "
                    "where id = ?",
                    (self._spent(job), job.id),
                )
            con.execute(
                "update jobs set progress = ?, content = coalesce(?, content) where id = ?",
                (min(max(progress, 0.0), 1.0), None if content is None else json.dumps(dict(content)), job.id),
            )
        if row["wanted"]:
            self._jobs._tell()
            raise JobStoppedError(f"the job was told to {row['wanted']}")

    def succeed(self, job: Job, content: Mapping[str, Any]) -> None:
        """End a job well."""
        with self._ledger.writing() as con:
            self._held(con, job)
            _end(con, job.id, "success", content=json.dumps(dict(content)), runtime_s=self._spent(job))
        self._jobs._tell()

    def fail(self, job: Job, error: str, details: str) -> None:
        """End a job badly; `details` without patient data."""
        with self._ledger.writing() as con:
            self._held(con, job)
            _end(con, job.id, "failure", error=error, details=details, runtime_s=self._spent(job))
        self._jobs._tell()

    def put_off(self, job: Job, error: str, details: str, *, delay_s: float) -> None:
        """Try a job again after a while; `details` without patient data."""
        with self._ledger.writing() as con:
            self._held(con, job)
            con.execute(
                "update jobs set state = 'retry', worker = null, error = ?, error_details = ?, not_before = ?, "
                "runtime_s = runtime_s + ? where id = ?",
                (error, details, time.time() + delay_s, self._spent(job), job.id),
            )
        self._jobs._tell()

    def _held(self, con: sqlite3.Connection, job: Job) -> sqlite3.Row:
        query = "select wanted from jobs where id = ? and worker = ? and state = 'running'"
        row: sqlite3.Row | None = con.execute(query, (job.id, self.name)).fetchone()
        if row is None:
            raise JobStoppedError("the job is not this worker's any more")
        return row

    def _spent(self, job: Job) -> float:
        return time.monotonic() - self._began[job.id]


def _state(con: sqlite3.Connection, job_id: str) -> str:
    row = con.execute("select state from jobs where id = ?", (job_id,)).fetchone()
    if row is None:
        raise NotFoundError("no job has this id")
    return str(row["state"])


def _end(
    con: sqlite3.Connection,
    job_id: str,
    state: JobState,
    *,
    error: str | None = None,
    details: str = "",
    content: str | None = None,
    runtime_s: float = 0.0,
) -> None:
    con.execute(
        "update jobs set state = :state, worker = null, wanted = null, error = :error, error_details = :details, "
        "content = coalesce(:content, content), progress = iif(:state = 'success', 1.0, progress), "
        "runtime_s = runtime_s + :runtime_s, completed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') where id = :id",
        {
            "id": job_id,
            "state": state,
            "error": error,
            "details": details,
            "content": content,
            "runtime_s": runtime_s,
        },
    )


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        kind=row["kind"],
        state=row["state"],
        priority=row["priority"],
        request=json.loads(row["request"]),
        content=json.loads(row["content"]),
        progress=row["progress"],
        error=row["error"],
        error_details=row["error_details"],
        attempts=row["attempts"],
        runtime_s=row["runtime_s"],
        created_at=row["created_at"],
        completed_at=row["completed_at"],
    )
