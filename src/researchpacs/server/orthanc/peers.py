"""Other Orthancs: ``/peers``."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive import Stored
from researchpacs.server.jobs import Handler, Run
from researchpacs.server.orthanc.answers import as_json, as_text
from researchpacs.server.orthanc.remotes import Remote, Remotes, send_all, start_sending

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["HANDLERS", "routes"]

_STORE = "OrthancPeerStore"


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""
    peers = Remotes("orthanc", "peer")

    def store(request: Request) -> Response:
        remote = peers.of(request)
        return start_sending(pacs, _STORE, remote, request, lambda *found: _content(remote, *found))

    def system(request: Request) -> Response:
        from researchpacs.archive._orthanc import OrthancServer

        remote = peers.of(request)
        server = OrthancServer(remote.address, timeout_s=remote.timeout_s)
        try:
            return as_json(server.system())
        finally:
            server.close()

    made = peers.routes(
        "/peers",
        operations=("configuration", "store", "system"),
        configuration=True,
        done=lambda: as_text(""),
    )
    return [
        *made,
        Route("/peers/{name}/store", store, methods=["POST"]),
        Route("/peers/{name}/system", system),
    ]


def _content(remote: Remote, names: Sequence[str], instances: Sequence[Stored]) -> dict[str, Any]:
    size = sum(stored.size for stored in instances)
    return {
        "Compress": False,
        "FailedInstancesCount": 0,
        "InstancesCount": len(instances),
        "ParentResources": sorted(names),
        "Peer": [remote.address.root, *((remote.shown["Username"], "") if "Username" in remote.shown else ())],
        "Size": str(size),
        "SizeMB": size >> 20,
    }


def _send(run: Run) -> Mapping[str, Any]:
    send_all(run)
    return run.job.content


HANDLERS: Mapping[str, Handler] = {_STORE: _send}
"""By kind of job."""
