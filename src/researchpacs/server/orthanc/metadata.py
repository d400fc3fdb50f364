"""Metadata: ``/{level}/{id}/metadata``.

Those that Orthanc keeps by itself are derived and cannot be written; a user's have numbers from 1024 on and revisions.
"""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio.from_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive import Revision, Subject
from researchpacs.archive.resources import Resource
from researchpacs.errors import NotFoundError
from researchpacs.model import Level
from researchpacs.server.orthanc.answers import as_json, as_text, flag
from researchpacs.server.orthanc.errors import OrthancError, unknown_resource
from researchpacs.server.orthanc.names import PLURAL, moment
from researchpacs.server.orthanc.objects import PROTECTED, index_in_series
from researchpacs.server.orthanc.revisions import etag, is_known, seen_revision, telling_conflicts

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["check_number", "metadata_of", "routes"]

_FIRST, _LAST = 1024, 65535
_INEXISTENT = (7, "Accessing an inexistent item")


def metadata_of(pacs: "Pacs", one: Resource) -> dict[str, str]:
    """All metadata of an object by name, as text."""
    own = Subject.of(one.level, one.identity)
    names = [name for name in pacs.archive.metadata.names(own) if name != PROTECTED]
    kept = {name: pacs.archive.metadata.get(own, name).value for name in names}
    return _derived(one) | {name: value.decode("utf-8", "replace") for name, value in kept.items()}


def check_number(name: str, derived: Mapping[str, Any]) -> None:
    """Refuse a name that a user cannot write: 403 for what is kept by itself, 404 for what is no name."""
    if name in derived:
        raise OrthancError(403, "this is kept by the server itself")
    # One number has one spelling, or it would be two things.
    if not (name.isascii() and name.isdigit()) or name.startswith("0"):
        raise OrthancError(404, "names are numbers from 1024 to 65535", orthanc=_INEXISTENT)
    if not _FIRST <= int(name[:6]) <= _LAST:
        raise OrthancError(403, "names are numbers from 1024 to 65535")


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""
    return [route for level, plural in PLURAL.items() for route in _of_level(pacs, level, plural)]


def _of_level(pacs: "Pacs", level: Level, plural: str) -> list[Route]:
    def resource(request: Request) -> Resource | None:
        return pacs.archive.resources.one(level, request.path_params["id"])

    def read_all(request: Request) -> Response:
        one = resource(request)
        if one is None:
            return unknown_resource()
        found = metadata_of(pacs, one)
        return as_json(found if flag(request, "expand") else list(found))

    def read(request: Request) -> Response:
        one = resource(request)
        return _read(pacs, one, request) if one else unknown_resource()

    def write(request: Request) -> Response:
        one = resource(request)
        return _write(pacs, one, request) if one else unknown_resource()

    def remove(request: Request) -> Response:
        one = resource(request)
        return _remove(pacs, one, request) if one else unknown_resource()

    path = f"/{plural}/{{id}}/metadata/{{name}}"
    return [
        Route(f"/{plural}/{{id}}/metadata", read_all),
        Route(path, read, methods=["GET"]),
        Route(path, write, methods=["PUT"]),
        Route(path, remove, methods=["DELETE"]),
    ]


def _read(pacs: "Pacs", one: Resource, request: Request) -> Response:
    name = request.path_params["name"]
    derived = _derived(one)
    if name in derived:
        value = derived[name].encode()
        revision = Revision(0, hashlib.md5(value, usedforsecurity=False).hexdigest())
    else:
        try:
            value, revision = pacs.archive.metadata.get(Subject.of(one.level, one.identity), name)
        except NotFoundError:
            return unknown_resource()
    headers = {"ETag": etag(revision)}
    if is_known(request, revision):
        return Response(status_code=304, headers=headers)
    return Response(value, media_type="text/plain", headers=headers)


def _write(pacs: "Pacs", one: Resource, request: Request) -> Response:
    name = request.path_params["name"]
    check_number(name, _derived(one))
    value = anyio.from_thread.run(request.body)
    with telling_conflicts():
        own = Subject.of(one.level, one.identity)
        revision = pacs.archive.metadata.put(own, name, value, seen=seen_revision(request))
    return Response("", media_type="text/plain", headers={"ETag": etag(revision)})


def _remove(pacs: "Pacs", one: Resource, request: Request) -> Response:
    name = request.path_params["name"]
    check_number(name, _derived(one))
    try:
        with telling_conflicts():
            own = Subject.of(one.level, one.identity)
            pacs.archive.metadata.remove(own, name, seen=seen_revision(request))
    except NotFoundError:
        return unknown_resource()
    return as_text("")


def _derived(one: Resource) -> dict[str, str]:
    """What Orthanc keeps by itself, as far as it is known here."""
    if one.stored is None:
        return {"LastUpdate": moment(one.updated_at)}
    index = index_in_series(one)
    return {
        **({"IndexInSeries": str(index)} if index is not None else {}),
        **({"PixelDataOffset": str(one.stored.header_length)} if one.stored.header_length < one.stored.size else {}),
        "ReceptionDate": moment(one.stored.stored_at),
        "SopClassUid": one.stored.sop_class_uid,
        "TransferSyntax": one.stored.transfer_syntax_uid,
    }
