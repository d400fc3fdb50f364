"""Ask a peer for an association, as its SCU (PS3.8 7.1)."""

import socket
import ssl
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom.uid import UID

from researchpacs.archive._dimse._association import Association, Memory, SinkOf, Timeouts
from researchpacs.archive._dimse._contexts import Context, Proposal
from researchpacs.archive._dimse._errors import AbortedError, GoneError, ProtocolError, RejectedError, TimedOutError
from researchpacs.archive._dimse._negotiation import Request, answer_of, encode_request
from researchpacs.archive._dimse._pdu import ABORT, ASSOCIATE_AC, ASSOCIATE_RJ, ASSOCIATE_RQ, LONGEST_PDU, Wire
from researchpacs.archive._peers import Peer, Tls
from researchpacs.errors import InvalidInputError, RemoteError

__all__ = ["associated", "client_context", "granted"]

_MOST_CONTEXTS = 128
"""Context ids are odd and fit into a byte (PS3.8 9.3.2.2)."""
# PS3.8 table 9-21, by source and reason.
_REASONS = {
    (1, 1): "without a reason",
    (1, 2): "because it does not know the application context",
    (1, 3): "because it does not know our AE title",
    (1, 7): "because it does not know itself by the AE title it was called by",
    (2, 2): "because it does not support this version of the protocol",
    (3, 1): "because it is busy",
    (3, 2): "because it has as many associations as it allows",
}


@contextmanager
def associated(
    peer: Peer,
    proposals: Sequence[Proposal],
    *,
    calling_aet: str | None = None,
    timeouts: Timeouts | None = None,
    sink_of: SinkOf | None = None,
) -> Generator[Association]:
    """Have an association for a block: released after it, aborted where it fails.

    Parameters
    ----------
    calling_aet
        By default what the peer knows us by.
    sink_of
        Where data sets go; by default into memory.

    Raises
    ------
    RemoteError
        Nobody listens there, or the peer refuses or does not answer.
    """
    if len(proposals) > _MOST_CONTEXTS:
        raise InvalidInputError(f"{len(proposals)} presentation contexts asked for; an association has up to 128")
    timeouts = timeouts or Timeouts()
    request = Request(calling_aet or peer.calling_aet, peer.aet, proposals, LONGEST_PDU)
    wire = Wire(_connected(peer, timeouts), patience_s=timeouts.patience)
    try:
        association = _negotiated(wire, request, peer, timeouts, sink_of)
    except BaseException:
        wire.close()
        raise
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    association.release()


def granted(association: Association, peer: Peer, sop_class_uid: str) -> Context:
    """Give the context in which we may use a SOP class.

    Raises
    ------
    RemoteError
        The peer did not grant it; status 0x0122, SOP class not supported.
    """
    context = association.context_for(sop_class_uid)
    if context is None:
        what = UID(sop_class_uid).name
        raise RemoteError(f"peer {peer.name} does not offer {what} to {association.calling_aet}", status=0x0122)
    return context


def _connected(peer: Peer, timeouts: Timeouts) -> socket.socket:
    try:
        sock = socket.create_connection((peer.host, peer.port), timeout=timeouts.connect)
    except TimeoutError:
        raise TimedOutError(
            f"peer {peer.name} did not answer within {timeouts.connect:.0f} s; is its host right?"
        ) from None
    except OSError as error:
        raise GoneError(f"peer {peer.name} cannot be reached ({error.strerror or error}); is it running?") from None
    if peer.tls is None:
        return sock
    try:
        sock.settimeout(timeouts.negotiate)
        return client_context(peer.tls).wrap_socket(sock, server_hostname=peer.host)
    except (OSError, ValueError) as error:
        sock.close()
        why = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
        raise RemoteError(f"TLS with peer {peer.name} failed: {why}") from None


def client_context(tls: Tls) -> ssl.SSLContext:
    """Trust one authority, and show a certificate where there is one (PS3.15 B.12)."""
    try:
        context = ssl.create_default_context(cafile=tls.authority)
        context.check_hostname = tls.check_host
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        named = Path(tls.authority or "").name
        raise InvalidInputError(f"the TLS files cannot be read ({error.strerror}); is {named} there?") from None
    return context


def _negotiated(wire: Wire, request: Request, peer: Peer, timeouts: Timeouts, sink_of: SinkOf | None) -> Association:
    wire.send(ASSOCIATE_RQ, encode_request(request))
    kind, body = wire.receive(wait_s=timeouts.negotiate)
    if kind == ASSOCIATE_RJ:
        why = _REASONS.get((body[2], body[3]), "for a reason of its own")
        raise RejectedError(f"peer {peer.name} refused the association {why}; it was called {peer.aet} by us")
    if kind == ABORT:
        raise AbortedError(f"peer {peer.name} aborted instead of answering")
    if kind != ASSOCIATE_AC:
        raise ProtocolError(f"peer {peer.name} answered with a PDU of type {kind}")
    answer = answer_of(bytes(body), request.proposals)
    return Association(
        wire,
        request.calling_aet,
        request.called_aet,
        answer.contexts,
        answer.longest_pdu,
        timeouts,
        is_requestor=True,
        sink_of=sink_of or (lambda _, __: Memory()),
    )
