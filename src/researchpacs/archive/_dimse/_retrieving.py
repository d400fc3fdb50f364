"""C-GET and C-MOVE as SCU (PS3.4 C.4.2, C.4.3)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from pydicom import Dataset

from researchpacs.archive._dimse._association import Association, Memory, Message, Sink, Timeouts
from researchpacs.archive._dimse._command import C_GET, C_MOVE, C_STORE, RESPONSE, Command
from researchpacs.archive._dimse._contexts import EXPLICIT, GET, IMPLICIT, MOVE, NATIVE, Context, Proposal
from researchpacs.archive._dimse._errors import GoneError, ProtocolError
from researchpacs.archive._dimse._identifier import write_identifier
from researchpacs.archive._dimse._query import LEVEL_NAMES, root_of
from researchpacs.archive._dimse._received import FileSink, file_meta
from researchpacs.archive._dimse._request import associated, granted
from researchpacs.archive._peers import Peer
from researchpacs.errors import RemoteError
from researchpacs.ingest import check_spool
from researchpacs.model import Incoming, Level, Outcome, Refusal

__all__ = ["get", "move"]

_PENDING = frozenset({0xFF00, 0xFF01})
_SOME_FAILED = 0xB000
_CANNOT_UNDERSTAND, _OUT_OF_RESOURCES = 0xC000, 0xA700
_MOST_BYTES = 16 << 30
_MOST_CLASSES = 127
# Compressed ones by how often they are met; then big endian and deflated.
_OTHERS = (
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)

Store = Callable[[Iterable[Incoming]], Iterator[Outcome]]


def get(
    peer: Peer,
    level: Level,
    unique: Mapping[str, str],
    *,
    sop_class_uids: Sequence[str],
    folder: Path,
    store: Store,
    timeouts: Timeouts | None = None,
) -> Iterator[Outcome]:
    """Fetch over the association that asks; each instance is answered when it is durable here.

    Parameters
    ----------
    unique
        The unique keys of the level and of those above it.
    sop_class_uids
        What to expect.
    folder
        A workspace on the disk of the archive.
    store
        `Archive.store`.

    Raises
    ------
    RemoteError
        The peer cannot be reached or fails as a whole; with its status.
    """
    sop_class_uid = GET[root_of(level)]
    proposals = [Proposal(1, sop_class_uid, NATIVE), *_storage_proposals(sop_class_uids)]
    sinks = partial(_sink, folder=folder, peer=peer)
    with associated(peer, proposals, timeouts=timeouts, sink_of=sinks) as association:
        context = granted(association, peer, sop_class_uid)
        number = _ask(association, context, C_GET, _identifier(level, unique))
        while True:
            message = association.receive(wait_s=association.timeouts.answer)
            if message is None:
                raise GoneError(f"peer {peer.name} released the association before everything was sent")
            if message.kind == C_STORE:
                yield _take(association, message, peer, store)
            elif message.kind != C_GET | RESPONSE or message.command.get("MessageIDBeingRespondedTo") != number:
                raise ProtocolError(f"peer {peer.name} sent something else than what was asked for")
            elif message.status not in _PENDING:
                break
    _check(peer, message)


def move(
    peer: Peer, level: Level, unique: Mapping[str, str], *, destination: str, timeouts: Timeouts | None = None
) -> int:
    """Have a peer send to a node that it knows, such as our own SCP; returns when it is done.

    Returns
    -------
    failed
        How many instances the peer says that it could not send; at least one where it only says that some failed.

    Raises
    ------
    RemoteError
        As for `get`; 0xA801 says that the peer does not know the destination.
    """
    sop_class_uid = MOVE[root_of(level)]
    with associated(peer, [Proposal(1, sop_class_uid, NATIVE)], timeouts=timeouts) as association:
        context = granted(association, peer, sop_class_uid)
        number = _ask(association, context, C_MOVE, _identifier(level, unique), MoveDestination=destination)
        while (answer := association.response(number)).status in _PENDING:
            pass
    _check(peer, answer)
    return max(1, int(answer.command.get("NumberOfFailedSuboperations", 0))) if answer.status == _SOME_FAILED else 0


def _storage_proposals(sop_class_uids: Sequence[str]) -> Iterator[Proposal]:
    """Offer each class in many transfer syntaxes, one a context, so that it can come as it is stored."""
    room = _MOST_CLASSES // max(1, len(sop_class_uids))
    choices: list[Sequence[str]] = [(EXPLICIT,), (IMPLICIT,), *((uid,) for uid in _OTHERS)]
    if room < 2:
        choices = [(EXPLICIT, IMPLICIT)]
    pairs = [(uid, choice) for uid in sop_class_uids for choice in choices[:room]]
    for number, (uid, choice) in enumerate(pairs[:_MOST_CLASSES]):
        yield Proposal(2 * number + 3, uid, choice, scu_role=False, scp_role=True, has_roles=True)


def _identifier(level: Level, unique: Mapping[str, str]) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = LEVEL_NAMES[level]
    for keyword, value in unique.items():
        setattr(identifier, keyword, value)
    return identifier


def _ask(association: Association, context: Context, kind: int, identifier: Dataset, **more: str) -> int:
    """Send the request; its Message ID."""
    number = association.next_id()
    command: dict[str, int | str] = {
        "CommandField": kind,
        "MessageID": number,
        "Priority": 0,
        "AffectedSOPClassUID": context.sop_class_uid,
        **more,
    }
    association.send(context, command, write_identifier(identifier, context.transfer_syntax_uid))
    return number


def _sink(context: Context, command: Command, *, folder: Path, peer: Peer) -> Sink:
    if command["CommandField"] != C_STORE:
        return Memory()
    meta = file_meta(
        sop_class_uid=context.sop_class_uid,
        sop_instance_uid=str(command.get("AffectedSOPInstanceUID", "")),
        transfer_syntax_uid=context.transfer_syntax_uid,
        source_aet=peer.aet,
    )
    return FileSink(folder, meta, most_bytes=_MOST_BYTES)


def _take(association: Association, request: Message, peer: Peer, store: Store) -> Outcome:
    """Take in one instance and answer for it."""
    sink = request.sink
    source = f"{peer.name}: {request.command.get('AffectedSOPInstanceUID', '')}"
    if not isinstance(sink, FileSink):
        raise ProtocolError(f"peer {peer.name} stored an instance without a data set")
    if sink.error is not None:
        association.respond(request, _OUT_OF_RESOURCES)
        return Outcome(source, "refused", "it could not be written here; is there space on the disk?")
    try:
        checked = check_spool(sink.spool, source)
        if isinstance(checked, Refusal):
            outcome = Outcome(source, "refused", checked.reason)
        else:
            (outcome,) = store([checked])
    finally:
        sink.discard()
    association.respond(request, _CANNOT_UNDERSTAND if outcome.kind == "refused" else 0, comment=outcome.reason)
    return outcome


def _check(peer: Peer, answer: Message) -> None:
    if answer.status in (0, _SOME_FAILED):
        return
    why = answer.command.get("ErrorComment", "")
    raise RemoteError(
        f"peer {peer.name} answered the retrieval with status {answer.status:#06x}{f' ({why})' if why else ''}",
        status=answer.status,
    )
