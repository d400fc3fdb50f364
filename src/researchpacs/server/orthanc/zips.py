"""Zip archives: ``/{level}/{id}/archive`` and ``media``, ``/tools/create-archive`` and ``create-media``."""

import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from researchpacs.archive import Stored
from researchpacs.dicom.transcode import TARGETS
from researchpacs.errors import NotFoundError
from researchpacs.model import Level
from researchpacs.server.jobs import Handler, Run
from researchpacs.server.orthanc.answers import flag
from researchpacs.server.orthanc.bodies import body_json, body_object
from researchpacs.server.orthanc.errors import OrthancError, unknown_resource
from researchpacs.server.orthanc.jobs import answer_as_job, is_asynchronous
from researchpacs.server.orthanc.names import LEVELS, PLURAL
from researchpacs.server.zips import Member, instance_members, media_members, stream_zip
from researchpacs.storage.durable import sync_directory, sync_file

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["HANDLERS", "instances_of", "levels_of", "routes", "transcode_of"]

Kind: TypeAlias = Literal["Archive", "Media"]


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""
    made = []
    kinds: tuple[tuple[str, Kind], ...] = (("archive", "Archive"), ("media", "Media"))
    made += _of_tools(pacs, "/tools/create-media-extended", "Media", extended=True)
    for word, kind in kinds:
        for level, plural in PLURAL.items():
            if level != "instance":
                made += _of_level(pacs, level, f"/{plural}/{{id}}/{word}", kind)
        made += _of_tools(pacs, f"/tools/create-{word}", kind)
    return made


def instances_of(pacs: "Pacs", names: Sequence[str], level: Level | None = None) -> list[Stored]:
    """All instances of some objects, each once.

    Parameters
    ----------
    names
        Orthanc's names of patients, studies, series and instances.
    level
        Of all of them, where it is known.

    Raises
    ------
    NotFoundError
        A name that nothing has.
    """
    found: dict[str, Stored] = {}
    for name in names:
        known = [level] if level else levels_of(pacs, name)
        instances = [stored for one in known for stored in pacs.archive.resources.instances(one, name)]
        if not instances:
            raise NotFoundError("one of the resources is not in the archive")
        found |= {stored.key: stored for stored in instances}
    return list(found.values())


def levels_of(pacs: "Pacs", name: str) -> list[Level]:
    """The level of the object with this name; empty where nothing has it."""
    return [level for level in LEVELS if pacs.archive.resources.one(level, name) is not None]


def transcode_of(options: Mapping[str, Any]) -> str | None:
    """The transfer syntax that a request wants, None for what is stored."""
    wanted = options.get("Transcode") or options.get("transcode")
    if wanted is None:
        return None
    if wanted not in TARGETS:
        raise OrthancError(400, f"these transfer syntaxes can be written: {', '.join(sorted(TARGETS))}")
    return str(wanted)


def _of_level(pacs: "Pacs", level: Level, path: str, kind: Kind) -> list[Route]:
    def stream(request: Request) -> Response:
        return answer(request, _asked(request))

    def create(request: Request) -> Response:
        return answer(request, body_object(request))

    def answer(request: Request, options: Mapping[str, Any]) -> Response:
        name = request.path_params["id"]
        if pacs.archive.resources.one(level, name) is None:
            return unknown_resource()
        return _answer(pacs, kind, [name], options, level=level, filename=f"{name}.zip")

    return [Route(path, stream, methods=["GET"]), Route(path, create, methods=["POST"])]


def _asked(request: Request) -> dict[str, Any]:
    """The options of a request that has no body: how the archive is made, and never a job.

    Any page can have a browser ask with GET, as for a picture, so that must not begin work that goes on by itself.
    """
    found = {name: value for name, value in request.query_params.items() if name.lower() in ("filename", "transcode")}
    return found | ({"Extended": True} if flag(request, "extended") else {})


