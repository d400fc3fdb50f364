"""Create instances of attributes, pictures and documents: ``/tools/create-dicom``."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pydicom.uid import generate_uid
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.convert.document import model_draft, pdf_draft
from researchpacs.convert.picture import picture_draft
from researchpacs.dicom.keywords import level_of
from researchpacs.dicom.make import complete
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

_MAKERS: Mapping[str, Callable[[bytes], Dataset]] = {
    "image/png": lambda content: picture_draft(content)[0],
    "image/jpeg": lambda content: picture_draft(content, keep_jpeg=False)[0],
    "application/pdf": lambda content: _of_modality("OT", pdf_draft(content)),
    "model/stl": model_draft,
}
_ABOVE = {"patient": ("patient",), "study": ("patient", "study"), "series": ("patient", "study")}
_OF_INSTANCE = ("InstanceCreation", "Acquisition", "Content")
_DATED_BELOW: Mapping[str, Sequence[str]] = {
    "": ("Study", "Series", *_OF_INSTANCE),
    "patient": ("Study", "Series", *_OF_INSTANCE),
    "study": ("Series", *_OF_INSTANCE),
    "series": _OF_INSTANCE,
}
"""By level of the parent, which dates are told."""
_OF_SERIES = ("SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "SeriesDate", "SeriesTime")


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def create(request: Request) -> Response:
        return _create(pacs, body_object(request))

    return [Route("/tools/create-dicom", create, methods=["POST"])]


def _create(pacs: "Pacs", options: Mapping[str, Any]) -> Response:
    """One content makes an instance, a list of them a series; all are made before the first is stored."""
    tags = _as_tags(options.get("Tags", {}))
    content, parent = options.get("Content"), options.get("Parent")
    if not isinstance(content, list) or not content:
        return as_json(_stored(pacs, _made(pacs, content, tags, parent)))
    if any(as_tag(name) == as_tag("SeriesInstanceUID") for name in tags):
        raise OrthancError(400, "a list of contents makes a series of its own")
    study_uid, series_uid = generate_uid(prefix=None), generate_uid(prefix=None)
    made = []
    for number, one in enumerate(content, 1):
        own = one if isinstance(one, Mapping) else {"Content": one}
        payload = own.get("Content") or "none"  # a list is of contents
        ds = _made(pacs, payload, {**tags, **_as_tags(own.get("Tags", {}))}, parent)
        ds.SeriesInstanceUID, ds.StudyInstanceUID = series_uid, ds.get("StudyInstanceUID") or study_uid
        ds.InstanceNumber = ds.ImageIndex = number
        ds.ImagesInAcquisition, ds.NumberOfTemporalPositions = len(content), 1
        made.append(ds)
    series = [_stored(pacs, ds)["ParentSeries"] for ds in made][-1]
    return as_json({"ID": series, "Path": f"/series/{series}", "Status": "Success"})


def _made(pacs: "Pacs", content: object, tags: Mapping[str, Any], parent: object) -> Dataset:
    ds = _of_content(content) if content else Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    level = _take_from(pacs, ds, str(parent), tags) if parent is not None else ""
    _tell_time(ds, _DATED_BELOW[level])
    apply_rules(ds, Rules(replace={int(as_tag(name)): value for name, value in tags.items()}))
    for keyword in ("SeriesNumber", "InstanceNumber") if "EncapsulatedDocument" in ds else ():
        if not ds.get(keyword):
            setattr(ds, keyword, 1)  # of type 1 in Encapsulated Document (PS3.3 C.24.1, C.24.2)
    return ds


def _stored(pacs: "Pacs", ds: Dataset) -> dict[str, str]:
    outcome = store_stream(pacs, BytesIO(complete(ds)))
    if outcome.identity is None or outcome.kind in ("refused", "conflict"):
        raise InvalidInputError(f"the instance cannot be stored: {outcome.reason}")
    name = outcome.identity.orthanc_id("instance")
    return {
        "ID": name,
        "ParentPatient": outcome.identity.orthanc_id("patient"),
        "ParentSeries": outcome.identity.orthanc_id("series"),
        "ParentStudy": outcome.identity.orthanc_id("study"),
        "Path": f"/instances/{name}",
        "Status": "Success",
    }


def _as_tags(tags: object) -> Mapping[str, Any]:
    if not isinstance(tags, Mapping):
        raise OrthancError(400, "Tags has to be an object")
    return tags


def _tell_time(ds: Dataset, levels: Sequence[str]) -> None:
    """Say when it was made, of every level that is new with it, as Orthanc does."""
    now = datetime.now(UTC)
    for level in levels:
        setattr(ds, f"{level}Date", now.strftime("%Y%m%d"))
        setattr(ds, f"{level}Time", now.strftime("%H%M%S"))


def _of_modality(modality: str, ds: Dataset) -> Dataset:
    ds.Modality = modality
    return ds


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


def _take_from(pacs: "Pacs", ds: Dataset, parent: str, tags: Mapping[str, Any]) -> str:
    """Take patient, study and series from the parent; they cannot be said again. Gives the parent's level."""
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
    return level
