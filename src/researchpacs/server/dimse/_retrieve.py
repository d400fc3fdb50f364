"""C-GET and C-MOVE (PS3.4 C.4.2, C.4.3): the instances that are meant, one C-STORE sub-operation each, with counts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydicom import Dataset

from researchpacs.archive import EmbeddedArchive, Stored
from researchpacs.archive._dimse._association import Association, Message, Timeouts
from researchpacs.archive._dimse._identifier import read_identifier, write_identifier
from researchpacs.archive._dimse._sending import send_instance
from researchpacs.archive._dimse._store_scu import Sent, send
from researchpacs.archive._peers import Peers
from researchpacs.dicom.keywords import LEVELS
from researchpacs.errors import InvalidInputError, RemoteError
from researchpacs.model import Level
from researchpacs.server.dimse._find import CANCELLED, LEVEL_NAMES, NO_MATCH_FOR_CLASS, PENDING, SUCCESS
from researchpacs.server.dimse._instances import instances_of
from researchpacs.server.dimse._matching import texts_of

__all__ = ["answer_get", "answer_move"]

# PS3.4 tables C.4-2 and C.4-3
_SOME_FAILED = 0xB000
_ALL_FAILED = 0xA702
_NO_DESTINATION = 0xA801
_MOST = 0xFFFF
_UNIQUE: Mapping[Level, str] = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
}


@dataclass(slots=True)
class _Tally:
    """What became of the sub-operations."""

    remaining: int
    completed: int = 0
    warning: int = 0
    failed: list[str] = field(default_factory=list)

    def count(self, sop_uid: str, status: int | None) -> None:
        """Note a status of storage (PS3.4 table B.2-1); None where there was none."""
        self.remaining -= 1
        if status == SUCCESS:
            self.completed += 1
        elif status is not None and status & 0xF000 == 0xB000:
            self.warning += 1
        else:
            self.failed.append(sop_uid)

    @property
    def numbers(self) -> dict[str, int | str]:
        """For a pending response (PS3.4 C.4.3.1.3)."""
        return {"NumberOfRemainingSuboperations": min(self.remaining, _MOST), **self.final_numbers}

    @property
    def final_numbers(self) -> dict[str, int | str]:
        """For the last response."""
        return {
            "NumberOfCompletedSuboperations": min(self.completed, _MOST),
            "NumberOfFailedSuboperations": min(len(self.failed), _MOST),
            "NumberOfWarningSuboperations": min(self.warning, _MOST),
        }


def answer_get(association: Association, request: Message, archive: EmbeddedArchive) -> None:
    """Store what is asked for to the caller, over the same association."""
    stored = _asked_for(association, request, archive)
    if stored is None:
        return
    tally = _Tally(len(stored))
    for one in stored:
        if association.is_cancelled(request):
            _finish(association, request, tally, status=CANCELLED)
            return
        tally.count(one.identity.sop_uid, send_instance(association, one))
        association.respond(request, PENDING, numbers=tally.numbers)
    _finish(association, request, tally)


def answer_move(
    association: Association, request: Message, archive: EmbeddedArchive, peers: Peers, timeouts: Timeouts
) -> None:
    """Store what is asked for to a peer that is configured here; nobody else can be a destination."""
    destination = peers.by_aet(str(request.command.get("MoveDestination", "")))
    if destination is None:
        association.respond(request, _NO_DESTINATION, comment="the move destination is no peer of this archive")
        return
    stored = _asked_for(association, request, archive)
    if stored is None:
        return
    tally = _Tally(len(stored))
    origin = (association.calling_aet, request.id)
    sending = send(destination, stored, calling_aet=association.called_aet, origin=origin, timeouts=timeouts)
    for sent in _each(sending, stored):
        tally.count(sent.sop_uid, sent.status)
        association.respond(request, PENDING, numbers=tally.numbers)
        if tally.remaining and association.is_cancelled(request):
            _finish(association, request, tally, status=CANCELLED)
            return
    _finish(association, request, tally)


def _each(sending: Iterator[Sent], stored: Sequence[Stored]) -> Iterator[Sent]:
    """Tell of each instance, also where the destination was not reached at all."""
    try:
        yield from sending
    except RemoteError as error:
        yield from (Sent(one.identity.sop_uid, None, str(error)) for one in stored)


def _asked_for(association: Association, request: Message, archive: EmbeddedArchive) -> list[Stored] | None:
    """Give the instances that the identifier names; None where it names none, which is answered then."""
    try:
        keys = texts_of(read_identifier(request.data, request.context.transfer_syntax_uid))
        return instances_of(archive, _filters(keys))
    except InvalidInputError as error:
        association.respond(request, NO_MATCH_FOR_CLASS, comment=str(error))
        return None


def _filters(keys: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Take the unique keys of the level and above; that of the level has to be there (PS3.4 C.4.2.2.1)."""
    level = LEVEL_NAMES.get("".join(keys.get("QueryRetrieveLevel", ())))
    if level is None:
        raise InvalidInputError("QueryRetrieveLevel is missing or none of this model")
    if not keys.get(_UNIQUE[level]):
        raise InvalidInputError(f"{_UNIQUE[level]} is missing")
    unique = [_UNIQUE[one] for one in _UNIQUE if LEVELS.index(one) <= LEVELS.index(level)]
    found: dict[str, Sequence[str]] = {keyword: list(keys[keyword]) for keyword in unique if keys.get(keyword)}
    if any("*" in value or "?" in value for values in found.values() for value in values):
        raise InvalidInputError("a retrieval names what it wants; wildcards are for queries")
    return found


def _finish(association: Association, request: Message, tally: _Tally, *, status: int | None = None) -> None:
    numbers = tally.numbers if status == CANCELLED else tally.final_numbers
    if status is None:
        status = SUCCESS
        if tally.failed or tally.warning:
            status = _SOME_FAILED if tally.completed or tally.warning else _ALL_FAILED
    data = None
    if tally.failed:
        failed = Dataset()
        failed.FailedSOPInstanceUIDList = tally.failed
        data = write_identifier(failed, request.context.transfer_syntax_uid)
    association.respond(request, status, data, numbers=numbers)