def _of_tools(pacs: "Pacs", path: str, kind: Kind, *, extended: bool = False) -> list[Route]:
    def stream(request: Request) -> Response:
        names = [one for one in request.query_params.get("resources", "").split(",") if one]
        return _answer(pacs, kind, names, _asked(request) | ({"Extended": True} if extended else {}))

    def create(request: Request) -> Response:
        body = body_json(request)
        options = {"Resources": body} if isinstance(body, list) else body
        names = options.get("Resources") if isinstance(options, dict) else None
        if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
            raise OrthancError(400, "Resources has to be a list of names")
        return _answer(pacs, kind, names, {**options, "Extended": True} if extended else options)

    return [Route(path, stream, methods=["GET"]), Route(path, create, methods=["POST"])]


def _answer(
    pacs: "Pacs",
    kind: Kind,
    names: Sequence[str],
    options: Mapping[str, Any],
    *,
    level: Level | None = None,
    filename: str = "Archive.zip",
) -> Response:
    to = transcode_of(options)
    extended = bool(options.get("Extended"))
    filename = str(options.get("Filename") or options.get("filename") or filename)
    instances = instances_of(pacs, names, level)
    if is_asynchronous(options):
        request: dict[str, Any] = {"Resources": list(names), "Level": level, "Transcode": to, "Filename": filename}
        request["Extended"] = extended
        return answer_as_job(pacs, kind, request, options=options)
    headers = {"Content-Disposition": f'attachment; filename="{_header_safe(filename)}"'}
    chunks = _streamed(pacs, kind, instances, to, extended=extended)
    # The first is made now: what is wrong with it is still an answer then.
    begun = itertools.chain([next(chunks)], chunks)
    return StreamingResponse(begun, media_type="application/zip", headers=headers)


def _streamed(
    pacs: "Pacs", kind: Kind, instances: Sequence[Stored], to: str | None, *, extended: bool
) -> Iterator[bytes]:
    with _members(pacs, kind, instances, to, extended=extended) as members:
        yield from stream_zip(members)


@contextmanager
def _members(
    pacs: "Pacs", kind: Kind, instances: Sequence[Stored], to: str | None, *, extended: bool
) -> Iterator[Iterator[Member]]:
    if kind == "Archive":
        yield instance_members(pacs, instances, to)
        return
    with pacs.archive.home.workspace() as tmp:
        yield media_members(pacs, instances, tmp, to, extended=extended)


def _make_zip(run: Run) -> Mapping[str, Any]:
    """Write the zip archive of a job to its output."""
    request = run.job.request
    instances = instances_of(run.pacs, request["Resources"], request["Level"])
    kind: Kind = "Media" if run.job.kind == "Media" else "Archive"
    blob = run.tmp / f"{run.job.id}.zip"
    size = 0

    def counted(members: Iterator[Member]) -> Iterator[Member]:
        for number, member in enumerate(members):
            run.step(number / (len(instances) + 1))
            yield member

    medium = _members(run.pacs, kind, instances, request["Transcode"], extended=request.get("Extended", False))
    try:
        with medium as members, blob.open("wb") as file:
            for chunk in stream_zip(counted(members)):
                file.write(chunk)
                size += len(chunk)
            file.flush()
            sync_file(file.fileno())
        place = run.pacs.archive.jobs.output(run.job.id)
        shutil.move(blob, place)
        sync_directory(place.parent)
    finally:
        blob.unlink(missing_ok=True)
    total = sum(stored.size for stored in instances)
    return {
        **run.job.content,
        "ArchiveSize": str(size),
        "ArchiveSizeMB": size >> 20,
        "InstancesCount": len(instances),
        "UncompressedSize": str(total),
        "UncompressedSizeMB": total >> 20,
    }


HANDLERS: Mapping[str, Handler] = {"Archive": _make_zip, "Media": _make_zip}
"""By kind of job."""


def _header_safe(name: str) -> str:
    return "".join(one for one in name if one.isascii() and one.isprintable() and one not in '"\\/')[:128]
