"""WADO-URI: one instance by its UIDs in a query, as a file or as a picture (PS3.18 9)."""

import math

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from researchpacs.archive import Stored
from researchpacs.archive.holdings import instances_of
from researchpacs.errors import NotFoundError
from researchpacs.server.dicomweb._answers import RequestError
from researchpacs.server.dicomweb._resources import pacs_of
from researchpacs.server.dicomweb._syntaxes import can_become
from researchpacs.server.dicomweb.render import MEDIA_TYPES, draw, encoded_picture
from researchpacs.server.dicomweb.retrieve import whole_file
from researchpacs.server.rendering import VoiWindow

__all__ = ["wado_uri"]

_DICOM = "application/dicom"


def wado_uri(request: Request) -> Response:
    """``/wado?requestType=WADO&studyUID=...&seriesUID=...&objectUID=...``."""
    params = request.query_params
    if params.get("requestType") != "WADO":
        raise RequestError(400, "requestType is WADO")
    stored = _named(request)
    kinds = [part.split(";")[0].strip().lower() for part in params.get("contentType", "").split(",")]
    for kind in kinds:
        if kind in (_DICOM, "application/*"):
            return _file(stored, params)
        if kind in MEDIA_TYPES or kind in ("", "*/*", "image/*"):
            if kind in ("", "*/*") and stored.header_length == stored.size:
                return _file(stored, params)
            return _picture(stored, params, kind if kind in MEDIA_TYPES else MEDIA_TYPES[0])
    raise RequestError(406, f"contentType is {_DICOM}, {', '.join(MEDIA_TYPES)}")


def _named(request: Request) -> Stored:
    uids = [request.query_params.get(name) for name in ("studyUID", "seriesUID", "objectUID")]
    study_uid, series_uid, sop_uid = uids
    if not (study_uid and series_uid and sop_uid):
        raise RequestError(400, "studyUID, seriesUID and objectUID name an instance; all three are needed")
    found = instances_of(pacs_of(request).archive, study_uid, series_uid, sop_uid)
    if not found:
        raise NotFoundError("no such instance is in the archive")
    if len(found) > 1:
        raise RequestError(409, f"{len(found)} patients share the UIDs of this instance")
    return found[0]


def _file(stored: Stored, params: QueryParams) -> Response:
    wanted = params.get("transferSyntax")
    if wanted not in (None, "*") and not can_become(stored, wanted):
        raise RequestError(406, f"the instance comes in {stored.transfer_syntax_uid} or in Explicit VR Little Endian")
    return whole_file(stored, wanted)


def _picture(stored: Stored, params: QueryParams, media_type: str) -> Response:
    number = _count(params, "frameNumber", 1)
    rows, columns = _count(params, "rows", 0), _count(params, "columns", 0)
    viewport = None
    if rows or columns:
        # One side alone leaves the other to the picture's proportions.
        viewport = (columns or 8_192, rows or 8_192, None)
    picture = draw(stored, number - 1, window=_window(params), viewport=viewport)
    return encoded_picture(picture, media_type, min(100, max(1, _count(params, "imageQuality", 90))))


def _window(params: QueryParams) -> VoiWindow | None:
    center, width = params.get("windowCenter"), params.get("windowWidth")
    if center is None and width is None:
        return None
    try:
        return VoiWindow(float(center or math.nan), float(width or math.nan))
    except ValueError:
        raise RequestError(400, "windowCenter and windowWidth are numbers and come together") from None


def _count(params: QueryParams, name: str, default: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= 8_192):
        raise RequestError(400, f"{name} is a number from 1 to 8192")
    return int(text)
