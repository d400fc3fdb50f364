"""Orthanc's REST API over an archive, with the shapes that its clients depend on."""

from typing import TYPE_CHECKING

from starlette.routing import Route

from researchpacs.server.orthanc import (
    attachments,
    changes,
    find,
    gathered,
    images,
    instances,
    jobs,
    labels,
    metadata,
    resources,
    system,
    uploads,
)
from researchpacs.server.orthanc.errors import HANDLERS

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["HANDLERS", "routes"]


def routes(pacs: "Pacs") -> list[Route]:
    """All routes, each module's own."""
    modules = (
        system,
        changes,
        find,
        uploads,
        images,
        gathered,
        jobs,
        labels,
        metadata,
        attachments,
        instances,
        resources,
    )
    return [route for module in modules for route in module.routes(pacs)]
