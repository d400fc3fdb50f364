"""Attachments: ``/{level}/{id}/attachments``.

The file of an instance is its attachment ``dicom`` and cannot be written; a user's have numbers from 1024 on and
revisions. Nothing is kept compressed, so what is asked of the compressed form is true of the content itself.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from researchpacs.archive import Revision, Stored, Subject
from researchpacs.archive.resources import Resource
from researchpacs.dicom.preamble import safe_preamble
from researchpacs.errors import NotFoundError
from researchpacs.model import Level
from researchpacs.server.orthanc.answers import as_json, as_text, flag
from researchpacs.server.orthanc.bodies import body_chunks
from researchpacs.server.orthanc.errors import OrthancError, unknown_resource
from researchpacs.server.orthanc.metadata import check_number
from researchpacs.server.orthanc.names import PLURAL
from researchpacs.server.orthanc.objects import uuid_of
from researchpacs.server.orthanc.revisions import etag, is_known, seen_revision, telling_conflicts

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

_DICOM = "dicom"
_CHUNK = 1 << 20
_OPERATIONS = (
    "compress",
    "compressed-data",
    "compressed-md5",
    "compressed-size",
    "data",
    "info",
    "is-compressed",
    "md5",
    "size",
    "uncompress",
    "uuid",
    "verify-md5",
)
_CORRUPTED = (4, "The contents of the file are corrupted")


class _Content(NamedTuple):
    """What is attached: a user's file, or the instance itself."""

    content_type: int
    size: int
    revision: Revision | None
    """None where finding it out would mean to read it all."""
    uuid: str
    chunks: Callable[[], Iterator[bytes]]
    is_intact: Callable[[], bool]
    """Reads it all and compares it with what was stored."""

    @property
    def md5(self) -> str:
        if self.revision is not None:
            return self.revision.md5
        return _md5(self.chunks())


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""
    return [route for level, plural in PLURAL.items() for route in _of_level(pacs, level, plural)]


def _of_level(pacs: "Pacs", level: Level, plural: str) -> list[Route]:
    def answering(answer: Callable[["Pacs", Resource, Request], Response]) -> Callable[[Request], Response]:
        def endpoint(request: Request) -> Response:
            one = pacs.archive.resources.one(level, request.path_params["id"])
            try:
                return answer(pacs, one, request) if one else unknown_resource()
            except NotFoundError:
                return unknown_resource()

        return endpoint

    path = f"/{plural}/{{id}}/attachments"
    return [
        Route(path, answering(_list), methods=["GET"]),
        Route(f"{path}/{{name}}", answering(_operations), methods=["GET"]),
        Route(f"{path}/{{name}}", answering(_write), methods=["PUT"]),
        Route(f"{path}/{{name}}", answering(_remove), methods=["DELETE"]),
        Route(f"{path}/{{name}}/{{operation}}", answering(_read), methods=["GET"]),
        Route(f"{path}/{{name}}/{{operation}}", answering(_act), methods=["POST"]),
    ]


def _list(pacs: "Pacs", one: Resource, request: Request) -> Response:
    names = [_DICOM] if one.stored else []
    names += [found.name for found in pacs.archive.attachments.of(Subject.of(one.level, one.identity))]
    if flag(request, "full"):
        return as_json({name: 1 if name == _DICOM else int(name) for name in names})
    return as_json(names)


def _operations(pacs: "Pacs", one: Resource, request: Request) -> Response:
    return as_json(list(_OPERATIONS), headers=_headers(_content(pacs, one, request)))


def _write(pacs: "Pacs", one: Resource, request: Request) -> Response:
    name = request.path_params["name"]
    check_number(name, _BUILT_IN)
    with telling_conflicts():
        own = Subject.of(one.level, one.identity)
        made = pacs.archive.attachments.put(own, name, body_chunks(request), seen=seen_revision(request))
    return as_json({}, headers={"ETag": etag(made.revision)})


