"""A-ASSOCIATE PDUs to and from plain values (PS3.8 9.3.2 to 9.3.4, PS3.7 annex D), by pynetdicom's codecs."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext

from researchpacs.archive._dimse._contexts import Context, Proposal
from researchpacs.archive._dimse._errors import ProtocolError
from researchpacs.archive._dimse._pdu import ASSOCIATE_AC, ASSOCIATE_RQ, LONGEST_PDU
from researchpacs.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from researchpacs.dicom.values import reading_quietly

__all__ = ["VERSION_NAME", "Answer", "Request", "answer_of", "encode_answer", "encode_request", "request_of"]

VERSION_NAME = IMPLEMENTATION_VERSION_NAME
_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_SHORTEST_PDU = 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What an A-ASSOCIATE-RQ asks for."""

    calling_aet: str
    called_aet: str
    proposals: Sequence[Proposal]
    longest_pdu: int
    """What the requestor takes; 0 is no limit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an A-ASSOCIATE-AC grants."""

    contexts: Sequence[Context]
    longest_pdu: int


def request_of(body: bytes) -> Request:
    """Read an A-ASSOCIATE-RQ."""
    primitive = _decoded(A_ASSOCIATE_RQ, ASSOCIATE_RQ, body)
    roles = {
        str(item.sop_class_uid): (bool(item.scu_role), bool(item.scp_role))
        for item in primitive.user_information
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
    }
    proposals = []
    for context in primitive.presentation_context_definition_list:
        uid = str(context.abstract_syntax or "")
        scu, scp = roles.get(uid, (True, False))
        syntaxes = [str(one) for one in context.transfer_syntax]
        proposals.append(Proposal(int(context.context_id or 0), uid, syntaxes, scu, scp, uid in roles))
    return Request(
        calling_aet=str(primitive.calling_ae_title or "").strip(),
        called_aet=str(primitive.called_ae_title or "").strip(),
        proposals=proposals,
        longest_pdu=_longest(primitive),
    )


def answer_of(body: bytes, proposals: Iterable[Proposal]) -> Answer:
    """Read an A-ASSOCIATE-AC, which names contexts by their id only."""
    primitive = _decoded(A_ASSOCIATE_AC, ASSOCIATE_AC, body)
    roles = {
        str(item.sop_class_uid): (bool(item.scu_role), bool(item.scp_role))
        for item in primitive.user_information
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
    }
    answered = {context.context_id: context for context in primitive.presentation_context_definition_results_list}
    contexts = []
    for proposal in proposals:
        context = answered.get(proposal.id)
        if context is None or context.result != 0 or not context.transfer_syntax:
            continue
        # PS3.7 D.3.3.4: without an answer the default roles hold.
        scu, scp = roles.get(proposal.sop_class_uid, (True, False))
        syntax = str(context.transfer_syntax[0])
        if syntax in proposal.transfer_syntax_uids:
            contexts.append(Context(proposal.id, proposal.sop_class_uid, syntax, 0, scu, scp, proposal.has_roles))
    return Answer(contexts, _longest(primitive))


def encode_request(request: Request) -> bytes:
    """Write the body of an A-ASSOCIATE-RQ."""
    primitive = _primitive(request)
    primitive.presentation_context_definition_list = [
        _context(one.id, one.sop_class_uid, one.transfer_syntax_uids) for one in request.proposals
    ]
    roles = {one.sop_class_uid: (one.scu_role, one.scp_role) for one in request.proposals if one.has_roles}
    primitive.user_information = [*primitive.user_information, *(_role(uid, *pair) for uid, pair in roles.items())]
    return A_ASSOCIATE_RQ(primitive).encode()[6:]


def encode_answer(request: Request, contexts: Sequence[Context]) -> bytes:
    """Write the body of an A-ASSOCIATE-AC."""
    with reading_quietly():  # a context that is refused may be named by anything
        return _answer(request, contexts)


def _answer(request: Request, contexts: Sequence[Context]) -> bytes:
    primitive = _primitive(request)
    results = []
    for one in contexts:
        context = _context(one.id, one.sop_class_uid, [one.transfer_syntax_uid])
        context.result = one.result
        results.append(context)
    primitive.presentation_context_definition_results_list = results
    roles = {one.sop_class_uid: (one.scu_role, one.scp_role) for one in contexts if one.has_roles and one.is_accepted}
    primitive.user_information = [*primitive.user_information, *(_role(uid, *pair) for uid, pair in roles.items())]
    return A_ASSOCIATE_AC(primitive).encode()[6:]


def _decoded(kind: "type[A_ASSOCIATE_RQ | A_ASSOCIATE_AC]", number: int, body: bytes) -> A_ASSOCIATE:
    try:
        with reading_quietly(), _codec_quiet():
            pdu = kind()
            pdu.decode(bytes([number, 0]) + len(body).to_bytes(4, "big") + bytes(body))
            return pdu.to_primitive()
    # The codec raises whatever a broken item trips over; all of them mean the same to the peer.
    except Exception as error:
        raise ProtocolError(f"the peer's association PDU cannot be read ({type(error).__name__})") from None


@contextmanager
def _codec_quiet() -> Iterator[None]:
    """Keep in what pynetdicom logs of every bad byte, with a traceback each; the caller logs one line."""
    logger = logging.getLogger("pynetdicom.utils")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _longest(primitive: A_ASSOCIATE) -> int:
    stated = primitive.maximum_length_received or 0
    # PS3.8 D.1 sets no lower bound; a peer that takes a few bytes at a time would hold us for ever.
    return max(stated, _SHORTEST_PDU) if stated else 0


def _primitive(request: Request) -> A_ASSOCIATE:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID(_APPLICATION_CONTEXT)
    primitive.calling_ae_title = request.calling_aet
    primitive.called_ae_title = request.called_aet
    length, implementation, version = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    length.maximum_length_received = LONGEST_PDU
    implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    version.implementation_version_name = VERSION_NAME
    primitive.user_information = [length, implementation, version]
    return primitive


def _context(number: int, sop_class_uid: str, transfer_syntax_uids: Sequence[str]) -> PresentationContext:
    context = PresentationContext()
    context.context_id = number
    context.abstract_syntax = UID(sop_class_uid)
    context.transfer_syntax = list(transfer_syntax_uids)
    return context


def _role(uid: str, scu: bool, scp: bool) -> SCP_SCU_RoleSelectionNegotiation:
    item = SCP_SCU_RoleSelectionNegotiation()
    item.sop_class_uid, item.scu_role, item.scp_role = UID(uid), scu, scp
    return item
