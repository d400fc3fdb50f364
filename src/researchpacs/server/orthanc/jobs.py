"""Jobs: ``/jobs``, and how an operation becomes one: done while the client waits, or in its own time."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from researchpacs.archive import Job, Jobs
from researchpacs.errors import NotFoundError, RemoteError, ResearchPacsError
from researchpacs.server.jobs import Run
from researchpacs.server.orthanc.answers import as_json, flag
from researchpacs.server.orthanc.errors import OrthancError, unknown_resource

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["GivenUpError", "answer_as_job", "giving_up", "is_asynchronous", "job_error", "routes", "stepping"]

T = TypeVar("T")
_NOTE_S = 0.5
_STATES = {
    "pending": "Pending",
    "running": "Running",
    "success": "Success",
    "failure": "Failure",
    "paused": "Paused",
    "retry": "Retry",
}
_ERRORS: Mapping[str, tuple[int, int, str]] = {
    "Cancelled": (500, 37, "This job was canceled"),
    "ConflictError": (
        409,
        43,
        "A bad revision number was provided, which might indicate conflict between multiple writers",
    ),
    "GivenUpError": (500, 9, "Error in the network protocol"),
    "InvalidInputError": (400, 8, "Bad request"),
    "NotFoundError": (404, 17, "Unknown resource"),
    "PixelDataError": (415, 15, "Bad file format"),
    "RemoteError": (500, 9, "Error in the network protocol"),
    "UnsupportedError": (501, 2, "Not implemented yet"),
}
"""HTTP status, OrthancStatus and its words, by the kind of failure."""
_INTERNAL = (500, -1, "Internal error")

_WAITING = 16
"""Requests that may wait for jobs at once: each holds one of the server's 40 threads."""
_waiting = BoundedSemaphore(_WAITING)


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""
    jobs = pacs.archive.jobs

    def read_all(request: Request) -> Response:
        found = jobs.all()
        return as_json([_object(job) for job in found] if flag(request, "expand") else [job.id for job in found])

    def read(request: Request) -> Response:
        try:
            return as_json(_object(jobs.get(request.path_params["id"])))
        except NotFoundError:
            return unknown_resource()

    def output(request: Request) -> Response:
        return _output(jobs, request)

    def steering(steer: Callable[[str], None]) -> Callable[[Request], Response]:
        def endpoint(request: Request) -> Response:
            try:
                steer(request.path_params["id"])
            except NotFoundError:
                return unknown_resource()
            return as_json({})

        return endpoint

    orders = {"cancel": jobs.cancel, "pause": jobs.pause, "resume": jobs.resume, "resubmit": jobs.resubmit}
    return [
        Route("/jobs", read_all),
        Route("/jobs/{id}", read),
        *(Route(f"/jobs/{{id}}/{name}", steering(steer), methods=["POST"]) for name, steer in orders.items()),
        Route("/jobs/{id}/{key}", output),
    ]


class GivenUpError(ResearchPacsError):
    """A peer failed while a client waited for the job, so that it is not tried again."""


@contextmanager
def giving_up(*, waited: bool) -> Iterator[None]:
    """Fail at once where a client waits for the job; without one a RemoteError is tried again later."""
    try:
        yield
    except RemoteError as error:
        if waited:
            raise GivenUpError(str(error)) from error
        raise


def stepping(run: Run, items: Sequence[T]) -> Iterator[T]:
    """Give items one after the other, and tell twice a second how far the work is: there it can be stopped."""
    told = float("-inf")
    for number, item in enumerate(items):
        if time.monotonic() - told > _NOTE_S:
            run.step(number / len(items))
            told = time.monotonic()
        yield item


def is_asynchronous(options: Mapping[str, Any], *, default: bool = False) -> bool:
    """Whether a request wants to be answered before its work is done."""
    if "Asynchronous" in options:
        return bool(options["Asynchronous"])
    return not options["Synchronous"] if "Synchronous" in options else default


def answer_as_job(
    pacs: "Pacs",
    kind: str,
    request: Mapping[str, Any],
    *,
    options: Mapping[str, Any],
    default: bool = False,
    content: Mapping[str, Any] | None = None,
) -> Response:
    """Put work into the queue; answer with the job, or with its result when it is done.

    Where too many wait already the answer is 503, so that all other requests are still served.

    Parameters
    ----------
    kind
        Of job.
    request
        What its handler needs to know.
    options
        The body of the client's request: ``Asynchronous``, ``Synchronous``, ``Priority``.
    default
        Whether it is asynchronous where the client says nothing.
    content
        What is shown of it from the start beside its description, without patient data.
    """
    priority = options.get("Priority", 0)
    if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > 1_000_000:
        raise OrthancError(400, "Priority has to be an integer")
    shown = {"Description": "REST API", **(content or {})}
    jobs = pacs.archive.jobs
    if is_asynchronous(options, default=default):
        job = jobs.submit(kind, request, priority=priority, content=shown)
        return as_json({"ID": job.id, "Path": f"/jobs/{job.id}"})
    if not _waiting.acquire(blocking=False):
        raise OrthancError(503, f"{_WAITING} requests wait for jobs already; ask for it with Asynchronous, or later")
    try:
        done = jobs.wait(jobs.submit(kind, request, priority=priority, content=shown).id)
    finally:
        _waiting.release()
    if done.state != "success":
        raise job_error(done)
    return as_json(dict(done.content))


def job_error(job: Job) -> OrthancError:
    """The error that a failed job is, to who waited for it."""
    status, code, words = _ERRORS.get(job.error or "", _INTERNAL)
    return OrthancError(status, job.error_details, orthanc=(code, words))


def _object(job: Job) -> dict[str, Any]:
    code, words = (0, "Success") if job.error is None else _ERRORS.get(job.error, _INTERNAL)[1:]
    made = {
        "Content": dict(job.content),
        "CreationTime": _moment(job.created_at),
        "EffectiveRuntime": round(job.runtime_s, 3),
        "ErrorCode": code,
        "ErrorDescription": words,
        "ErrorDetails": job.error_details,
        "ID": job.id,
        "Priority": job.priority,
        "Progress": round(100 * job.progress),
        "State": _STATES[job.state],
        "Timestamp": datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f"),
        "Type": job.kind,
    }
    if job.completed_at is not None:
        made["CompletionTime"] = _moment(job.completed_at)
    return made


def _output(jobs: Jobs, request: Request) -> Response:
    try:
        job = jobs.get(request.path_params["id"])
    except NotFoundError:
        return unknown_resource()
    path = jobs.output(job.id)
    if request.path_params["key"] != "archive" or job.state != "success" or not path.is_file():
        return unknown_resource()
    name = job.content.get("Filename", f"{job.id}.zip")
    return FileResponse(path, media_type="application/zip", filename=str(name))


def _moment(iso: str) -> str:
    """With microseconds, as job times have them."""
    return datetime.fromisoformat(iso).strftime("%Y%m%dT%H%M%S.%f")
