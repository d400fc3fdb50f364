"""Labels: ``/{level}/{id}/labels``, ``/tools/labels``."""

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive import Subject
from researchpacs.model import Level
from researchpacs.server.orthanc.answers import as_json, as_text
from researchpacs.server.orthanc.errors import unknown_resource
from researchpacs.server.orthanc.names import PLURAL

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""
    made = [Route("/tools/labels", lambda _: as_json(pacs.archive.labels.known()))]
    for level, plural in PLURAL.items():
        made += _of_level(pacs, level, plural)
    return made


def _of_level(pacs: "Pacs", level: Level, plural: str) -> list[Route]:
    labels = pacs.archive.labels

    def subject(request: Request) -> Subject | None:
        found = pacs.archive.resources.one(level, request.path_params["id"])
        return Subject.of(level, found.identity) if found else None

    def read_all(request: Request) -> Response:
        owner = subject(request)
        return as_json(labels.of(owner)) if owner else unknown_resource()

    def read(request: Request) -> Response:
        owner = subject(request)
        has = owner is not None and request.path_params["label"] in labels.of(owner)
        return as_text("") if has else unknown_resource()

    def add(request: Request) -> Response:
        owner = subject(request)
        if owner is None:
            return unknown_resource()
        labels.add([owner], request.path_params["label"])
        return as_text("")

    def remove(request: Request) -> Response:
        owner = subject(request)
        if owner is None:
            return unknown_resource()
        labels.remove([owner], request.path_params["label"])
        return as_text("")

    one = f"/{plural}/{{id}}/labels/{{label}}"
    return [
        Route(f"/{plural}/{{id}}/labels", read_all),
        Route(one, read, methods=["GET"]),
        Route(one, add, methods=["PUT"]),
        Route(one, remove, methods=["DELETE"]),
    ]
