"""C-ECHO as SCU (PS3.4 annex A)."""

import time

from researchpacs.archive._dimse._association import Timeouts
from researchpacs.archive._dimse._command import C_ECHO
from researchpacs.archive._dimse._contexts import ECHO, NATIVE, Proposal
from researchpacs.archive._dimse._request import associated, granted
from researchpacs.archive._peers import Peer
from researchpacs.errors import RemoteError

__all__ = ["echo"]


def echo(peer: Peer, *, timeouts: Timeouts | None = None) -> float:
    """Ask a peer for a sign of life; the seconds from the connection to the answer."""
    start = time.perf_counter()
    with associated(peer, [Proposal(1, ECHO, NATIVE)], timeouts=timeouts) as association:
        context = granted(association, peer, ECHO)
        number = association.next_id()
        association.send(context, {"CommandField": C_ECHO, "MessageID": number, "AffectedSOPClassUID": ECHO})
        status = association.response(number).status
    if status != 0:
        raise RemoteError(f"peer {peer.name} answered an echo with status {status:#06x}", status=status)
    return time.perf_counter() - start
