"""A patient, study, series or instance as the JSON object that Orthanc's clients read."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from starlette.requests import Request

from researchpacs.archive import Stored, Subject
from researchpacs.archive.question import Question
from researchpacs.archive.resources import Resource
from researchpacs.server.orthanc.answers import flag
from researchpacs.server.orthanc.names import CHILDREN, LEVELS, MAIN_TAGS, TYPE, as_keyword, moment, numbered

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = [
    "PROTECTED",
    "Format",
    "as_objects",
    "format_of",
    "index_in_series",
    "is_protected",
    "requested_of",
    "tags_in",
    "uuid_of",
]

PROTECTED = "protected"
"""The name of a patient's metadata that says so."""
Format = Literal["simple", "short", "full"]
_COUNTED = {
    "NumberOfPatientRelatedStudies": ("patient", "study"),
    "NumberOfPatientRelatedSeries": ("patient", "series"),
    "NumberOfPatientRelatedInstances": ("patient", "instance"),
    "NumberOfStudyRelatedSeries": ("study", "series"),
    "NumberOfStudyRelatedInstances": ("study", "instance"),
    "NumberOfSeriesRelatedInstances": ("series", "instance"),
}


def format_of(request: Request) -> Format:
    """How tags are spelt: by name, or by number alone, or by number with name and type."""
    return "short" if flag(request, "short") else "full" if flag(request, "full") else "simple"


def requested_of(request: Request) -> list[str]:
    """Keywords of the tags that a request wants beside the main ones."""
    text = request.query_params.get("requested-tags") or request.query_params.get("requestedTags") or ""
    return [as_keyword(one) for one in text.split(";") if one]


