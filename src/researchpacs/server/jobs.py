"""Workers: the threads of a server that take jobs from the ledger and do them.

Any number of servers and processes may work on one archive; the ledger gives each job to one worker only. A handler has
to be able to begin anew: its process may have been killed in the middle of its last attempt.
"""

import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from researchpacs.archive import Job, JobStoppedError, Worker
from researchpacs.errors import RemoteError, ResearchPacsError
from researchpacs.storage.connections import DiskFullError

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["Handler", "JobRunner", "Retry", "Run", "where"]

_log = logging.getLogger(__name__)

_IDLE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and when to try again what failed at a peer, or for want of space."""

    attempts: int = 5
    """In all; then the job fails with the reason."""
    first_s: float = 2.0
    """Until the second attempt; each wait after that is twice as long."""
    longest_s: float = 300.0
    """A wait is never longer."""

    def delay_s(self, put_off: int) -> float | None:
        """How long to wait when it was put off that often before; None to give up."""
        if put_off + 1 >= self.attempts:
            return None
        return float(min(self.first_s * 2.0 ** min(put_off, 60), self.longest_s))


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at a job, as its handler sees it."""

    pacs: "Pacs"
    job: Job
    worker: Worker
    ending: threading.Event
    """Set when the server ends; the job goes back into the queue then."""

    @property
    def tmp(self) -> Path:
        """A folder for temporary files, on the disk of the archive."""
        return self.worker.tmp

    def step(self, progress: float, content: Mapping[str, Any] | None = None) -> None:
        """Tell how far the work is, from 0 to 1; to be called often, because here it can be stopped.

        Parameters
        ----------
        content
            What is shown of the job from now on, without patient data; None leaves it.

        Raises
        ------
        JobStoppedError
            The job was called off or paused. Let it pass.
        """
        self.worker.step(self.job, progress, content)
        if self.ending.is_set():
            raise JobStoppedError("the server ends")


Handler: TypeAlias = Callable[[Run], Mapping[str, Any]]
"""Does a job and returns what is shown of it in the end, without patient data. A RemoteError is tried again."""


class JobRunner:
    """Threads that do jobs until they are stopped; a context manager.

    Parameters
    ----------
    pacs
        Whose jobs.
    handlers
        What does them, by kind of job.
    workers
        How many jobs are done at a time.
    retry
        What becomes of a job that fails at a peer.
    """

    def __init__(
        self,
        pacs: "Pacs",
        handlers: Mapping[str, Handler],
        *,
        workers: int = 2,
        retry: Retry = Retry(),
    ) -> None:
        self._pacs = pacs
        self._handlers = dict(handlers)
        self._retry = retry
        self._workers = workers
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "JobRunner":
        self._stopping.clear()
        for number in range(self._workers):
            thread = threading.Thread(target=self._work, name=f"researchpacs-job-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Finish what can be stopped at its next step; what was not done is done by the next who starts."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._pacs.archive.jobs.worker() as worker:
                    self._serve(worker)
            except Exception as error:  # such as a full disk, which is none for ever: the thread goes on
                _log.error("a worker could not go on: %s", where(error))
                self._stopping.wait(_IDLE_S)

    def _serve(self, worker: Worker) -> None:
        """Do job after job; an exception gives back what the worker has, as leaving it does."""
        while not self._stopping.is_set():
            try:
                job = worker.claim(self._handlers)
                if job is None:
                    self._pacs.archive.jobs.wait_for_work(_IDLE_S)
                else:
                    self._attempt(Run(self._pacs, job, worker, self._stopping))
            except JobStoppedError:
                continue

    def _attempt(self, run: Run) -> None:
        job, worker = run.job, run.worker
        try:
            content = self._handlers[job.kind](run)
        except JobStoppedError:
            raise
        except (RemoteError, DiskFullError) as error:
            # Clients know the kinds of the contract; which of them a peer's error is stands in the message.
            kind = RemoteError if isinstance(error, RemoteError) else DiskFullError
            delay_s = self._retry.delay_s(job.put_off)
            if delay_s is None:
                worker.fail(job, kind.__name__, str(error))
            else:
                worker.put_off(job, kind.__name__, str(error), delay_s=delay_s)
        except ResearchPacsError as error:
            worker.fail(job, type(error).__name__, str(error))
        except Exception as error:
            # The message may quote a data set, so only the kind and the place are told.
            _log.error("job %s (%s) failed: %s", job.id, job.kind, where(error))
            worker.fail(job, type(error).__name__, "an internal error; the server's log says where")
        else:
            worker.succeed(job, content)


def where(error: Exception) -> str:
    """Say what went wrong and where, without the message, which may quote a data set."""
    places = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {places[-1].filename}:{places[-1].lineno}" if places else type(error).__name__
