"""What an SCP is told when it starts."""

import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from researchpacs.archive._dimse._association import Timeouts
from researchpacs.archive._peers import OPERATIONS, Operation, as_aet
from researchpacs.errors import AccessError, InvalidInputError

__all__ = ["ScpOptions", "ServerTls"]


@dataclass(frozen=True, slots=True)
class ServerTls:
    """DICOM TLS (PS3.15 B.12): PEM files."""

    certificate: Path
    """Ours, with its chain."""
    key: Path
    authority: Path | None = None
    """Who vouches for callers; with it, a caller has to show a certificate."""

    def context(self) -> ssl.SSLContext:
        """Read the files.

        Raises
        ------
        InvalidInputError
            One is missing or is no certificate or key.
        """
        try:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority)
            context.load_cert_chain(self.certificate, self.key)
        except OSError as error:
            raise InvalidInputError(f"the TLS files cannot be used ({error.strerror or error})") from None
        if self.authority is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class ScpOptions:
    """Where an SCP listens and what it takes.

    Callers from this machine may do what `local` says. A caller from another machine has to be a peer of the archive
    (`Pacs.peers`) by its address and AE title, and may do what the peer's `allow` says.
    """

    host: str = "127.0.0.1"
    port: int = 4242
    """0 takes a free one; `Scp.port` says which."""
    aet: str = "RESEARCHPACS"
    """Our AE title; a request that calls another is refused."""
    any_called_aet: bool = False
    local: frozenset[Operation] = OPERATIONS
    tls: ServerTls | None = None
    insecure: bool = False
    """Listen beyond this machine without TLS."""
    most_associations: int = 32
    most_bytes: int = 16 << 30
    """Of one instance."""
    worklist: Path | None = None
    """A folder of ``.wl`` items; without it there is no modality worklist."""
    timeouts: Timeouts = field(default_factory=Timeouts)

    def check(self) -> None:
        """Refuse what is not safe.

        Raises
        ------
        AccessError
            Data would cross a network in the clear without anybody having said so.
        InvalidInputError
            A value that cannot be.
        """
        as_aet(self.aet)
        if self.most_associations < 1:
            raise InvalidInputError("an SCP takes at least one association")
        if self.worklist is not None and not self.worklist.is_dir():
            raise InvalidInputError("the folder of the worklist is not there")
        if not is_loopback(self.host) and self.tls is None and not self.insecure:
            raise AccessError(
                f"DIMSE on {self.host} would send patient data in the clear; give a certificate for TLS, or say that "
                "the network is safe with insecure=True"
            )


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
