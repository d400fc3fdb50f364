"""Storage commitment, push model (PS3.4 annex J): whether the archive keeps what somebody sent.

An instance is committed when the ledger has it and its file is there, whole. The answer to the N-ACTION only says that
the question was understood; what is kept is told by an N-EVENT-REPORT (PS3.4 J.3.3): over an association of ours to a
caller that is a peer, over its own to anybody else.
"""

import logging
import threading
from collections.abc import Mapping

from pydicom import Dataset

from researchpacs.archive import EmbeddedArchive, Stored
from researchpacs.archive._content import is_intact
from researchpacs.archive._dimse._association import Association, Message, Timeouts
from researchpacs.archive._dimse._command import N_EVENT_REPORT
from researchpacs.archive._dimse._contexts import COMMITMENT, NATIVE, Context, Proposal
from researchpacs.archive._dimse._identifier import read_identifier, write_identifier
from researchpacs.archive._dimse._request import associated
from researchpacs.archive._peers import Peer, Peers
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import InvalidInputError, RemoteError
from researchpacs.model import Find
from researchpacs.server.dimse._instances import identity_of

__all__ = ["Reporter", "answer_commitment"]

_log = logging.getLogger(__name__)
_WELL_KNOWN = "1.2.840.10008.1.20.1.1"
_REQUEST = 1
# PS3.7 annex C
_SUCCESS, _NO_SUCH_ACTION, _INVALID_ARGUMENT, _NO_SUCH_INSTANCE = 0x0000, 0x0123, 0x0115, 0x0112
_PROCESSING_FAILURE, _CLASS_INSTANCE_CONFLICT = 0x0110, 0x0119
_ALL_KEPT, _SOME_FAILED = 1, 2
_PAUSES_S = (0.0, 2.0, 10.0, 60.0)
"""Before each attempt to reach a peer."""


class Reporter:
    """Delivers reports to peers, in threads of its own, again when one is not there."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._stopped = threading.Event()
        self._threads: set[threading.Thread] = set()

    def deliver(self, peer: Peer, report: Dataset, *, calling_aet: str) -> None:
        """Start to deliver one report."""
        thread = threading.Thread(target=self._deliver, args=(peer, report, calling_aet), daemon=True)
        self._threads = {one for one in self._threads if one.is_alive()} | {thread}
        thread.start()

    def stop(self) -> None:
        """Give up what could not be delivered yet."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _deliver(self, peer: Peer, report: Dataset, calling_aet: str) -> None:
        # We ask for the association and are the SCP of what goes over it (PS3.7 D.3.3.4).
        proposal = Proposal(1, COMMITMENT, NATIVE, scu_role=False, scp_role=True, has_roles=True)
        for pause in _PAUSES_S:
            if self._stopped.wait(pause):
                return
            try:
                with associated(peer, [proposal], calling_aet=calling_aet, timeouts=self._timeouts) as association:
                    context = next(iter(association.accepted), None)
                    if context is None:
                        _log.warning("peer %s takes no reports of storage commitment", peer.name)
                        return
                    _tell(association, context, report)
            except RemoteError as error:
                _log.info("a report of storage commitment to peer %s has to wait: %s", peer.name, error)
            else:
                return
        _log.warning("peer %s was not told what is committed, it could not be reached", peer.name)


def answer_commitment(
    association: Association, request: Message, archive: EmbeddedArchive, peers: Peers, reporter: Reporter
) -> None:
    """Take the question, and report."""
    if request.command.get("RequestedSOPInstanceUID") != _WELL_KNOWN:
        association.respond(request, _NO_SUCH_INSTANCE)
        return
    if request.command.get("ActionTypeID") != _REQUEST:
        association.respond(request, _NO_SUCH_ACTION)
        return
    try:
        asked = read_identifier(request.data, request.context.transfer_syntax_uid)
        with reading_quietly():
            transaction, wanted = _read(asked)
    except InvalidInputError:
        association.respond(request, _INVALID_ARGUMENT)
        return
    association.respond(request, _SUCCESS, numbers={"ActionTypeID": _REQUEST})
    report = _report(archive, transaction, wanted)
    peer = peers.by_aet(association.calling_aet)
    if peer is not None:
        reporter.deliver(peer, report, calling_aet=association.called_aet)
    else:
        _tell(association, request.context, report)


def _read(asked: Dataset) -> tuple[str, dict[str, str]]:
    """The transaction, and SOP classes by instance."""
    transaction = str(asked.get("TransactionUID", "") or "")
    items = asked.get("ReferencedSOPSequence") or []
    wanted = {
        str(item.get("ReferencedSOPInstanceUID", "")): str(item.get("ReferencedSOPClassUID", "")) for item in items
    }
    if not transaction or not wanted or "" in wanted:
        raise InvalidInputError("a request for storage commitment names a transaction and instances")
    return transaction, wanted


def _report(archive: EmbeddedArchive, transaction: str, wanted: Mapping[str, str]) -> Dataset:
    """Say of each instance whether it is kept (PS3.4 table J.3-2)."""
    stored: dict[str, list[Stored]] = {}
    keys = [identity_of(row).key for row in archive.find(Find("instance", {"SOPInstanceUID": list(wanted)}))]
    for one in archive.rows(keys).values():
        stored.setdefault(one.identity.sop_uid, []).append(one)
    kept, failed = [], []
    for uid, sop_class_uid in wanted.items():
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, uid
        reason = _failure(stored.get(uid, []), sop_class_uid)
        if reason is None:
            kept.append(item)
        else:
            item.FailureReason = reason
            failed.append(item)
    report = Dataset()
    report.TransactionUID = transaction
    if kept:
        report.ReferencedSOPSequence = kept
    if failed:
        report.FailedSOPSequence = failed
    return report


def _failure(stored: list[Stored], sop_class_uid: str) -> int | None:
    if not stored:
        return _NO_SUCH_INSTANCE
    if all(one.sop_class_uid != sop_class_uid for one in stored):
        return _CLASS_INSTANCE_CONFLICT
    return None if all(is_intact(one) for one in stored) else _PROCESSING_FAILURE


def _tell(association: Association, context: Context, report: Dataset) -> None:
    number = association.next_id()
    command: dict[str, int | str] = {
        "CommandField": N_EVENT_REPORT,
        "MessageID": number,
        "AffectedSOPClassUID": COMMITMENT,
        "AffectedSOPInstanceUID": _WELL_KNOWN,
        "EventTypeID": _SOME_FAILED if "FailedSOPSequence" in report else _ALL_KEPT,
    }
    association.send(context, command, write_identifier(report, context.transfer_syntax_uid))
    association.response(number)
