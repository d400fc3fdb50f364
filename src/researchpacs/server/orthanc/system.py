"""Who answers here: ``/system``, ``/statistics``."""

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.server.orthanc.answers import as_json

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def system(_: Request) -> Response:
        return as_json(
            {
                "Name": "researchpacs",
                "Version": "1.12.7",
                "ApiVersion": 28,
            }
        )

    return [Route("/system", system)]
