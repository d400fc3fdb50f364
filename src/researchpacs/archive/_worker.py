"""`Worker`: one thread's hold on the jobs it has claimed."""

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from researchpacs.archive._job import CANCELLED, Job, JobStoppedError, end_job, job_of
from researchpacs.storage.ledger import Ledger

__all__ = ["Worker"]

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


class Worker:
    """One thread's hold on the jobs it has claimed; made by `Jobs.worker`."""

    def __init__(
        self, ledger: Ledger, tmp: Path, *, release_dead: Callable[[], None], tell: Callable[[], None]
    ) -> None:
        self._release_dead = release_dead
        self._tell = tell
        self._ledger = ledger
        self._began: dict[str, float] = {}
        self.tmp = tmp
        """A workspace for temporary files."""
        self.name = tmp.name

    def claim(self, kinds: Collection[str]) -> Job | None:
        """Take the most urgent job of these kinds; None where there is none. No other worker gets the same."""
        self._release_dead()
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
        return job_of(row)

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
                end_job(con, job.id, "failure", error=CANCELLED, details="called off", runtime_s=self._spent(job))
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
            self._tell()
            raise JobStoppedError(f"the job was told to {row['wanted']}")

    def succeed(self, job: Job, content: Mapping[str, Any]) -> None:
        """End a job well."""
        with self._ledger.writing() as con:
            self._held(con, job)
            end_job(con, job.id, "success", content=json.dumps(dict(content)), runtime_s=self._spent(job))
        self._tell()

    def fail(self, job: Job, error: str, details: str) -> None:
        """End a job badly; `details` without patient data."""
        with self._ledger.writing() as con:
            self._held(con, job)
            end_job(con, job.id, "failure", error=error, details=details, runtime_s=self._spent(job))
        self._tell()

    def put_off(self, job: Job, error: str, details: str, *, delay_s: float) -> None:
        """Try a job again after a while; `details` without patient data."""
        with self._ledger.writing() as con:
            self._held(con, job)
            con.execute(
                "update jobs set state = 'retry', worker = null, wanted = null, put_off = put_off + 1, error = ?, "
                "error_details = ?, not_before = ?, runtime_s = runtime_s + ? where id = ?",
                (error, details, time.time() + delay_s, self._spent(job), job.id),
            )
        self._tell()

    def _held(self, con: sqlite3.Connection, job: Job) -> sqlite3.Row:
        query = "select wanted from jobs where id = ? and worker = ? and state = 'running'"
        row: sqlite3.Row | None = con.execute(query, (job.id, self.name)).fetchone()
        if row is None:
            raise JobStoppedError("the job is not this worker's any more")
        return row

    def _spent(self, job: Job) -> float:
        return time.monotonic() - self._began[job.id]
