"""An instance's file and what stands in it: ``file``, ``tags``, ``simplified-tags``, ``header``, ``content``."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from researchpacs.archive import Stored
from researchpacs.archive.holdings import open_instance
from researchpacs.dicom.header import read_header
from researchpacs.dicom.preamble import safe_preamble
from researchpacs.server.orthanc.answers import as_json
from researchpacs.server.orthanc.dataset import LONGEST, as_tags, form_of_tags, header_of, shown_tags, text_value
from researchpacs.server.orthanc.errors import OrthancError, unknown_resource
from researchpacs.server.orthanc.frames import Image
from researchpacs.server.orthanc.names import as_keyword, dashed
from researchpacs.server.orthanc.objects import uuid_of
from researchpacs.server.transcoding import transcoded

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

_CHUNK = 1 << 20
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_BINARY = "application/octet-stream"


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def of(answer: "Callable[[Pacs, Stored, Request], Response]") -> Callable[[Request], Response]:
        def endpoint(request: Request) -> Response:
            found = pacs.archive.resources.one("instance", request.path_params["id"])
            if found is None or found.stored is None:
                raise OrthancError(404)
            return answer(pacs, found.stored, request)

        return endpoint

    base = "/instances/{id}"
    return [
        Route(f"{base}/file", of(_file), methods=["GET"]),
        Route(f"{base}/tags", of(_tags), methods=["GET"]),
        Route(f"{base}/simplified-tags", of(_simplified), methods=["GET"]),
        Route(f"{base}/header", of(_header), methods=["GET"]),
        Route(f"{base}/content", of(_content), methods=["GET"]),
        Route(f"{base}/content/{{path:path}}", of(_content), methods=["GET"]),
        Route(f"{base}/pdf", of(_pdf), methods=["GET"]),
    ]


def _file(_: "Pacs", stored: Stored, request: Request) -> Response:
    wanted = request.query_params.get("transcode")
    if wanted and wanted != stored.transfer_syntax_uid:
        return _transcoded(stored, wanted)
    headers = {
        "Content-Disposition": f'attachment; filename="{uuid_of(stored)}.dcm"',
        "Content-Length": str(stored.size),
    }
    return StreamingResponse(_chunks(stored), media_type="application/dicom", headers=headers)


def _chunks(stored: Stored) -> Iterator[bytes]:
    with open_instance(stored) as file:
        yield safe_preamble(file.read(_CHUNK))
        while chunk := file.read(_CHUNK):
            yield chunk


def _transcoded(stored: Stored, wanted: str) -> Response:
    data = transcoded(stored, wanted)
    headers = {"Content-Disposition": f'attachment; filename="{uuid_of(stored)}.dcm"'}
    return Response(data, media_type="application/dicom", headers=headers)


def _tags(pacs: "Pacs", stored: Stored, request: Request) -> Response:
    longest = 0 if "ignore-length" in request.query_params else LONGEST
    return as_json(shown_tags(pacs, stored, form_of_tags(request), longest=longest))


def _simplified(pacs: "Pacs", stored: Stored, _: Request) -> Response:
    return as_json(shown_tags(pacs, stored, "simple"))


def _header(pacs: "Pacs", stored: Stored, request: Request) -> Response:
    """The File Meta Information; empty for a file that has none."""
    start = pacs.archive.read(stored.key, 0, stored.dataset_offset)
    meta = Dataset()
    if start[128:132] == b"DICM":
        meta = read_header(start, dataset_offset=132, transfer_syntax_uid="1.2.840.10008.1.2.1")
    return as_json(as_tags(meta, form_of_tags(request)))


def _content(pacs: "Pacs", stored: Stored, request: Request) -> Response:
    """Raw values: ``content/0010-0010``, ``content/0008-1140/0/0008-1150``, ``content/7fe0-0010/0``."""
    ds: Dataset = header_of(pacs, stored)
    has_pixels = stored.header_length < stored.size
    parts = [part for part in request.path_params.get("path", "").split("/") if part]
    for depth in range(0, len(parts), 2):
        tag = _as_tag(parts[depth])
        rest = parts[depth + 1 :]
        if int(tag) in _PIXELS and has_pixels and depth == 0:
            return _pixels(stored, rest)
        if tag not in ds:
            return unknown_resource()
        raw = getattr(ds.get_item(tag), "value", None)
        if ds[tag].VR != "SQ":
            return unknown_resource() if rest else _raw(ds, tag, raw)
        items = ds[tag].value
        if not rest:
            return as_json([str(index) for index in range(len(items))])
        if not _is_index(rest[0], len(items)):
            return unknown_resource()
        ds = items[int(rest[0])]
    names = [dashed(int(tag)) for tag in sorted(ds.keys())]
    return as_json(names + ["7fe0-0010"] * (has_pixels and not parts))


def _is_index(text: str, count: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9 and int(text) < count


def _as_tag(text: str) -> BaseTag:
    digits = text.replace(",", "").replace("-", "")
    try:
        return Tag(int(digits, 16)) if len(digits) == 8 else Tag(as_keyword(text))
    except ValueError:
        return Tag(as_keyword(text))


def _raw(ds: Dataset, tag: BaseTag, raw: object) -> Response:
    """The bytes of a value, padding included, as they stand in the file."""
    if not isinstance(raw, bytes):
        # Asking for one element may convert another, such as the character set; that one is written anew.
        text = text_value(ds, tag) or ""
        raw = (text + " " * (len(text) % 2)).encode("latin-1", "replace")
    return Response(raw, media_type=_BINARY)


def _pixels(stored: Stored, rest: list[str]) -> Response:
    with Image(stored) as image:
        count = image.layout.number_of_frames
        if not rest:
            return as_json([str(index) for index in range(count)])
        if len(rest) > 1 or not _is_index(rest[0], count):
            return unknown_resource()
        return Response(image.stored_frame(int(rest[0])), media_type=_BINARY)


def _pdf(pacs: "Pacs", stored: Stored, _: Request) -> Response:
    ds = header_of(pacs, stored)
    if stored.sop_class_uid != "1.2.840.10008.5.1.4.1.1.104.1" or "EncapsulatedDocument" not in ds:
        raise OrthancError(400, "no PDF is encapsulated in this instance", orthanc=(15, "Bad file format"))
    length = ds.get("EncapsulatedDocumentLength")
    document = bytes(ds.EncapsulatedDocument)
    headers = {"Content-Disposition": f'attachment; filename="{uuid_of(stored)}.pdf"'}
    return Response(document[:length] if length else document, media_type="application/pdf", headers=headers)
