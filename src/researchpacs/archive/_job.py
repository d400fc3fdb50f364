"""`Job`: a piece of work and what has become of it, and its row in the ledger."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from researchpacs.errors import ResearchPacsError

__all__ = ["CANCELLED", "MIGRATIONS", "Job", "JobState", "JobStoppedError", "end_job", "job_of"]

JobState: TypeAlias = Literal["pending", "running", "success", "failure", "paused", "retry"]

MIGRATIONS = (
    """
    alter table jobs add column put_off integer not null default 0;
    alter table jobs add column lost integer not null default 0;
    """,
)
"""Of what `researchpacs.archive` keeps of jobs, since its second migration."""

CANCELLED = "Cancelled"
"""`Job.error` of a job that somebody called off."""
_DONE = ("success", "failure")


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
    put_off: int
    """How often it failed and was left for later."""
    runtime_s: float
    created_at: str
    """UTC, ISO 8601."""
    completed_at: str | None
    """UTC, ISO 8601; None while there is work left."""

    @property
    def done(self) -> bool:
        """Whether nothing will happen to it any more by itself."""
        return self.state in _DONE


def end_job(
    con: sqlite3.Connection,
    job_id: str,
    state: JobState,
    *,
    error: str | None = None,
    details: str = "",
    content: str | None = None,
    runtime_s: float = 0.0,
) -> None:
    """End a job; to be called inside `Ledger.writing`."""
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


def job_of(row: sqlite3.Row) -> Job:
    """Read a row of the table ``jobs``."""
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
        put_off=row["put_off"],
        runtime_s=row["runtime_s"],
        created_at=row["created_at"],
        completed_at=row["completed_at"],
    )
