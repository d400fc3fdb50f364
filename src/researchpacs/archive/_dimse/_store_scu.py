"""C-STORE as SCU: instances of the archive to a peer, each with what became of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from researchpacs.archive._dimse._association import Timeouts
from researchpacs.archive._dimse._request import associated
from researchpacs.archive._dimse._sending import NO_CONTEXT, UNREADABLE, MoveOrigin, proposals_for, send_instance
from researchpacs.archive._peers import Peer
from researchpacs.archive._stored import Stored
from researchpacs.errors import RemoteError

__all__ = ["Sent", "send"]


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one instance."""

    sop_uid: str
    status: int | None
    """DIMSE status (PS3.4 table B.2-1); None where the association broke before there was one."""
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the peer has it, be it with a warning."""
        return self.status == 0 or (self.status is not None and self.status & 0xF000 == 0xB000)


def send(
    peer: Peer,
    instances: Sequence[Stored],
    *,
    calling_aet: str | None = None,
    origin: MoveOrigin | None = None,
    timeouts: Timeouts | None = None,
) -> Iterator[Sent]:
    """Send instances over as few associations as they need.

    Parameters
    ----------
    calling_aet
        By default what the peer knows us by.
    origin
        The C-MOVE that they are sent for.

    Raises
    ------
    RemoteError
        The peer cannot be reached or refuses the association, before anything was sent.
    """
    started = False
    for proposals in proposals_for(instances):
        classes = {proposal.sop_class_uid for proposal in proposals}
        left = [one for one in instances if one.sop_class_uid in classes]
        try:
            with associated(peer, proposals, calling_aet=calling_aet, timeouts=timeouts) as association:
                while left:
                    status = send_instance(association, left[0], origin=origin)
                    started = True
                    yield Sent(left.pop(0).identity.sop_uid, status, _reason(status))
        except RemoteError as error:
            if not started:
                raise
            for one in left:
                yield Sent(one.identity.sop_uid, None, str(error))


def _reason(status: int) -> str:
    if status == 0:
        return ""
    if status == NO_CONTEXT:
        return "the peer takes neither its SOP class in this transfer syntax nor uncompressed"
    if status == UNREADABLE:
        return "its file cannot be read or decoded here"
    # PS3.4 table B.2-1
    kinds = {0xA7: "out of resources", 0xA9: "the data set does not match its SOP class", 0xB0: "taken with a warning"}
    return kinds.get(status >> 8, "refused by the peer")
