"""Retrieval from DICOM nodes as jobs: ``/modalities/{name}/move`` and ``get``, and what queries found.

C-MOVE names who shall receive it, by default our own node, which then has to run; C-GET brings it over the association
that asks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive import Peer
from researchpacs.errors import RemoteError
from researchpacs.model import Level
from researchpacs.server.jobs import Handler, Run
from researchpacs.server.orthanc.answers import as_json
from researchpacs.server.orthanc.bodies import body_object
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.identifiers import UNIQUE
from researchpacs.server.orthanc.jobs import answer_as_job, giving_up, is_asynchronous, stepping
from researchpacs.server.orthanc.modalities import modality
from researchpacs.server.orthanc.names import LEVELS, as_level, numbered

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["HANDLERS", "retrieve_options", "routes", "start_retrieval"]

_MOVE, _GET = "DicomMoveScu", "DicomGetScu"


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def move(request: Request) -> Response:
        options = {**body_object(request), "RetrieveMethod": "C-MOVE"}
        answer = _start(pacs, request, options)
        return answer if is_asynchronous(options) else as_json({})

    def get(request: Request) -> Response:
        return _start(pacs, request, {**body_object(request), "RetrieveMethod": "C-GET"})

    return [
        Route("/modalities/{name}/move", move, methods=["POST"]),
        Route("/modalities/{name}/get", get, methods=["POST"]),
    ]


def retrieve_options(body: object) -> dict[str, Any]:
    """Read the body of a request to retrieve: an object, or nothing but the AE title of the receiver."""
    found = {"TargetAet": body} if isinstance(body, str) else body
    if not isinstance(found, dict):
        raise OrthancError(400, "an object, or the AE title of the receiver is expected", orthanc=(15, "Bad format"))
    return found


def start_retrieval(
    pacs: "Pacs", name: str, level: Level, wanted: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
) -> Response:
    """Put a retrieval into the queue; answer with the job, or with what it shows when it is done.

    Parameters
    ----------
    name
        Of the node.
    wanted
        Unique keys of what is wanted, one mapping an object.
    options
        ``TargetAet``, ``RetrieveMethod``, and what all jobs have.
    """
    peer = modality(pacs, name)
    for one in wanted:
        if not one.get(UNIQUE[level]):
            raise OrthancError(400, f"{UNIQUE[level]} is missing", orthanc=(15, "Bad file format"))
    by_get = _by_get(peer, options)
    request = {
        "Modality": name,
        "Level": level,
        "Wanted": [dict(one) for one in wanted],
        "TargetAet": None if by_get else str(options.get("TargetAet") or _own_aet(peer, options)),
        "LocalAet": _own_aet(peer, options),
        "Waited": not is_asynchronous(options),
    }
    shown = {
        "LocalAet": request["LocalAet"],
        "Query": [_shown(level, one, simplify=bool(options.get("Simplify"))) for one in wanted],
        "RemoteAet": peer.aet,
    }
    return answer_as_job(pacs, _GET if by_get else _MOVE, request, options=options, content=shown)


def _start(pacs: "Pacs", request: Request, options: Mapping[str, Any]) -> Response:
    wanted = options.get("Resources")
    if "Level" not in options or not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
        raise OrthancError(400, "Level, and Resources as a list of objects are expected", orthanc=(15, "Bad format"))
    level = as_level(options["Level"])
    known = [UNIQUE[one] for one in LEVELS]
    unique = [{name: str(value) for name, value in one.items() if name in known} for one in wanted]
    return start_retrieval(pacs, request.path_params["name"], level, unique, options)


def _by_get(peer: Peer, options: Mapping[str, Any]) -> bool:
    """C-GET where that is asked for, or where the node is configured so and we are the receiver."""
    method = options.get("RetrieveMethod", "SystemDefault")
    if method not in ("SystemDefault", "C-GET", "C-MOVE"):
        raise OrthancError(400, "RetrieveMethod is SystemDefault, C-MOVE or C-GET")
    if method == "SystemDefault":
        return peer.get and options.get("TargetAet") in (None, "", _own_aet(peer, options))
    return bool(method == "C-GET")


def _own_aet(peer: Peer, options: Mapping[str, Any]) -> str:
    return str(options.get("LocalAet") or peer.calling_aet)


def _shown(level: Level, unique: Mapping[str, Any], *, simplify: bool) -> dict[str, Any]:
    """What a job shows of an object: its UIDs, but no patient's identifier."""
    from researchpacs.archive._dimse._query import LEVEL_NAMES

    found = {"QueryRetrieveLevel": LEVEL_NAMES[level], **{k: v for k, v in unique.items() if k != "PatientID"}}
    return found if simplify else {numbered(keyword): value for keyword, value in found.items()}


def _retrieve(run: Run) -> Mapping[str, Any]:
    """Ask for one object after the other."""
    from researchpacs.archive._dimse._query import LEVEL_NAMES
    from researchpacs.archive._dimse._retrieving import move

    request = run.job.request
    wanted = request["Wanted"]
    with giving_up(waited=request["Waited"]):
        peer = replace(_peer(run), calling_aet=request["LocalAet"])
        for unique in stepping(run, wanted):
            if run.job.kind == _MOVE:
                failed = move(peer, request["Level"], unique, destination=request["TargetAet"])
                if failed:
                    raise RemoteError(f"{request['Modality']} could not send {failed} instances of what was wanted")
                continue
            hit = Dataset()
            hit.QueryRetrieveLevel = LEVEL_NAMES[request["Level"]]
            for keyword, value in unique.items():
                setattr(hit, keyword, value)
            report = run.pacs.retrieve(replace(peer, get=True), hit)
            if report.refused:
                raise RemoteError(f"{report.refused} instances of {request['Modality']} did not arrive")
    return run.job.content


def _peer(run: Run) -> Peer:
    return run.pacs.peers[run.job.request["Modality"]]


HANDLERS: Mapping[str, Handler] = {_MOVE: _retrieve, _GET: _retrieve}
"""By kind of job."""