def _remove(pacs: "Pacs", one: Resource, request: Request) -> Response:
    check_number(request.path_params["name"], _BUILT_IN)
    with telling_conflicts():
        own = Subject.of(one.level, one.identity)
        pacs.archive.attachments.remove(own, request.path_params["name"], seen=seen_revision(request))
    return as_json({})


def _read(pacs: "Pacs", one: Resource, request: Request) -> Response:
    content = _content(pacs, one, request)
    operation = request.path_params["operation"]
    if content.revision is not None and is_known(request, content.revision):
        return Response(status_code=304, headers=_headers(content))
    if operation in ("data", "compressed-data"):
        disposition = f'attachment; filename="{content.uuid}"'
        headers = _headers(content) | {"Content-Disposition": disposition, "Content-Length": str(content.size)}
        return StreamingResponse(content.chunks(), media_type="application/octet-stream", headers=headers)
    if operation == "info":
        return as_json(
            {
                "CompressedMD5": content.md5,
                "CompressedSize": content.size,
                "ContentType": content.content_type,
                "UncompressedMD5": content.md5,
                "UncompressedSize": content.size,
                "Uuid": content.uuid,
            },
            headers=_headers(content),
        )
    told = _TOLD.get(operation)
    if told is None:
        return unknown_resource()
    return as_text(told(content), headers=_headers(content))


def _act(pacs: "Pacs", one: Resource, request: Request) -> Response:
    content = _content(pacs, one, request)
    operation = request.path_params["operation"]
    if operation == "verify-md5":
        if not content.is_intact():
            raise OrthancError(500, "the content is not what was attached", orthanc=_CORRUPTED)
        return as_json({})
    # Nothing is kept compressed, before as after; is-compressed says so.
    return as_json({}) if operation in ("compress", "uncompress") else unknown_resource()


def _content(pacs: "Pacs", one: Resource, request: Request) -> _Content:
    name = request.path_params["name"]
    if name == _DICOM and one.stored is not None:
        return _of_instance(pacs, one.stored)
    found = pacs.archive.attachments.get(Subject.of(one.level, one.identity), name)
    digits = found.sha256
    uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))

    def chunks() -> Iterator[bytes]:
        return _chunks_of_file(found.path)

    def is_intact() -> bool:
        return _md5(chunks()) == found.revision.md5

    return _Content(int(name), found.size, found.revision, uuid, chunks, is_intact)


def _of_instance(pacs: "Pacs", stored: Stored) -> _Content:
    def raw() -> Iterator[bytes]:
        for offset in range(0, stored.size, _CHUNK):
            yield pacs.archive.read(stored.key, offset, _CHUNK)

    def chunks() -> Iterator[bytes]:
        for number, chunk in enumerate(raw()):
            yield chunk if number else safe_preamble(chunk)

    def is_intact() -> bool:
        digest = hashlib.sha256()
        for chunk in raw():
            digest.update(chunk)
        # A reference that nobody has read in full has no hash yet; that it could be read shows that it is unchanged.
        return stored.sha256 is None or digest.hexdigest() == stored.sha256

    return _Content(1, stored.size, None, uuid_of(stored), chunks, is_intact)


def _chunks_of_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _md5(chunks: Iterator[bytes]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _headers(content: _Content) -> dict[str, str]:
    return {"ETag": etag(content.revision)} if content.revision is not None else {}


_BUILT_IN: Mapping[str, int] = {_DICOM: 1, "dicom-as-json": 2, "dicom-until-pixel-data": 3}
_TOLD: Mapping[str, Callable[[_Content], str]] = {
    "size": lambda content: str(content.size),
    "compressed-size": lambda content: str(content.size),
    "md5": lambda content: content.md5,
    "compressed-md5": lambda content: content.md5,
    "is-compressed": lambda _: "0",
    "uuid": lambda content: content.uuid,
}
