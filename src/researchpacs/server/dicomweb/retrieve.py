"""WADO-RS: retrieve studies, series and instances, whole or as metadata (PS3.18 10.4.1.1.1, 10.4.1.1.2)."""

from collections.abc import Iterable, Iterator, Sequence

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from researchpacs.archive import Stored
from researchpacs.errors import PixelDataError
from researchpacs.server.dicomweb._answers import DICOM_JSON, RequestError, encoded
from researchpacs.server.dicomweb._instance import OpenInstance, pieces_of, size_of
from researchpacs.server.dicomweb._json import Attribute, json_of
from researchpacs.server.dicomweb._media import Wanted, first_taken, quoted, wanted_by
from researchpacs.server.dicomweb._resources import instance_url, named_instances, root_url
from researchpacs.server.dicomweb._syntaxes import EXPLICIT, can_become, is_native
from researchpacs.server.multipart import Part, closing, gathered, new_boundary, opening, written, written_size
from researchpacs.server.pieces import Piece, PiecesResponse, read_out
from researchpacs.server.transcoding import transcoded

__all__ = ["metadata", "multipart_answer", "retrieve", "whole_file"]

_DICOM = "application/dicom"


def retrieve(request: Request) -> Response:
    """``/studies/{study}`` and below: the instances as files.

    ``transfer-syntax=*`` means as stored. Where nothing is said, Explicit VR Little Endian is meant (PS3.18 8.7.3.5.2),
    and what cannot be decoded comes as stored.
    """
    instances = named_instances(request)
    for one in wanted_by(request):
        given = [stored for stored in instances if one.takes(_DICOM) and _fits(stored, one)]
        if not given or (one.multipart is False and len(instances) > 1):
            continue
        if one.multipart is False:
            return whole_file(given[0], one.transfer_syntax)
        return _several(given, one.transfer_syntax, root_url(request), status=_status(given, instances))
    raise RequestError(
        406,
        'instances come as multipart/related; type="application/dicom", in the transfer syntax they are stored in or '
        "in Explicit VR Little Endian; a single instance also as application/dicom",
    )


def metadata(request: Request) -> Response:
    """``.../metadata``: the data sets without their large values, as one JSON array that is written as it goes."""
    media_type = first_taken(wanted_by(request), (DICOM_JSON, "application/json"))
    return StreamingResponse(gathered(_array(named_instances(request), root_url(request))), media_type=media_type)


def multipart_answer(parts: Iterable[Part], media_type: str, *, size: int | None = None, status: int = 200) -> Response:
    """Send parts one after the other.

    Parameters
    ----------
    size
        Bytes of all that will be sent, where they are known (`written_size`), with the boundary's length.
    """
    boundary = new_boundary()
    headers = {"Content-Type": _multipart(media_type, boundary)}
    if size is not None:
        headers["Content-Length"] = str(size)
    return StreamingResponse(gathered(written(parts, boundary)), status_code=status, headers=headers)


def _fits(stored: Stored, wanted: Wanted) -> bool:
    return wanted.transfer_syntax in (None, "*") or can_become(stored, wanted.transfer_syntax or EXPLICIT)


def _transcodes(stored: Stored, transfer_syntax_uid: str | None) -> bool:
    if transfer_syntax_uid is None:
        return stored.transfer_syntax_uid != EXPLICIT and can_become(stored, EXPLICIT)
    return transfer_syntax_uid not in ("*", stored.transfer_syntax_uid)


def _transcoded(stored: Stored, transfer_syntax_uid: str | None) -> bytes | None:
    """The whole file in Explicit VR Little Endian; None where it cannot be so and nobody insists."""
    try:
        return transcoded(stored, EXPLICIT)
    except PixelDataError:
        if transfer_syntax_uid is not None:
            raise
        return None


def whole_file(stored: Stored, transfer_syntax_uid: str | None) -> Response:
    """One instance as application/dicom; the transfer syntax as for `retrieve`."""
    # A UID from a file may hold any character; a key never does.
    attached = {"Content-Disposition": f'attachment; filename="{stored.key}.dcm"'}
    content = _transcoded(stored, transfer_syntax_uid) if _transcodes(stored, transfer_syntax_uid) else None
    if content is not None:
        return Response(content, media_type=_DICOM, headers=attached)
    return PiecesResponse(pieces_of(stored), size=size_of(stored), headers={"Content-Type": _DICOM, **attached})


def _several(given: Sequence[Stored], transfer_syntax_uid: str | None, root: str, *, status: int) -> Response:
    if any(_transcodes(stored, transfer_syntax_uid) for stored in given):
        parts = (_part(stored, transfer_syntax_uid, root) for stored in given)
        # A single one is made now: what is wrong with it is still an answer then.
        return multipart_answer(list(parts) if len(given) == 1 else parts, _DICOM, status=status)
    as_stored = [_as_stored(stored, root) for stored in given]
    size, boundary = written_size(as_stored), new_boundary()
    assert size is not None
    headers = {"Content-Type": _multipart(_DICOM, boundary)}
    return PiecesResponse(_pieces(given, as_stored, boundary), size=size, headers=headers, status_code=status)


def _pieces(given: Iterable[Stored], parts: Iterable[Part], boundary: str) -> Iterator[Piece]:
    for stored, part in zip(given, parts, strict=True):
        yield opening(part, boundary)
        yield from pieces_of(stored)
    yield closing(boundary)


def _multipart(media_type: str, boundary: str) -> str:
    return f"multipart/related; type={quoted(media_type)}; boundary={boundary}"


def _status(given: Sequence[Stored], instances: Sequence[Stored]) -> int:
    return 200 if len(given) == len(instances) else 206


def _part(stored: Stored, transfer_syntax_uid: str | None, root: str) -> Part:
    content = _transcoded(stored, transfer_syntax_uid) if _transcodes(stored, transfer_syntax_uid) else None
    if content is None:
        return _as_stored(stored, root)
    return Part(f"{_DICOM}; transfer-syntax={EXPLICIT}", [content], len(content), instance_url(root, stored))


def _as_stored(stored: Stored, root: str) -> Part:
    media_type = f"{_DICOM}; transfer-syntax={stored.transfer_syntax_uid}"
    return Part(media_type, read_out(pieces_of(stored)), size_of(stored), instance_url(root, stored))


def _array(instances: Sequence[Stored], root: str) -> Iterator[bytes]:
    opening = b"["
    for stored in instances:
        url = instance_url(root, stored)
        with OpenInstance(stored) as instance:
            found = json_of(_data_set(instance), lambda path, url=url: f"{url}/bulkdata/{path}")  # type: ignore[misc]
            found.update(_pixels(instance, url))
        yield opening + encoded(found)
        opening = b","
    yield b"]"


def _data_set(instance: OpenInstance) -> Dataset:
    try:
        return instance.data_set
    except PixelDataError:
        return instance.header  # nobody can say where broken pixels end


def _pixels(instance: OpenInstance, url: str) -> Attribute:
    keyword = instance.pixel_keyword
    if keyword is None:
        return {}
    tag = f"{tag_for_keyword(keyword):08X}"
    vr = {"FloatPixelData": "OF", "DoubleFloatPixelData": "OD"}.get(keyword)
    return {tag: {"vr": vr or ("OW" if is_native(instance.stored) else "OB"), "BulkDataURI": f"{url}/bulkdata/{tag}"}}
