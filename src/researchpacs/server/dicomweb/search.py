"""QIDO-RS: search for studies, series and instances (PS3.18 10.6)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from researchpacs.archive.matching import find_matches
from researchpacs.errors import InvalidInputError
from researchpacs.model import Find, Level
from researchpacs.server.dicomweb._answers import DICOM_JSON, dicom_json
from researchpacs.server.dicomweb._media import first_taken, wanted_by
from researchpacs.server.dicomweb._query import LARGEST_PAGE, Question, parse_question
from researchpacs.server.dicomweb._resources import pacs_of, root_url
from researchpacs.server.dicomweb._results import result

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["search_instances", "search_series", "search_studies"]

_UIDS: Mapping[str, str] = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID"}


def search_studies(request: Request) -> Response:
    """``/studies``."""
    return _search(request, "study")


def search_series(request: Request) -> Response:
    """``/series`` and ``/studies/{study}/series``."""
    return _search(request, "series")


def search_instances(request: Request) -> Response:
    """``/instances``, also of a study or a series."""
    return _search(request, "instance")


def _search(request: Request, level: Level) -> Response:
    media_type = first_taken(wanted_by(request), (DICOM_JSON, "application/json"))
    given = {name: uid for name, uid in request.path_params.items() if name in _UIDS}
    question = parse_question(level, {_UIDS[name]: uid for name, uid in given.items()}, request.query_params)
    pacs, root = pacs_of(request), root_url(request)
    question = _with_others(pacs, question)
    limit = question.find.limit
    # One more than wanted tells whether there are more.
    asked = replace(question.find, limit=None if limit is None else limit + 1)
    matches = find_matches(pacs.archive, asked, fuzzy=question.fuzzy)
    headers = {}
    if len(matches) > LARGEST_PAGE:
        headers["Warning"] = f'299 {root} "There are additional results that can be requested"'
    shown = [result(pacs.archive, match, question, given=given, root=root) for match in matches[:limit]]
    return dicom_json(shown, headers=headers, media_type=media_type)


def _with_others(pacs: "Pacs", question: Question) -> Question:
    """Ask the catalog about attributes that the ledger does not index; the UIDs it knows become a filter."""
    if not question.others:
        return question
    find, keyword = question.find, _UIDS[question.find.level]
    others: dict[str, Any] = dict(question.others)
    table = pacs.search(find.level, **others).df(columns=[keyword])
    uids = set(table[keyword])
    named = find.filters.get(keyword)
    if named is not None:
        if isinstance(named, tuple):
            raise InvalidInputError(f"{keyword} takes no range")
        uids &= {named} if isinstance(named, str) else set(named)
    return replace(question, find=Find(find.level, {**find.filters, keyword: sorted(uids)}, find.limit, find.offset))
