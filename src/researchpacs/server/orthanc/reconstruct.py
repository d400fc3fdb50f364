"""Read tags anew out of the files: ``/{level}/{id}/reconstruct``, ``/tools/reconstruct``."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive._reconstruct import reconstruct
from researchpacs.archive.question import Question
from researchpacs.model import Level
from researchpacs.server.orthanc.answers import as_text
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.names import PLURAL

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def of(level: Level) -> Callable[[Request], Response]:
        def endpoint(request: Request) -> Response:
            instances = pacs.archive.resources.instances(level, request.path_params["id"])
            if not instances:
                raise OrthancError(404)
            reconstruct(pacs.archive, instances)
            return as_text("")

        return endpoint

    def everything(_: Request) -> Response:
        resources = pacs.archive.resources
        for name in resources.names(Question("series")):
            reconstruct(pacs.archive, resources.instances("series", name))
        return as_text("")

    return [
        *(Route(f"/{plural}/{{id}}/reconstruct", of(level), methods=["POST"]) for level, plural in PLURAL.items()),
        Route("/tools/reconstruct", everything, methods=["POST"]),
    ]
