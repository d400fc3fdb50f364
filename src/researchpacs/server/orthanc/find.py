"""Questions: ``/tools/find``, ``/tools/count-resources`` and ``/tools/lookup``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive.question import Order, Question, is_indexed, is_own, matches_text
from researchpacs.dicom.keywords import vr_of
from researchpacs.model import Level
from researchpacs.server.orthanc.answers import as_json
from researchpacs.server.orthanc.bodies import body_object, body_text
from researchpacs.server.orthanc.dataset import header_of, text_of
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.metadata import metadata_of
from researchpacs.server.orthanc.names import CHILDREN, LEVELS, PLURAL, TYPE, as_keyword, as_level
from researchpacs.server.orthanc.objects import Format, as_objects

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

_PAGE = 500
_MOST_ORDERS = 64
_RANGE = (3, "Parameter out of range")
_CONTENT: Mapping[str, tuple[str, ...]] = {
    "MainDicomTags": ("MainDicomTags", "PatientMainDicomTags"),
    "Children": tuple(CHILDREN.values()),
    "Parent": ("ParentPatient", "ParentStudy", "ParentSeries"),
    "Labels": ("Labels",),
    "Status": ("Status", "ExpectedNumberOfInstances"),
    "IsStable": ("IsStable",),
    "IsProtected": ("IsProtected",),
    "Metadata": ("Metadata",),
    "RequestedTags": (),
}
"""What ``ResponseContent`` names, as the members of the objects."""


@dataclass(frozen=True, slots=True)
class _Find:
    """A parsed request."""

    question: Question
    from_files: Mapping[str, str] = field(default_factory=dict)
    """What the ledger cannot match."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    since: int = 0
    expand: bool = False
    form: Format = "simple"
    requested: Sequence[str] = ()
    content: Sequence[str] | None = None


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def find(request: Request) -> Response:
        wanted = _parse(body_object(request))
        names = _names(pacs, wanted)
        return as_json(list(_objects(pacs, wanted, names)) if wanted.expand else names)

    def count(request: Request) -> Response:
        wanted = replace(_parse(body_object(request)), limit=None, since=0)
        return as_json({"Count": len(_names(pacs, wanted))})

    def lookup(request: Request) -> Response:
        found = pacs.archive.resources.lookup(body_text(request).strip())
        return as_json([{"ID": name, "Path": f"/{PLURAL[level]}/{name}", "Type": TYPE[level]} for level, name in found])

    return [
        Route("/tools/find", find, methods=["POST"]),
        Route("/tools/count-resources", count, methods=["POST"]),
        Route("/tools/lookup", lookup, methods=["POST"]),
    ]


def _parse(body: Mapping[str, Any]) -> _Find:
    if not isinstance(body.get("Level"), str):
        raise OrthancError(400, 'Field "Level" is missing, or should be a string')
    level = as_level(body["Level"])
    matches = _matches(body.get("Query"))
    content = _texts(body, "ResponseContent") if "ResponseContent" in body else None
    if content is not None and any(one not in _CONTENT for one in content):
        raise OrthancError(400, f"ResponseContent holds {', '.join(_CONTENT)}", orthanc=_RANGE)
    question = Question(
        level,
        matches={keyword: text for keyword, text in matches.items() if is_indexed(keyword, level)},
        case_sensitive=body.get("CaseSensitive") is True,
        parents=_parents(body, level),
        labels=_texts(body, "Labels"),
        labels_constraint=_labels_constraint(body),
        order=_order(body.get("OrderBy") or [], level),
    )
    return _Find(
        question=question,
        from_files={keyword: text for keyword, text in matches.items() if not is_indexed(keyword, level)},
        metadata=_mapping(body, "MetadataQuery"),
        limit=_count(body, "Limit") or None,
        since=_count(body, "Since"),
        expand=body.get("Expand") is True or content is not None,
        form="short" if body.get("Short") is True else "full" if body.get("Full") is True else "simple",
        requested=[as_keyword(one) for one in _texts(body, "RequestedTags")],
        content=content,
    )


def _names(pacs: "Pacs", wanted: _Find) -> list[str]:
    """Names of what matches; what the ledger cannot match is looked up one by one."""
    question = wanted.question
    if not wanted.from_files and not wanted.metadata:
        return pacs.archive.resources.names(replace(question, limit=wanted.limit, offset=wanted.since))
    found: list[str] = []
    enough = None if wanted.limit is None else wanted.since + wanted.limit
    for name in pacs.archive.resources.names(question):
        if _fits(pacs, wanted, name):
            found.append(name)
            if enough is not None and len(found) >= enough:
                break
    return found[wanted.since :]


