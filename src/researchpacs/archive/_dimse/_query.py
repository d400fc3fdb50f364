"""C-FIND as SCU (PS3.4 C.4.1): keyword filters out, data sets back."""

import calendar
from collections.abc import Iterator, Mapping, Sequence

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement

from researchpacs.archive._dimse._association import Timeouts
from researchpacs.archive._dimse._command import C_FIND
from researchpacs.archive._dimse._contexts import FIND, NATIVE, Proposal
from researchpacs.archive._dimse._identifier import read_identifier, write_identifier
from researchpacs.archive._dimse._request import associated, granted
from researchpacs.archive._peers import Peer
from researchpacs.dicom.keywords import LEVELS, MAIN, nearest
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import InvalidInputError, RemoteError
from researchpacs.model import Level

__all__ = ["LEVEL_NAMES", "ask", "find", "root_of"]

LEVEL_NAMES: Mapping[Level, str] = {"patient": "PATIENT", "study": "STUDY", "series": "SERIES", "instance": "IMAGE"}
_DATE_DIGITS = 8
_PENDING = frozenset({0xFF00, 0xFF01})
_COUNTS: Mapping[Level, tuple[str, ...]] = {
    "patient": (),
    "study": ("ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    "series": ("NumberOfSeriesRelatedInstances",),
    "instance": (),
}


def find(
    peer: Peer, level: Level, filters: Mapping[str, object], *, timeouts: Timeouts | None = None
) -> Iterator[Dataset]:
    """Ask a peer; yields each match as it comes.

    Parameters
    ----------
    filters
        By keyword: a text (``*`` and ``?`` are wildcards), a list, or a ``(low, high)`` range with None for an open
        end.

    Raises
    ------
    InvalidInputError
        An unknown keyword or level.
    RemoteError
        The peer cannot be reached, or answers with a failure, whose status it carries.
    """
    yield from ask(peer, FIND[root_of(level)], _identifier(level, filters), timeouts=timeouts)


def ask(peer: Peer, sop_class_uid: str, identifier: Dataset, *, timeouts: Timeouts | None = None) -> Iterator[Dataset]:
    """Ask a peer with an identifier of one's own; yields each match as it comes.

    Parameters
    ----------
    sop_class_uid
        The information model that is asked, such as that of modality worklists.

    Raises
    ------
    RemoteError
        As for `find`.
    """
    with associated(peer, [Proposal(1, sop_class_uid, NATIVE)], timeouts=timeouts) as association:
        context, number = granted(association, peer, sop_class_uid), association.next_id()
        command: dict[str, int | str] = {
            "CommandField": C_FIND,
            "MessageID": number,
            "Priority": 0,
            "AffectedSOPClassUID": sop_class_uid,
        }
        association.send(context, command, write_identifier(identifier, context.transfer_syntax_uid))
        while (answer := association.response(number)).status in _PENDING:
            yield read_identifier(answer.data, context.transfer_syntax_uid)
    if answer.status != 0:
        why = answer.command.get("ErrorComment", "")
        raise RemoteError(
            f"peer {peer.name} answered the query with status {answer.status:#06x}{f' ({why})' if why else ''}",
            status=answer.status,
        )


def root_of(level: Level) -> str:
    """The information model that has the level: only the patient root has patients."""
    return "patient" if level == "patient" else "study"


def _identifier(level: Level, filters: Mapping[str, object]) -> Dataset:
    if level not in LEVEL_NAMES:
        raise InvalidInputError(f"level is one of {', '.join(LEVELS)}; found {level!r}")
    asked = [keyword for one in LEVELS[: LEVELS.index(level) + 1] for keyword in MAIN[one]]
    ds = Dataset()
    for keyword in dict.fromkeys((*asked, *_COUNTS[level], *filters)):
        tag = tag_for_keyword(keyword)
        if tag is None:
            meant = nearest(keyword)
            hint = f"; did you mean {meant}?" if meant else ""
            raise InvalidInputError(f"{keyword!r} is no DICOM keyword{hint}")
        vr, wanted = dictionary_VR(keyword).split(" ")[0], filters.get(keyword)
        with reading_quietly():  # wildcards and ranges break the rules of most VRs, and are what a query is made of
            ds[tag] = DataElement(tag, vr, None if wanted is None else _text(wanted, vr))
    ds.QueryRetrieveLevel = LEVEL_NAMES[level]
    return ds


def _text(wanted: object, vr: str) -> str | list[str] | int:
    if isinstance(wanted, tuple):
        if len(wanted) != 2:
            raise InvalidInputError("a range is (low, high), each a value or None for an open end")
        low, high = ("" if end is None else str(end).replace("-", "").replace(":", "") for end in wanted)
        return f"{_first_day(low)}-{_last_day(high)}" if vr == "DA" else f"{low}-{high}"
    if vr == "DA" and 0 < len(plain := str(wanted).replace("-", "")) < _DATE_DIGITS and plain.isdigit():
        return _text((plain, plain), vr)
    if isinstance(wanted, int):
        return wanted
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return [str(one) for one in wanted]
    return str(wanted)


def _first_day(date: str) -> str:
    """Complete a date that is cut short, so that a range covers the whole of its first period."""
    return {4: f"{date}0101", 6: f"{date}01"}.get(len(date), date)


def _last_day(date: str) -> str:
    """The same for its last period."""
    if len(date) == 4:
        return f"{date}1231"
    if len(date) == 6 and date.isdigit() and "01" <= date[4:] <= "12":
        return f"{date}{calendar.monthrange(int(date[:4]), int(date[4:]))[1]:02}"
    return date
