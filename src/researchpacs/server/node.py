"""The DICOM node that runs beside the HTTP server, in the same process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from researchpacs.errors import InvalidInputError, MissingExtraError
from researchpacs.server.places import shown_host

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs
    from researchpacs.server.dimse import ServerTls

__all__ = ["Node", "running"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Where a DICOM node listens, and with what."""

    port: int
    """0 takes a free one."""
    host: str = "127.0.0.1"
    aet: str = "RESEARCHPACS"
    certificate: Path | None = None
    """PEM with the chain; TLS is on where there is one."""
    key: Path | None = None
    """PEM with the private key, where it is not in `certificate`."""
    authority: Path | None = None
    """PEM of who vouches for callers; with it, a caller has to show a certificate."""
    worklist: Path | None = None
    """A folder of ``.wl`` items; without it there is no modality worklist."""
    insecure: bool = False
    """Listen to other machines without TLS."""

    def told(self, port: int) -> str:
        """What a person types into the configuration of a peer."""
        return f"{self.aet} at {shown_host(self.host)}, port {port}{', TLS' if self.certificate else ''}"

    def tls(self) -> "ServerTls | None":
        """The certificate as the node takes it; None without one.

        Raises
        ------
        InvalidInputError
            Callers are to show a certificate, but there is none of ours.
        """
        from researchpacs.server.dimse import ServerTls

        if self.certificate is not None:
            return ServerTls(self.certificate, self.key or self.certificate, self.authority)
        if self.authority is not None:
            raise InvalidInputError(
                "callers show a certificate only over TLS: beside --dimse-tls-ca give --dimse-tls-cert, or --tls-cert"
            )
        return None


@contextmanager
def running(pacs: "Pacs", node: Node | None) -> Iterator[int]:
    """Run the node; gives its port, 0 where none was asked for."""
    if node is None:
        yield 0
        return
    try:
        from researchpacs.server.dimse import ScpOptions, start_scp
    except ModuleNotFoundError as error:
        raise MissingExtraError("a DICOM node", "dimse") from error

    options = ScpOptions(
        host=node.host,
        port=node.port,
        aet=node.aet,
        tls=node.tls(),
        insecure=node.insecure,
        worklist=node.worklist,
    )
    with start_scp(pacs, options) as started:
        yield started.port
