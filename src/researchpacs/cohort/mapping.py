"""Run a function on the volume of each series, here or on a cluster, and keep what comes of it."""

import json
import os
import platform
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from researchpacs.cohort._code import code_digest, name_of
from researchpacs.cohort._members import Member, contents_of, refusal_of
from researchpacs.cohort._results import Kept, Outcome, as_values
from researchpacs.cohort._segments import Segmentation, as_labels, masks_on, segmentations_of
from researchpacs.errors import InvalidInputError, MissingExtraError, ResearchPacsError
from researchpacs.ingest._progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from researchpacs.cohort.part import Part, Source

__all__ = ["mapped"]

_MOST_THREADS = 4
_LONGEST_ERROR = 500
_RECORDED = ("researchpacs", "numpy", "xarray", "pydicom")


@dataclass(frozen=True, slots=True)
class _Work:
    """What is done with each series."""

    function: Callable[..., Mapping[str, Any]]
    segments: tuple[str, ...]
    """Labels of the segments whose masks the function takes; empty where it takes none."""
    on_irregular: str
    blank: Outcome
    """All of an outcome that does not depend on the series."""

    def outcome(self, task: "_Task", *, values: Mapping[str, Any] | None = None, error: str | None = None) -> Outcome:
        versions = {"python": platform.python_version(), **{name: version(name) for name in _RECORDED}}
        return replace(
            self.blank,
            identity=task.member.identity,
            segmentations=json.dumps([one.sop_uid for one in task.segmentations]) if self.segments else None,
            versions=json.dumps(versions),
            computed_at=datetime.now(UTC).isoformat(timespec="microseconds"),
            values=values or {},
            error=error,
        )


@dataclass(frozen=True, slots=True)
class _Task:
    """A series to be read, and what else its result depends on."""

    member: Member
    segmentations: tuple[Segmentation, ...] = ()

    @property
    def kept_as(self) -> Member:
        """The member as its result is kept: other segmentations are other input."""
        digests = "".join(one.sha256 for one in self.segmentations)
        whole = sha256(f"{self.member.digest}{digests}".encode()).hexdigest() if digests else self.member.digest
        return replace(self.member, digest=whole)


def mapped(
    part: "Part",
    function: Callable[..., Mapping[str, Any]],
    *,
    segments: Sequence[str] | None = None,
    on_irregular: str = "raise",
    client: Any = None,
    save: str | None = None,
    workers: int | None = None,
    progress: bool | None = None,
) -> "pd.DataFrame":
    """Do the work of `Part.map`, which says what the parameters are."""
    import pandas as pd

    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise InvalidInputError(f"workers={workers!r}: expected a positive whole number")
    work = _work(function, as_labels(segments), on_irregular)
    kept = None if save is None else Kept(part.source.catalog.features, save, work.blank.code)
    outcomes: dict[tuple[str, str, str], Outcome] = {}
    todo = []
    for task, error in _tasks(part, work):
        identity = task.member.identity
        if error is not None:
            outcomes[identity] = work.outcome(task, error=_told(error))
        elif kept is not None and (known := kept.get(task.kept_as)):
            outcomes[identity] = known
        else:
            todo.append(task)
    found = _computed(part.source, todo, work, *_executor(client, workers))
    with closing(found), Progress(wanted=progress, what="map", total=len(todo), unit="series") as bar:
        for task, outcome in bar.count(found):
            outcomes[task.member.identity] = outcome
            # What failed is tried again by the next run.
            if kept is not None and outcome.error is None:
                kept.put(task.kept_as, outcome)
    ordered = [outcomes[member.identity] for member in part.members]
    if kept is not None:
        kept.publish(ordered)
    return pd.DataFrame([one.row() for one in ordered])


def _work(function: Any, segments: tuple[str, ...], on_irregular: str) -> _Work:
    options = f" on_irregular={on_irregular!r}" + (f" segments={segments!r}" if segments else "")
    code = sha256(f"{code_digest(function)}{options}".encode()).hexdigest()
    return _Work(function, segments, on_irregular, Outcome(("", "", ""), name_of(function), code, "", ""))


def _tasks(part: "Part", work: _Work) -> Generator[tuple[_Task, ResearchPacsError | None]]:
    """What is to be read for each member; or why it cannot be."""
    catalog, archive = part.source.catalog, part.source.archive
    held = {one.identity: one for one in contents_of(part.members, catalog, archive)}
    segmented = segmentations_of(part.members, work.segments, catalog, archive) if work.segments else {}
    for member in part.members:
        error = refusal_of(member, held.get(member.identity))
        found = segmented.get(member.identity, ())
        if error is None and isinstance(found, ResearchPacsError):
            error = found
        yield _Task(member, () if isinstance(found, ResearchPacsError) else found), error


def _computed(
    source: "Source", todo: list[_Task], work: _Work, executor: Executor, limit: int
) -> Generator[tuple[_Task, Outcome]]:
    """Give outcomes as they come; never more volumes are under way than there are workers."""
    waiting: dict[Future[Outcome], _Task] = {}
    tasks = iter(todo)
    try:
        while True:
            while len(waiting) < limit and (task := next(tasks, None)) is not None:
                waiting[executor.submit(_compute, source, task, work)] = task
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                task = waiting.pop(future)
                error = future.exception()
                yield task, future.result() if error is None else work.outcome(task, error=_told(error))
    finally:
        for future in waiting:
            future.cancel()
        executor.shutdown()


def _executor(client: Any, workers: int | None) -> tuple[Executor, int]:
    if client is None:
        limit = workers or min(_MOST_THREADS, os.cpu_count() or 1)
        return ThreadPoolExecutor(limit, thread_name_prefix="map"), limit
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError("a client of a cluster", "distributed") from error
    if not isinstance(client, Client) or client.asynchronous:
        raise InvalidInputError("client= takes a distributed.Client that is not asynchronous")
    threads = sum(client.nthreads().values())
    if not threads:
        raise InvalidInputError("the cluster of this client has no workers yet; client.wait_for_workers(1) waits")
    # One failure is a row, so a task that took its worker with it is not tried on all others.
    return client.get_executor(pure=False, retries=0), min(threads, workers or threads)


def _compute(source: "Source", task: _Task, work: _Work) -> Outcome:
    """Read one volume, with the masks that are wanted, and run the function on it."""
    from researchpacs.volume import read_volume

    try:
        vol = read_volume(source.handle(task.member), on_irregular=work.on_irregular)
        wanted = [masks_on(vol, task.segmentations, work.segments, source.archive)] if work.segments else []
        return work.outcome(task, values=as_values(work.function(vol, *wanted)))
    except Exception as error:  # whatever it is, the other series go on
        return work.outcome(task, error=_told(error))


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]
