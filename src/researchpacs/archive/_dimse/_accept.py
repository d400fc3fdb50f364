"""Answer who asks for an association, as its SCP (PS3.8 7.1)."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeAlias

from researchpacs.archive._dimse._association import Association, SinkOf, Timeouts
from researchpacs.archive._dimse._contexts import agree
from researchpacs.archive._dimse._errors import AbortedError, ProtocolError
from researchpacs.archive._dimse._negotiation import Request, encode_answer, request_of
from researchpacs.archive._dimse._pdu import ABORT, ASSOCIATE_AC, ASSOCIATE_RJ, ASSOCIATE_RQ, Wire

__all__ = ["BUSY", "CALLED_UNKNOWN", "CALLING_UNKNOWN", "Grant", "Judge", "Refused", "accept"]


@dataclass(frozen=True, slots=True)
class Refused:
    """An A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

    result: int
    source: int
    reason: int


_LINGER_S = 2.0
CALLING_UNKNOWN = Refused(1, 1, 3)
CALLED_UNKNOWN = Refused(1, 1, 7)
BUSY = Refused(2, 3, 2)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a requestor may use."""

    served: Collection[str]
    """SOP classes besides storage."""
    storage: bool


Judge: TypeAlias = Callable[[Request], Grant | Refused]


def accept(wire: Wire, judge: Judge, *, timeouts: Timeouts, sink_of: SinkOf) -> Association | None:
    """Read the request and answer it; None where it was refused."""
    kind, body = wire.receive(wait_s=timeouts.negotiate)
    if kind == ABORT:
        raise AbortedError("the peer aborted the association")
    if kind != ASSOCIATE_RQ:
        raise ProtocolError("the peer sent something else than a request for an association")
    # PS3.8 9.3.2: bit 0 of the protocol version is ours.
    if len(body) < 2 or not body[1] & 1:
        raise ProtocolError("the peer speaks another version of the protocol")
    request = request_of(bytes(body))
    verdict = judge(request)
    if isinstance(verdict, Refused):
        wire.send(ASSOCIATE_RJ, bytes([0, verdict.result, verdict.source, verdict.reason]))
        # Whoever asked closes.
        wire.linger(_LINGER_S)
        return None
    contexts = agree(request.proposals, served=verdict.served, storage=verdict.storage)
    wire.send(ASSOCIATE_AC, encode_answer(request, contexts))
    return Association(
        wire,
        request.calling_aet,
        request.called_aet,
        contexts,
        request.longest_pdu,
        timeouts,
        is_requestor=False,
        sink_of=sink_of,
    )
