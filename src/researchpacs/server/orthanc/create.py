"""Create instances of attributes, pictures and documents: ``/tools/create-dicom``."""

import base64
import binascii
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.dicom.keywords import level_of
from researchpacs.dicom.make import complete, image_instance, pdf_instance
from researchpacs.dicom.modify import Rules, apply_rules, as_tag, use_unicode
from researchpacs.errors import InvalidInputError
from researchpacs.server.intake import store_stream
from researchpacs.server.orthanc.answers import as_json
from researchpacs.server.orthanc.bodies import body_object
from researchpacs.server.orthanc.dataset import header_of
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.zips import instances_of, levels_of

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

_MAKERS = {"image/png": image_instance, "image/jpeg": image_instance, "application/pdf": pdf_instance}
_ABOVE = {"patient": ("patient",), "study": ("patient", "study"), "series": ("patient", "study")}
_OF_SERIES = ("SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "SeriesDate", "SeriesTime")


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def create(request: Request) -> Response:
        return _create(pacs, body_object(request))

    return [Route("/tools/create-dicom", create, methods=["POST"])]


def _create(pacs: "Pacs", options: Mapping[str, Any]) -> Response:
    tags = options.get("Tags", {})
    if not isinstance(tags, Mapping):
        raise OrthancError(400, "Tags has to be an object")
    content = options.get("Content")
    if isinstance(content, list):
        raise OrthancError(400, "one picture or document makes one instance; send several requests")
    ds = _of_content(content) if content else Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    parent = options.get("Parent")
    if parent is not None:
        _take_from(pacs, ds, str(parent), tags)
    apply_rules(ds, Rules(replace={int(as_tag(name)): value for name, value in tags.items()}))
    outcome = store_stream(pacs, BytesIO(complete(ds)))
    if outcome.identity is None or outcome.kind in ("refused", "conflict"):
        raise InvalidInputError(f"the instance cannot be stored: {outcome.reason}")
    name = outcome.identity.orthanc_id("instance")
    return as_json(
        {
            "ID": name,
            "ParentPatient": outcome.identity.orthanc_id("patient"),
            "ParentSeries": outcome.identity.orthanc_id("series"),
            "ParentStudy": outcome.identity.orthanc_id("study"),
            "Path": f"/instances/{name}",
            "Status": "Success",
        }
    )


def _of_content(content: object) -> Dataset:
    """Read a data URI (RFC 2397)."""
    head, comma, data = content.partition(",") if isinstance(content, str) else ("", "", "")
    kind = head.removeprefix("data:").removesuffix(";base64")
    if not comma or not head.startswith("data:") or not head.endswith(";base64") or kind not in _MAKERS:
        raise OrthancError(400, f"Content has to be data:<type>;base64,<data> of {', '.join(_MAKERS)}")
    try:
        return _MAKERS[kind](base64.b64decode(data, validate=True))
    except binascii.Error as error:
        raise OrthancError(400, "Content is not base64") from error


def _take_from(pacs: "Pacs", ds: Dataset, parent: str, tags: Mapping[str, Any]) -> None:
    """Take patient, study and series from the parent; they cannot be said again."""
    levels = levels_of(pacs, parent)
    if not levels or levels[0] == "instance":
        raise OrthancError(404, "Parent has to be a patient, study or series that is there")
    level = levels[0]
    header = header_of(pacs, instances_of(pacs, [parent], level)[0])
    use_unicode(header)
    for name in tags:
        tag = as_tag(name)
        if tag in header and level_of(header[tag].keyword) in _ABOVE[level]:
            raise OrthancError(400, "Tags must not say again what the parent says")
    for element in header:
        of_series = level == "series" and element.keyword in _OF_SERIES
        if element.keyword and (level_of(element.keyword) in _ABOVE[level] or of_series):
            ds[element.tag] = element
