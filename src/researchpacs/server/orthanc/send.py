"""Send to DICOM nodes as jobs: ``/modalities/{name}/store``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.errors import RemoteError
from researchpacs.server.jobs import Handler, Run
from researchpacs.server.orthanc.bodies import body_or_word
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.jobs import answer_as_job, giving_up, is_asynchronous, stepping
from researchpacs.server.orthanc.modalities import modality
from researchpacs.server.orthanc.zips import instances_of

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["HANDLERS", "resources_in", "routes"]

_STORE = "DicomModalityStore"


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def store(request: Request) -> Response:
        peer = modality(pacs, request.path_params["name"])
        names, options = resources_in(body_or_word(request))
        instances = instances_of(pacs, names)
        local = str(options.get("LocalAet") or peer.calling_aet)
        wanted = {
            "Modality": peer.name,
            "Resources": names,
            "LocalAet": local,
            "Permissive": bool(options.get("Permissive")),
            "Waited": not is_asynchronous(options),
        }
        shown = {
            "FailedInstancesCount": 0,
            "InstancesCount": len(instances),
            "LocalAet": local,
            "ParentResources": sorted(names),
            "RemoteAet": peer.aet,
        }
        return answer_as_job(pacs, _STORE, wanted, options=options, content=shown)

    return [Route("/modalities/{name}/store", store, methods=["POST"])]


def resources_in(body: object) -> tuple[list[str], dict[str, Any]]:
    """Read what is to be sent: one name, a list of names, or an object with ``Resources`` and options."""
    options = body if isinstance(body, dict) else {}
    names: object = options.get("Resources", options.get("Resource")) if isinstance(body, dict) else body
    if isinstance(names, str):
        names = [names] if names else []
    if not isinstance(names, Sequence) or not all(isinstance(one, str) for one in names):
        raise OrthancError(400, "names of resources are expected", orthanc=(15, "Bad file format"))
    return list(names), options


def _send(run: Run) -> Mapping[str, Any]:
    from researchpacs.archive._dimse._store_scu import send

    request = run.job.request
    with giving_up(waited=request["Waited"]):
        peer = replace(run.pacs.peers[request["Modality"]], calling_aet=request["LocalAet"])
        instances = instances_of(run.pacs, request["Resources"])
        failed = list[str]()
        # In this order: what sends has to come to its end, where it releases the association.
        for sent, _ in zip(send(peer, instances), stepping(run, instances), strict=True):
            if not sent.ok:
                failed.append(sent.reason)
        content = {**run.job.content, "FailedInstancesCount": len(failed), "InstancesCount": len(instances)}
        if failed and not request["Permissive"]:
            run.step(0, content)
            raise RemoteError(f"{len(failed)} of {len(instances)} instances were not taken: {failed[0]}")
    return content


HANDLERS: Mapping[str, Handler] = {_STORE: _send}
"""By kind of job."""
