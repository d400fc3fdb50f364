"""C-FIND of patients, studies, series and instances (PS3.4 C.4.1), answered from the ledger.

Keys that the archive does not index are optional keys that it does not support: they neither match nor are returned
(PS3.4 C.2.2.1.3). A key of a higher level than the one asked for matches too, as with relational queries.
"""

from collections.abc import Mapping, Sequence

from pydicom import Dataset

from researchpacs.archive import EmbeddedArchive
from researchpacs.archive._dimse._association import Association, Message
from researchpacs.archive._dimse._contexts import FIND
from researchpacs.archive._dimse._identifier import read_identifier, write_identifier
from researchpacs.archive.matching import Match, find_matches
from researchpacs.dicom.keywords import INDEXED, LEVELS
from researchpacs.errors import InvalidInputError
from researchpacs.model import Find, Level
from researchpacs.server.dimse._matching import Filter, filter_of, set_text, texts_of

__all__ = ["CANCELLED", "LEVEL_NAMES", "NO_MATCH_FOR_CLASS", "PENDING", "SUCCESS", "answer_find"]

LEVEL_NAMES: Mapping[str, Level] = {"PATIENT": "patient", "STUDY": "study", "SERIES": "series", "IMAGE": "instance"}
# PS3.4 table C.4-1
SUCCESS, PENDING, CANCELLED = 0x0000, 0xFF00, 0xFE00
NO_MATCH_FOR_CLASS = 0xA900
_MODALITIES = "ModalitiesInStudy"


def answer_find(association: Association, request: Message, archive: EmbeddedArchive) -> None:
    """Send a pending response for each match, then the last."""
    syntax = request.context.transfer_syntax_uid
    try:
        keys = texts_of(read_identifier(request.data, syntax))
        level = _level(keys, request.context.sop_class_uid)
        matches = find_matches(archive, Find(level, _filters(level, keys)))
    except InvalidInputError as error:
        association.respond(request, NO_MATCH_FOR_CLASS, comment=str(error))
        return
    for match in matches:
        if association.is_cancelled(request):
            association.respond(request, CANCELLED)
            return
        answer = _answer(association.called_aet, level, keys, match)
        association.respond(request, PENDING, write_identifier(answer, syntax))
    association.respond(request, SUCCESS)


def _level(keys: Mapping[str, Sequence[str]], sop_class_uid: str) -> Level:
    level = LEVEL_NAMES.get("".join(keys.get("QueryRetrieveLevel", ())))
    if level is None or (level == "patient" and sop_class_uid == FIND["study"]):
        raise InvalidInputError("QueryRetrieveLevel is missing or none of this model")
    return level


def _indexed(level: Level) -> set[str]:
    """Keywords of a level and of those above."""
    return {keyword for one in LEVELS[: LEVELS.index(level) + 1] for keyword in INDEXED[one]}


def _filters(level: Level, keys: Mapping[str, Sequence[str]]) -> dict[str, Filter]:
    known = _indexed(level) | ({_MODALITIES} if level != "patient" else set())
    return {
        keyword: filter_of(keyword, values)
        for keyword, values in keys.items()
        if keyword in known and values and list(values) != ["*"]
    }


def _answer(our_aet: str, level: Level, keys: Mapping[str, Sequence[str]], match: Match) -> Dataset:
    answer, known, below = Dataset(), _indexed(level), _below(level, match)
    for keyword in keys:
        if keyword in below:
            set_text(answer, keyword, below[keyword])
        elif keyword in known:
            text = match.attributes.get(keyword, "")
            set_text(answer, keyword, text.split("\\") if text else [])
    answer.QueryRetrieveLevel = next(name for name, one in LEVEL_NAMES.items() if one == level)
    # PS3.4 C.4.1.1.3.2: where it can be had from, and that it is there at once.
    answer.RetrieveAETitle, answer.InstanceAvailability = our_aet, "ONLINE"
    return answer


def _below(level: Level, match: Match) -> dict[str, list[str]]:
    """What is known from below (PS3.4 C.3.4)."""
    if level == "patient":
        return {}
    found = {
        _MODALITIES: list(match.modalities),
        "NumberOfStudyRelatedSeries": [str(match.study_series)],
        "NumberOfStudyRelatedInstances": [str(match.study_instances)],
    }
    if level != "study":
        found["NumberOfSeriesRelatedInstances"] = [str(match.series_instances)]
    return found
