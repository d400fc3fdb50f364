"""The archive among DICOM nodes: the verbs of `Pacs` that ask others, fetch from them and send to them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from researchpacs._pacs._handles import Handle
from researchpacs.model import Level

if TYPE_CHECKING:
    from pydicom import Dataset

    from researchpacs._pacs._facade import Pacs
    from researchpacs._pacs._network import RemoteHits, SendReport
    from researchpacs.archive._peers import Peer, Peers
    from researchpacs.ingest import IngestReport

__all__ = ["Nodes"]


class Nodes:
    """What a `Pacs` can do with its peers."""

    @property
    def peers(self) -> "Peers":
        """The DICOM nodes that this archive knows, by name; ``pacs.peers.add(name, aet=..., host=..., port=...)``."""
        from researchpacs.archive._peers import Peers

        return Peers(_pacs(self).archive.ledger)

    def find_remote(self, peer: "Peer | str", level: Level = "study", /, **filters: Any) -> "RemoteHits":
        """Ask a peer what it has (C-FIND).

        Parameters
        ----------
        peer
            A peer or its name.
        level
            What to find: ``"patient"``, ``"study"``, ``"series"`` or ``"instance"``.
        **filters
            DICOM keywords. A list is any-of, a tuple an inclusive range with None for an open end, ``*`` and ``?`` are
            wildcards. What the peer does not know it leaves out of account.

        Returns
        -------
        hits
            Data sets as the peer sent them, with ``.df()``.

        Raises
        ------
        RemoteError
            The peer cannot be reached or refuses; carries the DIMSE status.
        """
        from researchpacs._pacs._network import as_peer, find_remote

        return find_remote(as_peer(self.peers, peer), level, filters)

    def retrieve(self, peer: "Peer | str", target: "RemoteHits | Dataset | str") -> "IngestReport":
        """Fetch from a peer, by C-GET or, where the peer is configured so, by C-MOVE to our own SCP.

        Parameters
        ----------
        target
            Hits of `find_remote`, one of them, or a StudyInstanceUID.

        Returns
        -------
        report
            One row an instance that the peer listed.

        Raises
        ------
        RemoteError
            The peer cannot be reached or refuses; carries the DIMSE status.
        """
        from researchpacs._pacs._network import as_peer, retrieve

        return retrieve(_pacs(self), as_peer(self.peers, peer), target)

    def send(self, target: Handle | Iterable[Handle], peer: "Peer | str") -> "SendReport":
        """Send objects and all below them to a peer (C-STORE), as they are stored where the peer takes that.

        Returns
        -------
        report
            ``.sent``, ``.failed`` and ``.df()`` with one row an instance.

        Raises
        ------
        RemoteError
            The peer cannot be reached or refuses, before anything was sent.
        """
        from researchpacs._pacs._network import as_peer, send

        return send(_pacs(self), target, as_peer(self.peers, peer))


def _pacs(nodes: Nodes) -> "Pacs":
    """Only a `Pacs` has these verbs."""
    return cast("Pacs", nodes)
