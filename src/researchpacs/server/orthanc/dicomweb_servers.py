"""DICOMweb servers: ``/dicom-web/servers``. Instances go there by STOW-RS and come from there by WADO-RS."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydicom.datadict import keyword_for_tag
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from researchpacs.archive import Stored
from researchpacs.archive._remote_address import Address, address_of
from researchpacs.errors import NotFoundError, RemoteError
from researchpacs.ingest import Spool
from researchpacs.server.intake import store_written
from researchpacs.server.jobs import Handler, Run
from researchpacs.server.orthanc.answers import as_json
from researchpacs.server.orthanc.bodies import body_object
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.jobs import answer_as_job, giving_up, is_asynchronous, stepping
from researchpacs.server.orthanc.remotes import Remotes, send_all, start_sending

if TYPE_CHECKING:
    import requests

    from researchpacs._pacs import Pacs
    from researchpacs.archive._dicomweb import DicomwebServer

__all__ = ["HANDLERS", "routes"]

_STOW, _RETRIEVE = "DicomWebStowClient", "DicomWebWadoRetrieveClient"
_PASSED = ("application/dicom+json", "application/json", "application/dicom", "multipart/related", "image/")
"""What may come from there as what it is; a page of another server shall not run as one of ours."""
_CHUNK = 1 << 16
_LONGEST_ANSWER = 64 << 20
_BAD_FORMAT = (15, "Bad file format")


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""
    servers = Remotes("dicomweb", "DICOMweb server")

    def stow(request: Request) -> Response:
        return start_sending(pacs, _STOW, servers.of(request), request, lambda _, found: _sent(found))

    def retrieve(request: Request) -> Response:
        remote, options = servers.of(request), body_object(request)
        wanted = {
            "Url": remote.address.url,
            "Timeout": remote.timeout_s,
            "Resources": _wanted(options.get("Resources")),
            "Waited": not is_asynchronous(options),
        }
        return answer_as_job(pacs, _RETRIEVE, wanted, options=options, content=_received(0, 0))

    def get(request: Request) -> Response:
        return _passed_on(_answer(servers, request, body_object(request)))

    def qido(request: Request) -> Response:
        options = {**body_object(request), "HttpHeaders": {"Accept": "application/dicom+json"}}
        return as_json(_plain(_answer(servers, request, options)))

    path = "/dicom-web/servers"
    made = servers.routes(
        path, operations=("get", "retrieve", "stow", "qido"), configuration=False, done=lambda: as_json({})
    )
    return [
        *made,
        Route(f"{path}/{{name}}/stow", stow, methods=["POST"]),
        Route(f"{path}/{{name}}/retrieve", retrieve, methods=["POST"]),
        Route(f"{path}/{{name}}/get", get, methods=["POST"]),
        Route(f"{path}/{{name}}/qido", qido, methods=["POST"]),
    ]


# -- send and retrieve ------------------------------------------------------------------------------------------------


def _sent(instances: Sequence[Stored]) -> dict[str, str]:
    return {
        "InstancesCount": str(len(instances)),
        "NetworkSizeMB": str(sum(stored.size for stored in instances) >> 20),
    }


def _received(count: int, size: int) -> dict[str, str]:
    return {"NetworkUsageMB": str(size >> 20), "ReceivedInstancesCount": str(count)}


def _stow(run: Run) -> Mapping[str, Any]:
    return {**run.job.content, **_sent(send_all(run))}


def _wanted(said: object) -> list[dict[str, str]]:
    if not isinstance(said, list) or not said:
        raise OrthancError(
            400, "Resources has to be a list of objects with Study, Series, Instance", orthanc=_BAD_FORMAT
        )
    found = []
    for one in said:
        if not isinstance(one, Mapping) or not one.get("Study"):
            raise OrthancError(400, "a resource names its Study at least", orthanc=_BAD_FORMAT)
        found.append({level: str(one.get(level) or "") for level in ("Study", "Series", "Instance")})
    return found


def _retrieve(run: Run) -> Mapping[str, Any]:
    """List the instances that are wanted, and fetch each as it is stored there; ours by the one door."""
    request = run.job.request
    count = size = 0
    with giving_up(waited=request["Waited"]):
        server = _server(address_of(request["Url"]), request.get("Timeout", 0))
        try:
            names = dict.fromkeys(name for one in request["Resources"] for name in _names(server, one))
            for name in stepping(run, list(names)):
                count, size = count + 1, size + _fetch(run.pacs, server, name)
        finally:
            server.close()
    return {**run.job.content, **_received(count, size)}


def _fetch(pacs: "Pacs", server: "DicomwebServer", name: str) -> int:
    """Store an instance of a server; its size."""
    size = 0

    def write(spool: Spool) -> None:
        nonlocal size
        size = server.retrieve(name, spool)

    outcome = store_written(pacs, write)
    if outcome.kind == "refused":
        raise RemoteError(f"an instance that came is refused: {outcome.reason}")
    return size


def _names(server: "DicomwebServer", wanted: Mapping[str, str]) -> list[str]:
    found = list(server.names_below(wanted["Study"], wanted["Series"], wanted["Instance"]))
    if not found:
        raise NotFoundError("the server has none of what is to be retrieved")
    return found


def _server(address: Address, timeout_s: int) -> "DicomwebServer":
    from researchpacs.archive._dicomweb import DicomwebServer

    return DicomwebServer(address, timeout_s=timeout_s)


# -- ask --------------------------------------------------------------------------------------------------------------


def _answer(servers: Remotes, request: Request, options: Mapping[str, Any]) -> "requests.Response":
    """Ask a server with GET for ``Uri`` below its address."""
    remote = servers.of(request)
    uri, arguments, headers = options.get("Uri"), options.get("Arguments", {}), options.get("HttpHeaders", {})
    if not isinstance(uri, str) or any(one in uri for one in "?#\\:%") or ".." in uri.split("/"):
        raise OrthancError(400, "Uri is a path below the server's address", orthanc=_BAD_FORMAT)
    if not all(isinstance(one, Mapping) for one in (arguments, headers)):
        raise OrthancError(400, "Arguments and HttpHeaders are objects of texts", orthanc=_BAD_FORMAT)
    parameters = {str(name): str(value) for name, value in arguments.items()}
    return _server(remote.address, remote.timeout_s).ask(
        uri.lstrip("/"), parameters, {str(name): str(value) for name, value in headers.items()}
    )


def _passed_on(answer: "requests.Response") -> Response:
    kind = answer.headers.get("Content-Type", "")

    def chunks() -> Iterator[bytes]:
        try:
            yield from answer.iter_content(_CHUNK)
        finally:
            answer.close()

    safe = kind if kind.lower().startswith(_PASSED) and "svg" not in kind.lower() else "application/octet-stream"
    return StreamingResponse(chunks(), headers={"Content-Type": safe})


def _plain(answer: "requests.Response") -> list[dict[str, Any]]:
    """DICOM JSON (PS3.18 F) in the shape in which Orthanc's plugin shows what it found."""
    try:
        data = answer.raw.read(_LONGEST_ANSWER + 1, decode_content=True)
        found = [] if answer.status_code == 204 or not data else _json(data)
    finally:
        answer.close()
    return [
        {
            tag: {
                "Element": int(tag[4:], 16),
                "Group": int(tag[:4], 16),
                "Name": keyword_for_tag(int(tag, 16)),
                "vr": one.get("vr", "UN"),
                **({"Value": _text(one["Value"])} if one.get("Value") else {}),
            }
            for tag, one in ds.items()
        }
        for ds in found
    ]


def _json(data: bytes) -> list[dict[str, dict[str, Any]]]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(_is_dataset(one) for one in found):
        raise RemoteError("the server does not answer with DICOM JSON, or with too much of it")
    return found


def _is_dataset(one: object) -> bool:
    return isinstance(one, dict) and all(
        len(tag) == 8 and set(tag.lower()) <= set("0123456789abcdef") and isinstance(element, dict)
        for tag, element in one.items()
    )


def _text(values: object) -> str:
    listed = values if isinstance(values, list) else [values]
    return "\\".join(
        str(one.get("Alphabetic", "")) if isinstance(one, dict) else "" if one is None else str(one) for one in listed
    )


HANDLERS: Mapping[str, Handler] = {_STOW: _stow, _RETRIEVE: _retrieve}
"""By kind of job."""
