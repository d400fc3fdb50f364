"""Patients, studies, series and instances: lists, objects, parents, children, deletion."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive import Subject
from researchpacs.archive.question import Question
from researchpacs.archive.resources import Resource
from researchpacs.model import Level
from researchpacs.server.orthanc.answers import as_json, as_text, flag, number
from researchpacs.server.orthanc.bodies import body_text
from researchpacs.server.orthanc.errors import OrthancError, unknown_resource
from researchpacs.server.orthanc.names import LEVELS, PLURAL, TYPE
from researchpacs.server.orthanc.objects import PROTECTED, as_objects, format_of, is_protected, requested_of

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

_MB = 1 << 20


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""
    found: list[Route] = []
    for depth, level in enumerate(LEVELS):
        path = f"/{PLURAL[level]}"
        found += [
            Route(path, _listing(pacs, level), methods=["GET"]),
            Route(f"{path}/{{id}}", _object(pacs, level), methods=["GET"]),
            Route(f"{path}/{{id}}", _deletion(pacs, level), methods=["DELETE"]),
            Route(f"{path}/{{id}}/statistics", _statistics(pacs, level), methods=["GET"]),
        ]
        found += [
            Route(f"{path}/{{id}}/{PLURAL[below]}", _descendants(pacs, level, below), methods=["GET"])
            for below in LEVELS[depth + 1 :]
        ]
        found += [
            Route(f"{path}/{{id}}/{above}", _ancestor(pacs, level, above), methods=["GET"]) for above in LEVELS[:depth]
        ]
    found += [
        Route("/patients/{id}/protected", _protected(pacs), methods=["GET"]),
        Route("/patients/{id}/protected", _protect(pacs), methods=["PUT"]),
    ]
    return found


def _listing(pacs: "Pacs", level: Level) -> Any:
    def listing(request: Request) -> Response:
        params = request.query_params
        for one, other in (("since", "limit"), ("limit", "since")):
            if one in params and other not in params:
                raise OrthancError(400, f'Missing "{other}" argument for GET request against: /{PLURAL[level]}')
        limit = number(request, "limit", 0)
        question = Question(level, limit=limit or None, offset=number(request, "since", 0))
        return _answer(pacs, request, level, pacs.archive.resources.names(question), expand=flag(request, "expand"))

    return listing


def _object(pacs: "Pacs", level: Level) -> Any:
    def one(request: Request) -> Response:
        found = pacs.archive.resources.one(level, request.path_params["id"])
        return unknown_resource() if found is None else _answer_one(pacs, request, found)

    return one


def _descendants(pacs: "Pacs", level: Level, below: Level) -> Any:
    def descendants(request: Request) -> Response:
        name = request.path_params["id"]
        names = pacs.archive.resources.names(Question(below, parents={level: name}))
        if not names and pacs.archive.resources.one(level, name) is None:
            raise OrthancError(404)
        expand = "expand" not in request.query_params or flag(request, "expand")
        return _answer(pacs, request, below, names, expand=expand)

    return descendants


def _ancestor(pacs: "Pacs", level: Level, above: Level) -> Any:
    def ancestor(request: Request) -> Response:
        found = pacs.archive.resources.one(level, request.path_params["id"])
        parent = found and pacs.archive.resources.one(above, found.identity.orthanc_id(above))
        if parent is None:
            raise OrthancError(404)
        return _answer_one(pacs, request, parent)

    return ancestor


def _deletion(pacs: "Pacs", level: Level) -> Any:
    def delete(request: Request) -> Response:
        resources = pacs.archive.resources
        found = resources.one(level, request.path_params["id"])
        if found is None:
            return unknown_resource()
        keys = [stored.key for stored in resources.instances(level, found.orthanc_id)]
        pacs.archive.delete_instances(keys)
        for above in reversed(LEVELS[: LEVELS.index(level)]):
            name = found.identity.orthanc_id(above)
            if resources.one(above, name) is not None:
                left = {"ID": name, "Path": f"/{PLURAL[above]}/{name}", "Type": TYPE[above]}
                return as_json({"RemainingAncestor": left})
        return as_json({"RemainingAncestor": None})

    return delete


def _statistics(pacs: "Pacs", level: Level) -> Any:
    def statistics(request: Request) -> Response:
        resources, name = pacs.archive.resources, request.path_params["id"]
        if resources.one(level, name) is None:
            raise OrthancError(404)
        made: dict[str, Any] = {
            f"Count{PLURAL[below].capitalize()}": len(resources.names(Question(below, parents={level: name})))
            for below in LEVELS[LEVELS.index(level) + 1 :]
        }
        size = sum(stored.size for stored in resources.instances(level, name))
        for prefix in ("Disk", "Uncompressed", "DicomDisk", "DicomUncompressed"):
            made |= {f"{prefix}Size": str(size), f"{prefix}SizeMB": size // _MB}
        return as_json(made)

    return statistics


def _protected(pacs: "Pacs") -> Any:
    def protected(request: Request) -> Response:
        found = pacs.archive.resources.one("patient", request.path_params["id"])
        if found is None:
            raise OrthancError(404)
        return as_text("1" if is_protected(pacs, found) else "0")

    return protected


def _protect(pacs: "Pacs") -> Any:
    def protect(request: Request) -> Response:
        found = pacs.archive.resources.one("patient", request.path_params["id"])
        wanted = body_text(request).strip()
        if found is None:
            raise OrthancError(400, orthanc=(3, "Parameter out of range"))
        if wanted not in ("0", "1"):
            raise OrthancError(400, "Boolean value expected", orthanc=(15, "Bad file format"))
        own = Subject.of("patient", found.identity)
        if wanted == "1":
            pacs.archive.metadata.put(own, PROTECTED, b"1")
        elif is_protected(pacs, found):
            pacs.archive.metadata.remove(own, PROTECTED)
        return as_text("")

    return protect


def _answer(pacs: "Pacs", request: Request, level: Level, names: list[str], *, expand: bool) -> Response:
    if not expand:
        return as_json(names)
    found = pacs.archive.resources.get(level, names)
    return as_json(as_objects(pacs, found, form=format_of(request), requested=requested_of(request)))


def _answer_one(pacs: "Pacs", request: Request, found: Resource) -> Response:
    (made,) = as_objects(pacs, [found], form=format_of(request), requested=requested_of(request))
    return as_json(made)
