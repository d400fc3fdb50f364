"""Which function answers which request."""

from functools import partial

from researchpacs.archive import EmbeddedArchive
from researchpacs.archive._dimse._association import Association, Message
from researchpacs.archive._dimse._command import C_ECHO, C_FIND, C_GET, C_MOVE, C_STORE, N_ACTION
from researchpacs.archive._dimse._contexts import COMMITMENT, ECHO, FIND, GET, MOVE, WORKLIST
from researchpacs.archive._peers import Peers
from researchpacs.server.dimse._commitment import answer_commitment
from researchpacs.server.dimse._find import answer_find
from researchpacs.server.dimse._options import ScpOptions
from researchpacs.server.dimse._retrieve import answer_get, answer_move
from researchpacs.server.dimse._service import Handler
from researchpacs.server.dimse._store import keep
from researchpacs.server.dimse._worklist import answer_worklist

__all__ = ["handlers_of"]


def handlers_of(
    archive: EmbeddedArchive,
    peers: Peers,
    options: ScpOptions,
) -> dict[tuple[int, str], Handler]:
    """Bind the functions that answer to what they need."""
    handlers: dict[tuple[int, str], Handler] = {
        (C_ECHO, ECHO): _answer_echo,
        (C_STORE, "storage"): partial(_answer_store, archive=archive),
        (N_ACTION, COMMITMENT): partial(answer_commitment, archive=archive, peers=peers),
    }
    for sop_class_uid in FIND.values():
        handlers[C_FIND, sop_class_uid] = partial(answer_find, archive=archive)
    for sop_class_uid in GET.values():
        handlers[C_GET, sop_class_uid] = partial(answer_get, archive=archive)
    for sop_class_uid in MOVE.values():
        handlers[C_MOVE, sop_class_uid] = partial(answer_move, archive=archive, peers=peers, timeouts=options.timeouts)
    if options.worklist is not None:
        handlers[C_FIND, WORKLIST] = partial(answer_worklist, folder=options.worklist)
    return handlers


def _answer_echo(association: Association, request: Message) -> None:
    association.respond(request, 0x0000)


def _answer_store(association: Association, request: Message, archive: EmbeddedArchive) -> None:
    status, why = keep(request, archive)
    association.respond(request, status, comment=why)
