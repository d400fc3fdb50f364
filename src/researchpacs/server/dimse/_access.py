"""Who may do what: by address, AE title and operation (PS3.8 9.3.4 for how a caller is turned away)."""

import socket
from collections.abc import Iterable, Mapping

from researchpacs.archive._dimse._accept import CALLED_UNKNOWN, CALLING_UNKNOWN, Grant, Refused
from researchpacs.archive._dimse._contexts import COMMITMENT, ECHO, FIND, GET, MOVE, WORKLIST
from researchpacs.archive._dimse._negotiation import Request
from researchpacs.archive._peers import Operation, Peer
from researchpacs.server.dimse._options import ScpOptions, is_loopback

__all__ = ["judge"]

_CLASSES: Mapping[Operation, tuple[str, ...]] = {
    "echo": (ECHO,),
    "store": (),
    "find": tuple(FIND.values()),
    "get": tuple(GET.values()),
    "move": tuple(MOVE.values()),
    "commit": (COMMITMENT,),
    "worklist": (WORKLIST,),
}


def judge(request: Request, address: str, *, options: ScpOptions, peers: Iterable[Peer]) -> Grant | Refused:
    """Say what a caller may use.

    Parameters
    ----------
    address
        The numeric address it calls from.
    """
    if request.called_aet != options.aet and not options.any_called_aet:
        return CALLED_UNKNOWN
    allowed = options.local if is_loopback(address) else _allowed_to_peer(request.calling_aet, address, peers)
    if options.worklist is None:
        allowed = allowed - {"worklist"}
    if not allowed:
        return CALLING_UNKNOWN
    served = frozenset(uid for operation in allowed for uid in _CLASSES[operation])
    # The storage contexts of a C-GET are for us to store to the caller (PS3.4 C.5.3).
    return Grant(served, storage=bool(allowed & {"store", "get"}))


def _allowed_to_peer(calling_aet: str, address: str, peers: Iterable[Peer]) -> frozenset[Operation]:
    allowed: frozenset[Operation] = frozenset()
    for peer in peers:
        if peer.aet == calling_aet and peer.allow and address in _addresses(peer.host):
            allowed |= peer.allow
    return allowed


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:  # a name that does not resolve is nobody's address
        return set()
