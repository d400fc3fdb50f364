"""DICOM nodes: ``/modalities``, ``/tools/dicom-echo``. They are the archive's peers (`Pacs.peers`)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive import Peer, Tls
from researchpacs.archive._peers import OPERATIONS, Operation
from researchpacs.errors import NotFoundError
from researchpacs.server.orthanc.answers import as_json, as_text, flag
from researchpacs.server.orthanc.bodies import body_json, body_object
from researchpacs.server.orthanc.dataset import as_tags, form_of_tags
from researchpacs.server.orthanc.errors import OrthancError, unknown_resource
from researchpacs.server.orthanc.identifiers import identifier_of

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["modality", "routes"]

_INEXISTENT = (7, "Accessing an inexistent item")
_BAD_FORMAT = (15, "Bad file format")
_ALLOWED: Mapping[str, Operation] = {
    "AllowEcho": "echo",
    "AllowFind": "find",
    "AllowFindWorklist": "worklist",
    "AllowGet": "get",
    "AllowMove": "move",
    "AllowStore": "store",
    "AllowStorageCommitment": "commit",
}
_OPERATIONS = (
    "configuration",
    "echo",
    "find",
    "find-worklist",
    "get",
    "move",
    "query",
    "store",
)


def modality(pacs: "Pacs", name: str) -> Peer:
    """The node of this name.

    Raises
    ------
    OrthancError
        404: there is none.
    """
    try:
        return pacs.peers[name]
    except NotFoundError:
        raise OrthancError(404, f"No modality with symbolic name: {name[:64]}", orthanc=_INEXISTENT) from None


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def read_all(request: Request) -> Response:
        if flag(request, "expand"):
            return as_json({name: _shown(peer) for name, peer in pacs.peers.items()})
        return as_json(list(pacs.peers))

    def read(request: Request) -> Response:
        return as_json(list(_OPERATIONS)) if request.path_params["name"] in pacs.peers else unknown_resource()

    def configuration(request: Request) -> Response:
        return as_json(_shown(modality(pacs, request.path_params["name"])))

    def write(request: Request) -> Response:
        _write(pacs, request.path_params["name"], body_json(request))
        return as_text("")

    def remove(request: Request) -> Response:
        pacs.peers.remove(modality(pacs, request.path_params["name"]).name)
        return as_text("")

    def echo(request: Request) -> Response:
        modality(pacs, request.path_params["name"]).echo()
        return as_json({})

    return [
        Route("/modalities", read_all),
        Route("/modalities/{name}", read, methods=["GET"]),
        Route("/modalities/{name}", write, methods=["PUT"]),
        Route("/modalities/{name}", remove, methods=["DELETE"]),
        Route("/modalities/{name}/configuration", configuration),
        Route("/modalities/{name}/echo", echo, methods=["POST"]),
        Route("/modalities/{name}/find-worklist", _find_worklist(pacs), methods=["POST"]),
        Route("/tools/dicom-echo", _echo_anybody, methods=["POST"]),
    ]


def _find_worklist(pacs: "Pacs") -> Any:
    def find_worklist(request: Request) -> Response:
        from researchpacs.archive._dimse._contexts import WORKLIST
        from researchpacs.archive._dimse._query import ask

        body = body_object(request)
        query = body["Query"] if isinstance(body.get("Query"), dict) else body
        simplify = not body.get("Full") and not body.get("Short")
        form = "simple" if simplify else "short" if body.get("Short") else form_of_tags(request)
        peer = modality(pacs, request.path_params["name"])
        return as_json([as_tags(ds, form) for ds in ask(peer, WORKLIST, identifier_of(query))])

    return find_worklist


def _echo_anybody(request: Request) -> Response:
    """Ask a node for a sign of life that is described in the request."""
    _peer("unnamed", body_json(request), None).echo()
    return as_json({})


def _write(pacs: "Pacs", name: str, said: object) -> None:
    peer = _peer(name, said, pacs.peers.get(name))
    pacs.peers.add(
        name,
        aet=peer.aet,
        host=peer.host,
        port=peer.port,
        tls=peer.tls or False,
        allow=peer.allow,
        get=peer.get,
        calling_aet=peer.calling_aet,
    )


def _peer(name: str, said: object, old: Peer | None) -> Peer:
    """Read a node as Orthanc's configuration has it: an object, or a list of AE title, host, port, manufacturer."""
    if isinstance(said, list) and len(said) in (3, 4):
        said = dict(zip(("AET", "Host", "Port", "Manufacturer"), said, strict=False))
    if not isinstance(said, dict):
        raise OrthancError(400, "a modality is an object with AET, Host and Port", orthanc=_BAD_FORMAT)
    port = said.get("Port")
    port = int(port) if isinstance(port, str) and port.isascii() and port.isdigit() else port
    for field, value, kind in (
        ("AET", said.get("AET"), str),
        ("Host", said.get("Host"), str),
        ("Port", port, int),
    ):
        if not isinstance(value, kind) or isinstance(value, bool):
            what = "String" if kind is str else "Integer"
            raise OrthancError(400, f"{what} value expected in field: {field}", orthanc=_BAD_FORMAT)
    tls = (old.tls if old and old.tls else Tls()) if said.get("UseDicomTls") else None
    made = Peer(name, said["AET"], said["Host"], int(str(port)), tls, _allowed(said), get=_by_get(said))
    return replace(made, calling_aet=str(said["LocalAet"])) if said.get("LocalAet") else made


def _allowed(said: Mapping[str, Any]) -> frozenset[Operation]:
    """What a node may ask of ours; as in Orthanc all that is not forbidden, or that one old name did not forbid."""
    forbidden = {operation for name, operation in _ALLOWED.items() if not said.get(name, True)}
    if not said.get("AllowNAction", True):
        forbidden.add("commit")
    return OPERATIONS - forbidden


def _by_get(said: Mapping[str, Any]) -> bool:
    method = said.get("RetrieveMethod", "SystemDefault")
    if method not in ("SystemDefault", "C-GET", "C-MOVE"):
        raise OrthancError(400, "RetrieveMethod is SystemDefault, C-MOVE or C-GET", orthanc=_BAD_FORMAT)
    return bool(method == "C-GET")


def _shown(peer: Peer) -> dict[str, Any]:
    allowed = {name: operation in peer.allow for name, operation in _ALLOWED.items() if operation != "commit"}
    commits = "commit" in peer.allow
    return {
        **allowed,
        "AET": peer.aet,
        "AllowEventReport": commits,
        "AllowNAction": commits,
        "AllowTranscoding": True,
        "Host": peer.host,
        "LocalAet": peer.calling_aet,
        "Manufacturer": "Generic",
        "Port": peer.port,
        "RetrieveMethod": "C-GET" if peer.get else "C-MOVE",
        "Timeout": 0,
        "UseDicomTls": peer.tls is not None,
    }
