"""One association from its first message to its last: each request goes to the function that serves it."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from researchpacs.archive._dimse._association import Association, Message
from researchpacs.archive._dimse._command import C_CANCEL, RESPONSE
from researchpacs.archive._dimse._contexts import is_storage
from researchpacs.archive._dimse._errors import ProtocolError
from researchpacs.server.dimse._rests import Rests

__all__ = ["Handler", "Handlers", "kind_of", "serve"]

Handler: TypeAlias = Callable[[Association, Message], None]
"""Answers one request completely."""
Handlers: TypeAlias = Mapping[tuple[int, str], Handler]
"""By Command Field and, for storage, ``"storage"``, else the SOP class."""

_NO_SUCH_OPERATION = 0x0211
_NO_SUCH_CLASS = 0x0122


def serve(association: Association, handlers: Handlers, rests: Rests) -> None:
    """Answer requests until the peer releases the association.

    Parameters
    ----------
    rests
        Is told while it waits for a request.

    Raises
    ------
    RemoteError
        The association broke, or the peer did what the protocol does not allow.
    """
    while True:
        with rests.resting(association.wire):
            request = association.receive(wait_s=association.timeouts.idle)
        if request is None:
            return
        if request.kind == C_CANCEL:
            continue  # what it would cancel is answered already
        if request.kind & RESPONSE:
            raise ProtocolError("the peer answered what nobody asked")
        try:
            _answer(association, request, handlers)
        finally:
            if request.sink is not None:
                request.sink.discard()  # what was stored has another name now


def _answer(association: Association, request: Message, handlers: Handlers) -> None:
    named = request.command.get("AffectedSOPClassUID", request.command.get("RequestedSOPClassUID"))
    if named != request.context.sop_class_uid:
        association.respond(request, _NO_SUCH_CLASS)
        return
    handler = handlers.get((request.kind, kind_of(request.context.sop_class_uid)))
    if handler is None:
        association.respond(request, _NO_SUCH_OPERATION)
        return
    handler(association, request)


def kind_of(sop_class_uid: str) -> str:
    """Name what a SOP class is served as."""
    return "storage" if is_storage(sop_class_uid) else sop_class_uid
