"""Questions to DICOM nodes and their answers: ``/modalities/{name}/query``, ``/queries``.

Answers are kept in memory, as Orthanc keeps them: those of the last 100 questions, 20,000 in all, until it ends.
"""

import itertools
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.model import Level
from researchpacs.server.orthanc.answers import as_json, as_text, flag
from researchpacs.server.orthanc.bodies import body_object, body_or_word
from researchpacs.server.orthanc.dataset import as_tags, form_of_tags, text_of
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.identifiers import UNIQUE, identifier_of
from researchpacs.server.orthanc.modalities import modality
from researchpacs.server.orthanc.names import LEVELS, TYPE, as_level
from researchpacs.server.orthanc.retrieve import retrieve_options, start_retrieval

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

_KEPT = 100
_MOST_ANSWERS = 20_000
_OUT_OF_RANGE = (3, "Parameter out of range")
_BELOW: Mapping[str, Level] = {"query-studies": "study", "query-series": "series", "query-instances": "instance"}
_ALWAYS = {
    "patient": ("PatientID",),
    "study": ("PatientID", "StudyInstanceUID", "AccessionNumber"),
    "series": ("PatientID", "StudyInstanceUID", "AccessionNumber", "SeriesInstanceUID"),
    "instance": ("PatientID", "StudyInstanceUID", "AccessionNumber", "SeriesInstanceUID", "SOPInstanceUID"),
}
"""What every answer is asked to name, so that it can be retrieved."""


@dataclass(frozen=True)
class _Query:
    """A question and what a node answered."""

    modality: str
    level: Level
    asked: Dataset
    answers: list[Dataset]


class _Queries:
    """The last questions, by name."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Query] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, query: _Query) -> str:
        name = str(uuid.uuid4())
        with self._lock:
            self._kept[name] = query
            while len(self._kept) > _KEPT or sum(len(one.answers) for one in self._kept.values()) > _MOST_ANSWERS:
                self._kept.popitem(last=False)
        return name

    def names(self) -> list[str]:
        with self._lock:
            return list(self._kept)

    def of(self, request: Request) -> _Query:
        with self._lock:
            found = self._kept.get(request.path_params["id"])
        if found is None:
            raise OrthancError(404)
        return found

    def remove(self, request: Request) -> None:
        with self._lock:
            self._kept.pop(request.path_params["id"], None)


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""
    queries = _Queries()

    def ask(request: Request) -> Response:
        body = body_object(request)
        if "Level" not in body:
            raise OrthancError(400, "The JSON body must contain field Level", orthanc=(15, "Bad file format"))
        asked = identifier_of(body.get("Query") or {})
        return _named(queries.add(_asked(pacs, request.path_params["name"], as_level(body["Level"]), asked)))

    def remove(request: Request) -> Response:
        queries.remove(request)
        return as_text("")

    def on(answer: Callable[[Request, _Query], Response]) -> Callable[[Request], Response]:
        return lambda request: answer(request, queries.of(request))

    def ask_below(request: Request, query: _Query) -> Response:
        level = _BELOW.get(request.path_params["operation"])
        found = _answer_of(request, query)
        if level is None or LEVELS.index(level) <= LEVELS.index(query.level):
            raise OrthancError(404)
        asked = identifier_of(body_object(request).get("Query") or {})
        for one in LEVELS[: LEVELS.index(query.level) + 1]:
            asked.setdefault(UNIQUE[one], text_of(found, UNIQUE[one]))
        return _named(queries.add(_asked(pacs, query.modality, level, asked)))

    def retrieve(request: Request, query: _Query) -> Response:
        return _retrieve(pacs, request, query, query.answers)

    def retrieve_one(request: Request, query: _Query) -> Response:
        return _retrieve(pacs, request, query, [_answer_of(request, query)])

    one = "/queries/{id}/answers/{index}"
    return [
        Route("/modalities/{name}/query", ask, methods=["POST"]),
        Route("/queries", lambda _: as_json(queries.names())),
        Route("/queries/{id}", on(lambda _, __: as_json(["answers", "level", "modality", "query", "retrieve"]))),
        Route("/queries/{id}", remove, methods=["DELETE"]),
        Route("/queries/{id}/level", on(lambda _, query: as_text(TYPE[query.level]))),
        Route("/queries/{id}/modality", on(lambda _, query: as_text(query.modality))),
        Route("/queries/{id}/query", on(lambda request, query: as_json(as_tags(query.asked, form_of_tags(request))))),
        Route("/queries/{id}/answers", on(_answers)),
        Route("/queries/{id}/retrieve", on(retrieve), methods=["POST"]),
        Route(one, on(_operations)),
        Route(f"{one}/content", on(_content)),
        Route(f"{one}/retrieve", on(retrieve_one), methods=["POST"]),
        Route(f"{one}/{{operation}}", on(ask_below), methods=["POST"]),
    ]


def _asked(pacs: "Pacs", name: str, level: Level, asked: Dataset) -> _Query:
    """Ask a node (C-FIND)."""
    from researchpacs.archive._dimse._contexts import FIND
    from researchpacs.archive._dimse._query import LEVEL_NAMES, ask, root_of

    peer = modality(pacs, name)
    identifier = Dataset()
    identifier.update(asked)
    for keyword in _ALWAYS[level]:
        identifier.setdefault(keyword, None)
    identifier.QueryRetrieveLevel = LEVEL_NAMES[level]
    answers = list(itertools.islice(ask(peer, FIND[root_of(level)], identifier), _MOST_ANSWERS + 1))
    if len(answers) > _MOST_ANSWERS:
        raise OrthancError(400, f"the node has more than {_MOST_ANSWERS} answers; ask for less", orthanc=_OUT_OF_RANGE)
    return _Query(name, level, asked, answers)


def _named(name: str) -> Response:
    return as_json({"ID": name, "Path": f"/queries/{name}"})


def _answers(request: Request, query: _Query) -> Response:
    if flag(request, "expand"):
        return as_json([as_tags(ds, form_of_tags(request)) for ds in query.answers])
    return as_json([str(index) for index in range(len(query.answers))])


def _answer_of(request: Request, query: _Query) -> Dataset:
    index = request.path_params["index"]
    if not (index.isascii() and index.isdigit() and len(index) < 10 and int(index) < len(query.answers)):
        raise OrthancError(400, orthanc=_OUT_OF_RANGE)
    return query.answers[int(index)]


def _operations(request: Request, query: _Query) -> Response:
    _answer_of(request, query)
    below = [name for name, level in _BELOW.items() if LEVELS.index(level) > LEVELS.index(query.level)]
    return as_json(["content", "retrieve", *below])


def _content(request: Request, query: _Query) -> Response:
    return as_json(as_tags(_answer_of(request, query), form_of_tags(request)))


def _retrieve(pacs: "Pacs", request: Request, query: _Query, answers: list[Dataset]) -> Response:
    options = retrieve_options(body_or_word(request))
    above = LEVELS[: LEVELS.index(query.level) + 1]
    wanted: list[dict[str, Any]] = []
    for ds in answers:
        unique = {UNIQUE[one]: text_of(ds, UNIQUE[one]) or "" for one in above if one != "patient" or len(above) == 1}
        wanted.append(unique)
    return start_retrieval(pacs, query.modality, query.level, wanted, options)
