"""What a DICOM node has, as a tree of patients, studies and series: ``/modalities/{name}/find``."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive import Peer
from researchpacs.model import Level
from researchpacs.server.orthanc.answers import as_json
from researchpacs.server.orthanc.bodies import body_object
from researchpacs.server.orthanc.dataset import as_tags, text_of
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.identifiers import UNIQUE, identifier_of
from researchpacs.server.orthanc.modalities import modality

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

_ASKED: Mapping[Level, str] = {
    "patient": "OtherPatientIDs PatientBirthDate PatientID PatientName PatientSex",
    "study": (
        "AccessionNumber PatientID ReferringPhysicianName StudyDate StudyDescription StudyID StudyInstanceUID StudyTime"
    ),
    "series": (
        "AccessionNumber BodyPartExamined Modality OperatorsName PatientID PerformedProcedureStepDescription "
        "ProtocolName SeriesDate SeriesDescription SeriesInstanceUID SeriesNumber SeriesTime StudyInstanceUID"
    ),
}
_BELOW: Mapping[Level, tuple[Level, str]] = {"patient": ("study", "Studies"), "study": ("series", "Series")}
_MOST = 20_000


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def find(request: Request) -> Response:
        wanted = identifier_of(body_object(request))
        known = " ".join(_ASKED.values()).split()
        if any(element.keyword not in known for element in wanted):
            raise OrthancError(400, f"these can be asked for: {', '.join(sorted(set(known)))}")
        peer = modality(pacs, request.path_params["name"])
        return as_json(list(_tree(peer, "patient", wanted, {}, [_MOST])))

    return [Route("/modalities/{name}/find", find, methods=["POST"])]


def _tree(
    peer: Peer, level: Level, wanted: Dataset, above: Mapping[str, str], left: list[int]
) -> Iterator[dict[str, Any]]:
    """Objects of a level below others, each with its own; `left` counts down what may still come."""
    from researchpacs.archive._dimse._contexts import FIND
    from researchpacs.archive._dimse._query import LEVEL_NAMES, ask, root_of

    identifier = Dataset()
    for keyword in _ASKED[level].split():
        identifier[keyword] = wanted[keyword] if keyword in wanted else identifier_of({keyword: ""})[keyword]
    for keyword, value in above.items():
        setattr(identifier, keyword, value)
    identifier.QueryRetrieveLevel = LEVEL_NAMES[level]
    for ds in list(ask(peer, FIND[root_of(level)], identifier)):
        left[0] -= 1
        if left[0] < 0:
            raise OrthancError(400, f"the node has more than {_MOST} answers; ask for less")
        shown = as_tags(ds, "simple")
        if level in _BELOW:
            below, name = _BELOW[level]
            unique = {**above, UNIQUE[level]: text_of(ds, UNIQUE[level]) or ""}
            shown[name] = list(_tree(peer, below, wanted, unique, left))
        yield shown