def _fits(pacs: "Pacs", wanted: _Find, name: str) -> bool:
    level, sensitive = wanted.question.level, wanted.question.case_sensitive
    if wanted.metadata:
        one = pacs.archive.resources.one(level, name)
        kept = metadata_of(pacs, one) if one else {}
        if not all(
            matches_text(kept.get(key, ""), "PatientComments", text, case_sensitive=True)
            for key, text in wanted.metadata.items()
        ):
            return False
    if not wanted.from_files:
        return True
    for stored in pacs.archive.resources.instances(level, name, limit=1):
        ds = header_of(pacs, stored)
        values = {keyword: text_of(ds, keyword) for keyword in wanted.from_files}
        return all(
            value is not None and matches_text(value, keyword, wanted.from_files[keyword], case_sensitive=sensitive)
            for keyword, value in values.items()
        )
    return False


def _objects(pacs: "Pacs", wanted: _Find, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    level, content = wanted.question.level, wanted.content
    unwanted = set[str]()
    if content is not None:
        unwanted = {member for key, members in _CONTENT.items() if key not in content for member in members}
    for start in range(0, len(names), _PAGE):
        found = pacs.archive.resources.get(level, names[start : start + _PAGE])
        made = as_objects(pacs, found, form=wanted.form, requested=wanted.requested)
        for one, shown in zip(found, made, strict=True):
            if content is not None and "Metadata" in content:
                shown["Metadata"] = metadata_of(pacs, one)
            yield {key: value for key, value in shown.items() if key not in unwanted}


def _matches(query: object) -> dict[str, str]:
    if not isinstance(query, dict):
        raise OrthancError(400, 'Field "Query" is missing, or should be a JSON object')
    matches: dict[str, str] = {}
    for name, text in query.items():
        if not isinstance(text, str):
            raise OrthancError(400, f'Tag "{name}" should be associated with a string')
        keyword = as_keyword(name)
        if text and vr_of(keyword) in ("DA", "TM") and ("*" in text.strip("*") or "?" in text or text.endswith("*")):
            raise OrthancError(400, f"Wildcards are not allowed on {keyword}", orthanc=_RANGE)
        if text and vr_of(keyword) == "SQ":
            raise OrthancError(400, f"{keyword} is a sequence, which cannot be matched", orthanc=_RANGE)
        if text:
            matches[keyword] = text
    return matches


def _parents(body: Mapping[str, Any], level: Level) -> dict[Level, str]:
    found: dict[Level, str] = {}
    for above in LEVELS[:3]:
        name = body.get(f"Parent{TYPE[above]}")
        if not isinstance(name, str) or not name:
            continue
        if LEVELS.index(above) >= LEVELS.index(level):
            raise OrthancError(400, f"a {level} is below no Parent{TYPE[above]}", orthanc=_RANGE)
        found[above] = name
    return found


def _labels_constraint(body: Mapping[str, Any]) -> str:
    text = body.get("LabelsConstraint") or "All"
    if text not in ("All", "Any", "None"):
        raise OrthancError(400, "LabelsConstraint is All, Any or None", orthanc=_RANGE)
    return str(text).lower()


def _order(items: object, level: Level) -> list[Order]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise OrthancError(400, 'Field "OrderBy" should be an array of objects')
    if len(items) > _MOST_ORDERS:
        raise OrthancError(400, f"OrderBy has at most {_MOST_ORDERS} entries", orthanc=_RANGE)
    orders = []
    for item in items:
        direction, key = str(item.get("Direction", "ASC")).upper(), str(item.get("Key", ""))
        kind = str(item.get("Type", ""))
        if direction not in ("ASC", "DESC") or not kind.startswith(("DicomTag", "Metadata")):
            raise OrthancError(400, "OrderBy has Type DicomTag or Metadata and Direction ASC or DESC", orthanc=_RANGE)
        by = as_keyword(key) if kind.startswith("DicomTag") else _timed(key)
        if by != "updated_at" and not is_own(by, level):
            raise OrthancError(400, f"{by} is not indexed at this level, so nothing is ordered by it", orthanc=_RANGE)
        orders.append(Order(by, descending=direction == "DESC"))
    return orders


def _timed(key: str) -> str:
    if key not in ("LastUpdate", "ReceptionDate"):
        raise OrthancError(400, "of the metadata, LastUpdate and ReceptionDate can be ordered by", orthanc=_RANGE)
    return "updated_at"


def _count(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 60:
        raise OrthancError(400, f'Field "{name}" should be a positive integer', orthanc=_RANGE)
    return value


def _texts(body: Mapping[str, Any], name: str) -> list[str]:
    value = body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise OrthancError(400, f'Field "{name}" should be an array of strings')
    return value


def _mapping(body: Mapping[str, Any], name: str) -> dict[str, str]:
    value = body.get(name) or {}
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise OrthancError(400, f'Field "{name}" should be an object of strings')
    return value
