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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from researchpacs.archive._job import CANCELLED, MIGRATIONS, Job, JobState, end_job, job_of
from researchpacs.archive._worker import Worker
from researchpacs.errors import ConflictError, NotFoundError
from researchpacs.storage.home import Home
from researchpacs.storage.ledger import Ledger

__all__ = ["Jobs"]

_KEPT = 100
_KEPT_FAILURES = 10_000
_MOST_LOST = 5
# What failed can be resubmitted, so it is kept for longer than what succeeded.
_OLD = """
select id
from jobs
where state = ?
order by completed_at desc, number desc
limit -1 offset ?
"""
_FINISHED: tuple[tuple[JobState, int], ...] = (("success", _KEPT), ("failure", _KEPT_FAILURES))
_INSERT = "insert into jobs (id, kind, state, priority, request, content) values (?, ?, 'pending', ?, ?, ?)"


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
        ledger.migrate("jobs", MIGRATIONS)

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
            con.execute(_INSERT, row)
            old = _forget_old(con)
        self._clear(old)
        return self.get(row[0])

    def submit_all(
        self,
        kind: str,
        work: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
        *,
        also: Callable[[sqlite3.Connection], None] = lambda _: None,
    ) -> None:
        """Put much work into the queue, and note something with it: both are durable when this returns, or neither.

        Parameters
        ----------
        kind
            What a worker knows it by.
        work
            What to do and what is shown of it, as for `submit`.
        also
            Called inside the transaction.
        """
        rows = [(str(uuid.uuid4()), kind, 0, json.dumps(dict(one)), json.dumps(dict(shown))) for one, shown in work]
        with self._ledger.writing() as con:
            con.executemany(_INSERT, rows)
            also(con)
            old = _forget_old(con)
        self._clear(old)

    def _clear(self, old: Iterable[str]) -> None:
        for one in old:
            self.output(one).unlink(missing_ok=True)
        self._tell()

    def get(self, job_id: str) -> Job:
        """Find a job.

        Raises
        ------
        NotFoundError
            There is none of this id, or not any more: the newest 100 that succeeded are kept, and the newest 10,000
            that failed.
        """
        with self._ledger.reading() as con:
            row = con.execute("select * from jobs where id = ?", (job_id,)).fetchone()
        if row is None:
            raise NotFoundError("no job has this id")
        return job_of(row)

    def all(self) -> list[Job]:
        """Every job, oldest first."""
        with self._ledger.reading() as con:
            return [job_of(row) for row in con.execute("select * from jobs order by number")]

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
            "update jobs set state = 'pending', wanted = null, attempts = 0, put_off = 0, lost = 0, progress = 0, "
            "runtime_s = 0, error = null, error_details = '', completed_at = null where id = ?",
        )

    def _steer(self, job_id: str, wanted: str, idle: Collection[str], becomes: JobState) -> None:
        with self._ledger.writing() as con:
            state = _state(con, job_id)
            if state == "running":
                con.execute("update jobs set wanted = ? where id = ?", (wanted, job_id))
            elif state not in idle:
                raise ConflictError(f"the job's state is {state}; it cannot be told to {wanted}")
            elif becomes == "failure":
                end_job(con, job_id, "failure", error=CANCELLED, details="called off")
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
    def worker(self) -> Iterator[Worker]:
        """Enter as a worker: what this process's death frees again."""
        with self._home.workspace() as tmp:
            worker = Worker(self._ledger, tmp, release_dead=self.release_dead, tell=self._tell)
            try:
                yield worker
            finally:
                self.release(worker.name)

    def wait_for_work(self, timeout_s: float) -> None:
        """Return when something has changed in this process, or after a while: other processes do not tell."""
        with self._news:
            self._news.wait(timeout_s)

    def release(self, worker: str, *, died: bool = False) -> None:
        """Give back what a worker had claimed; what it was asked to do meanwhile is done.

        Parameters
        ----------
        died
            The worker's process is gone: a job that this happens to again and again may be the reason, and fails.
        """
        with self._ledger.writing() as con:
            query = "select id, wanted, lost from jobs where worker = ? and state = 'running'"
            rows = con.execute(query, (worker,)).fetchall()
            for job_id, wanted, before in rows:
                lost = before + died
                if wanted == "cancel":
                    end_job(con, job_id, "failure", error=CANCELLED, details="called off")
                elif lost >= _MOST_LOST:
                    details = f"its worker died {lost} times at it"
                    end_job(con, job_id, "failure", error="WorkerLost", details=details)
                else:
                    con.execute(
                        "update jobs set state = iif(wanted = 'pause', 'paused', 'pending'), worker = null, "
                        "wanted = null, lost = ? where id = ?",
                        (lost, job_id),
                    )
        if rows:
            self._tell()

    def release_dead(self) -> None:
        """Give back what was claimed by workers whose process is gone."""
        with self._ledger.reading() as con:
            rows = con.execute("select distinct worker from jobs where state = 'running'").fetchall()
        for (worker,) in rows:
            if not self._alive(worker):
                self.release(worker, died=True)

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


def _forget_old(con: sqlite3.Connection) -> list[str]:
    old = [one for state, kept in _FINISHED for (one,) in con.execute(_OLD, (state, kept)).fetchall()]
    con.executemany("delete from jobs where id = ?", [(one,) for one in old])
    return old


def _state(con: sqlite3.Connection, job_id: str) -> str:
    row = con.execute("select state from jobs where id = ?", (job_id,)).fetchone()
    if row is None:
        raise NotFoundError("no job has this id")
    return str(row["state"])
