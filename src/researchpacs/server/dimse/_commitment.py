"""Storage commitment, push model (PS3.4 annex J): whether the archive keeps what somebody sent.

An instance is committed when the ledger has it and its file is there, whole, and the archive's own. The answer to the
N-ACTION only says that the question was understood; what is kept is told by an N-EVENT-REPORT (PS3.4 J.3.3): to a
caller that is a peer over an association of ours, by a job that tries again where the peer is away; to anybody else
over its own association.
"""

from collections.abc import Mapping
from typing import Any

from pydicom import Dataset

from researchpacs.archive import EmbeddedArchive, Stored
from researchpacs.archive._content import is_intact
from researchpacs.archive._dimse._association import Association, Message, Timeouts
from researchpacs.archive._dimse._command import N_EVENT_REPORT
from researchpacs.archive._dimse._contexts import COMMITMENT, NATIVE, Context, Proposal
from researchpacs.archive._dimse._identifier import read_identifier, write_identifier
from researchpacs.archive._dimse._request import associated
from researchpacs.archive._peers import Peers
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import InvalidInputError, UnsupportedError
from researchpacs.model import Find
from researchpacs.server.dimse._instances import identity_of
from researchpacs.server.jobs import Retry, Run

__all__ = ["REPORT", "RETRY", "answer_commitment", "deliver"]

_WELL_KNOWN = "1.2.840.10008.1.20.1.1"
_REQUEST = 1
# PS3.7 annex C
_SUCCESS, _NO_SUCH_ACTION, _INVALID_ARGUMENT, _NO_SUCH_INSTANCE = 0x0000, 0x0123, 0x0115, 0x0112
_PROCESSING_FAILURE, _CLASS_INSTANCE_CONFLICT = 0x0110, 0x0119
_ALL_KEPT, _SOME_FAILED = 1, 2
REPORT = "StorageCommitmentScp"
"""The kind of job that tells a peer what is kept."""
RETRY = Retry(attempts=10)
"""A modality that is switched off comes back; the last attempt is half an hour after the first."""


def answer_commitment(association: Association, request: Message, archive: EmbeddedArchive, peers: Peers) -> None:
    """Take the question, and report: to a peer by a job that outlives this process."""
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
    peer = peers.by_aet(association.calling_aet)
    if peer is not None:
        # The question counts as understood only when it cannot be forgotten any more.
        called = association.called_aet
        asked_for = {"Peer": peer.name, "CalledAet": called, "Transaction": transaction, "Wanted": wanted}
        shown = {"CalledAet": called, "RemoteAet": peer.aet, "TransactionUid": transaction}
        archive.jobs.submit(REPORT, asked_for, content=shown)
    association.respond(request, _SUCCESS, numbers={"ActionTypeID": _REQUEST})
    if peer is None:
        _tell(association, request.context, _report(archive, transaction, wanted))


def deliver(run: Run, *, timeouts: Timeouts) -> Mapping[str, Any]:
    """Tell a peer over an association of ours; the handler of a job."""
    request = run.job.request
    peer = Peers(run.pacs.archive.ledger)[request["Peer"]]
    report = _report(run.pacs.archive, request["Transaction"], request["Wanted"])
    # We ask for the association and are the SCP of what goes over it (PS3.7 D.3.3.4).
    proposal = Proposal(1, COMMITMENT, NATIVE, scu_role=False, scp_role=True, has_roles=True)
    with associated(peer, [proposal], calling_aet=request["CalledAet"], timeouts=timeouts) as association:
        context = next(iter(association.accepted), None)
        if context is None:
            raise UnsupportedError(f"peer {peer.name} takes no reports of storage commitment")
        _tell(association, context, report)
    failed = len(report.get("FailedSOPSequence", ()))
    return {**run.job.content, "FailedInstancesCount": failed, "InstancesCount": len(request["Wanted"])}


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
    # A file that is only referred to is somebody else's: nobody here can promise to keep it.
    return None if all(is_intact(one) and one.reference is None for one in stored) else _PROCESSING_FAILURE


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
