"""Orthanc's REST API over an archive, with the shapes that its clients depend on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.routing import Route

from researchpacs.server.jobs import Handler
from researchpacs.server.orthanc import (
    arrays,
    attachments,
    bulk,
    changes,
    create,
    dicomweb_servers,
    find,
    gathered,
    hierarchy,
    images,
    instances,
    jobs,
    labels,
    merge,
    metadata,
    metrics,
    modalities,
    modify,
    peers,
    queries,
    reconstruct,
    resources,
    retrieve,
    send,
    system,
    tools,
    uploads,
    zips,
)
from researchpacs.server.orthanc.errors import HANDLERS

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["HANDLERS", "JOBS", "routes"]

JOBS: Mapping[str, Handler] = {
    **modify.HANDLERS,
    **merge.HANDLERS,
    **zips.HANDLERS,
    **retrieve.HANDLERS,
    **send.HANDLERS,
    **peers.HANDLERS,
    **dicomweb_servers.HANDLERS,
}
"""What does the jobs of this protocol, by their kind."""


def routes(pacs: "Pacs") -> list[Route]:
    """All routes, each module's own."""
    modules = (
        system,
        tools,
        metrics,
        changes,
        find,
        uploads,
        images,
        arrays,
        gathered,
        jobs,
        labels,
        metadata,
        attachments,
        modify,
        merge,
        bulk,
        create,
        zips,
        modalities,
        queries,
        hierarchy,
        retrieve,
        send,
        peers,
        dicomweb_servers,
        reconstruct,
        instances,
        resources,
    )
    return [route for module in modules for route in module.routes(pacs)]