def as_objects(
    pacs: "Pacs", resources: Sequence[Resource], *, form: Format = "simple", requested: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Make the objects.

    Parameters
    ----------
    pacs
        Where they are.
    resources
        What the ledger knows of them, all of one level.
    form
        How tags are spelt.
    requested
        Keywords of the tags that are wanted beside the main ones.
    """
    subjects = {one.orthanc_id: Subject.of(one.level, one.identity) for one in resources}
    labels = pacs.archive.labels.of_all(list(subjects.values()))
    return [_object(pacs, one, labels[subjects[one.orthanc_id]], form, requested) for one in resources]


def is_protected(pacs: "Pacs", patient: Resource) -> bool:
    """Whether somebody asked to protect a patient from being recycled; nothing ever is here."""
    return PROTECTED in pacs.archive.metadata.names(Subject.of("patient", patient.identity))


def tags_in(values: Mapping[str, str], form: Format) -> dict[str, Any]:
    """Attributes by keyword in the spelling that is wanted."""
    if form == "short":
        return {numbered(keyword): value for keyword, value in values.items()}
    if form == "full":
        return {
            numbered(keyword): {"Name": keyword, "Type": "String", "Value": value} for keyword, value in values.items()
        }
    return dict(values)


def index_in_series(resource: Resource) -> int | None:
    """Position of an instance in its series: InstanceNumber, else ImageIndex."""
    own = resource.attributes["instance"]
    for keyword in ("InstanceNumber", "ImageIndex"):
        number = _integer(own.get(keyword, ""))
        if number is not None:
            return number
    return None


def uuid_of(stored: Stored) -> str:
    """A name of the instance's file, in the form of a UUID."""
    digits = stored.sha256 or stored.key
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def _object(
    pacs: "Pacs", one: Resource, labels: Sequence[str], form: Format, requested: Sequence[str]
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "ID": one.orthanc_id,
        "Labels": list(labels),
        "MainDicomTags": tags_in(_main(one, one.level), form),
        "Type": TYPE[one.level],
    }
    if one.level == "instance":
        made |= _of_instance(one)
    else:
        made |= {
            CHILDREN[one.level]: list(one.children),
            "IsStable": one.stable,
            "LastUpdate": moment(one.updated_at),
        }
    if one.level == "patient":
        made["IsProtected"] = is_protected(pacs, one)
    if one.level == "study":
        made |= {"ParentPatient": one.parent, "PatientMainDicomTags": tags_in(_main(one, "patient"), form)}
    if one.level == "series":
        made |= {"ParentStudy": one.parent, **_progress(pacs, one)}
    if requested:
        made["RequestedTags"] = tags_in(_requested(pacs, one, requested), form)
    return made


def _of_instance(one: Resource) -> dict[str, Any]:
    assert one.stored is not None
    return {
        "FileSize": one.stored.size,
        "FileUuid": uuid_of(one.stored),
        "IndexInSeries": index_in_series(one),
        "ParentSeries": one.parent,
    }


def _main(one: Resource, level: Any) -> dict[str, str]:
    known = one.attributes[level]
    return {keyword: known[keyword] for keyword in MAIN_TAGS[level] if keyword in known}


def _progress(pacs: "Pacs", one: Resource) -> dict[str, Any]:
    """How many instances a series should have, where it says so, and whether they are there."""
    expected = _expected(one.attributes["series"])
    if expected is None:
        return {"ExpectedNumberOfInstances": None, "Status": "Unknown"}
    indices = [index_in_series(child) for child in pacs.archive.resources.get("instance", one.children)]
    if any(index is None for index in indices):
        status = "Unknown"
    elif len(set(indices)) < len(indices) or any(not 0 < (index or 0) <= expected for index in indices):
        status = "Inconsistent"
    else:
        status = "Complete" if len(indices) == expected else "Missing"
    return {"ExpectedNumberOfInstances": expected, "Status": status}


def _expected(series: Mapping[str, str]) -> int | None:
    def value(keyword: str) -> int | None:
        return _integer(series.get(keyword, ""))

    for one, other in (("ImagesInAcquisition", "NumberOfTemporalPositions"), ("NumberOfSlices", "NumberOfTimeSlices")):
        first, second = value(one), value(other)
        if first and second:
            return first * second
    return value("CardiacNumberOfImages")


def _requested(pacs: "Pacs", one: Resource, requested: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    missing: list[str] = []
    for keyword in requested:
        value = _computed(pacs, one, keyword)
        if value is None:
            value = next((one.attributes[up][keyword] for up in LEVELS if keyword in one.attributes.get(up, ())), None)
        if value is None:
            missing.append(keyword)
        else:
            found[keyword] = value
    return found | (_from_file(pacs, one, missing) if missing else {})


def _computed(pacs: "Pacs", one: Resource, keyword: str) -> str | None:
    """Attributes of queries that stand in no file (PS3.4 C.3.4)."""
    resources = pacs.archive.resources
    if keyword in _COUNTED and _COUNTED[keyword][0] == one.level:
        below: Any = _COUNTED[keyword][1]
        return str(len(resources.names(Question(below, parents={one.level: one.orthanc_id}))))
    if one.level == "study" and keyword == "ModalitiesInStudy":
        series = resources.get("series", one.children)
        return "\\".join(sorted({child.attributes["series"].get("Modality", "") for child in series} - {""}))
    if one.level == "study" and keyword == "SOPClassesInStudy":
        return "\\".join(sorted({stored.sop_class_uid for stored in resources.instances("study", one.orthanc_id)}))
    if one.level == "instance" and keyword == "InstanceAvailability":
        return "ONLINE"
    return None


def _from_file(pacs: "Pacs", one: Resource, keywords: Sequence[str]) -> dict[str, str]:
    """What the ledger does not keep, from the first instance below."""
    from researchpacs.server.orthanc.dataset import header_of, text_of

    for stored in pacs.archive.resources.instances(one.level, one.orthanc_id, limit=1):
        ds = header_of(pacs, stored)
        values = {keyword: text_of(ds, keyword) for keyword in keywords}
        return {keyword: value for keyword, value in values.items() if value is not None}
    return {}


def _integer(text: str) -> int | None:
    first = text.split("\\", maxsplit=1)[0].strip()
    return int(first) if re.fullmatch(r"[+-]?[0-9]{1,12}", first) else None
