"""Run a function on the volume of each series, here or on a cluster, and keep what comes of it."""

import json
import os
import platform
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from researchpacs.cohort._code import code_digest, name_of
from researchpacs.cohort._members import Member, contents_of
from researchpacs.cohort._results import Kept, Outcome, as_values
from researchpacs.errors import InvalidInputError, MissingExtraError, NotFoundError
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

    function: Callable[[Any], Mapping[str, Any]]
    on_irregular: str
    blank: Outcome
    """All of an outcome that does not depend on the series."""

    def outcome(self, member: Member, *, values: Mapping[str, Any] | None = None, error: str | None = None) -> Outcome:
        versions = {"python": platform.python_version(), **{name: version(name) for name in _RECORDED}}
        return replace(
            self.blank,
            identity=member.identity,
            versions=json.dumps(versions),
            computed_at=datetime.now(UTC).isoformat(timespec="microseconds"),
            values=values or {},
            error=error,
        )


def mapped(
    part: "Part",
    function: Callable[[Any], Mapping[str, Any]],
    *,
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
    work = _work(function, on_irregular)
    kept = None if save is None else Kept(part.source.catalog.features, save, work.blank.code)
    held = {one.identity: one for one in contents_of(part.members, part.source.catalog, part.source.archive)}
    outcomes: dict[tuple[str, str, str], Outcome] = {}
    todo = []
    for member in part.members:
        refusal = _refusal(member, held.get(member.identity))
        if refusal:
            outcomes[member.identity] = work.outcome(member, error=refusal)
        elif kept is not None and (known := kept.get(member)):
            outcomes[member.identity] = known
        else:
            todo.append(member)
    found = _computed(part.source, todo, work, *_executor(client, workers))
    with closing(found), Progress(wanted=progress, what="map", total=len(todo), unit="series") as bar:
        for member, outcome in bar.count(found):
            outcomes[member.identity] = outcome
            # What failed is tried again by the next run.
            if kept is not None and outcome.error is None:
                kept.put(member, outcome)
    ordered = [outcomes[member.identity] for member in part.members]
    if kept is not None:
        kept.publish(ordered)
    return pd.DataFrame([one.row() for one in ordered])


def _work(function: Any, on_irregular: str) -> _Work:
    code = sha256(f"{code_digest(function)} on_irregular={on_irregular!r}".encode()).hexdigest()
    return _Work(function, on_irregular, Outcome(("", "", ""), name_of(function), code, "", ""))


def _refusal(member: Member, held: Member | None) -> str | None:
    """Why a series cannot be read as it was frozen."""
    if held is None:
        return _told(NotFoundError("the series is not in the archive any more; cohort.diff() lists what changed"))
    if held.digest != member.digest:
        return _told(InvalidInputError("other instances or files than when the cohort was frozen; freeze it anew"))
    return None


def _computed(
    source: "Source", todo: list[Member], work: _Work, executor: Executor, limit: int
) -> Generator[tuple[Member, Outcome]]:
    """Give outcomes as they come; never more volumes are under way than there are workers."""
    waiting: dict[Future[Outcome], Member] = {}
    members = iter(todo)
    try:
        while True:
            while len(waiting) < limit and (member := next(members, None)) is not None:
                waiting[executor.submit(_compute, source, member, work)] = member
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                member = waiting.pop(future)
                error = future.exception()
                yield member, future.result() if error is None else work.outcome(member, error=_told(error))
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


def _compute(source: "Source", member: Member, work: _Work) -> Outcome:
    """Read one volume and run the function on it."""
    from researchpacs.volume import read_volume

    try:
        vol = read_volume(source.handle(member), on_irregular=work.on_irregular)
        return work.outcome(member, values=as_values(work.function(vol)))
    except Exception as error:  # whatever it is, the other series go on
        return work.outcome(member, error=_told(error))


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]
