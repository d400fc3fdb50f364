"""`serve`: one archive, one process, one address, and no way in by accident."""

import ipaddress
import logging
import os
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from researchpacs.errors import AccessError, InvalidInputError, MissingExtraError
from researchpacs.server.auth import Access, read_users
from researchpacs.server.lock import serving
from researchpacs.storage.home import Home

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["Address", "access_for", "check_address", "serve"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server answers."""

    host: str = "127.0.0.1"
    port: int = 8042
    certificate: Path | None = None
    """PEM with the chain; TLS is on where there is one."""
    key: Path | None = None
    """PEM with the private key, where it is not in `certificate`."""
    dimse_port: int | None = None
    """Where the DICOM node listens; None: there is none. 0 takes a free port."""
    aet: str = "RESEARCHPACS"
    """The DICOM node's AE title."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            found = {info[4][0] for info in socket.getaddrinfo(self.host or None, self.port, type=socket.SOCK_STREAM)}
        except OSError as error:
            raise InvalidInputError(f"{self.host} is no address of this machine; give one with --host") from error
        return all(ipaddress.ip_address(str(one).partition("%")[0]).is_loopback for one in found)

    def url(self, port: int) -> str:
        """What to open in a browser or give to a client."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certificate else 'http'}://{host}:{port}/"


def access_for(*, users: Path | None, no_auth: bool) -> Access:
    """Who may come in: the users of a file, everybody, or whoever knows a new token."""
    if users is not None and no_auth:
        raise InvalidInputError("--users and --no-auth contradict each other; give one of them")
    if users is not None:
        return Access(users=read_users(users))
    return Access() if no_auth else Access.with_new_token()


def check_address(address: Address, access: Access, *, insecure: bool) -> None:
    """Refuse what would let strangers in, or passwords out.

    Raises
    ------
    AccessError
        An address that other machines reach without users, or without TLS where that was not allowed on purpose.
    """
    if address.is_loopback:
        return
    if not access.users:
        raise AccessError(
            f"{address.host} can be reached from other machines, so users are needed: add one with "
            "'researchpacs user NAME --users FILE' and give --users FILE"
        )
    if address.certificate is None and not insecure:
        raise AccessError(
            f"{address.host} can be reached from other machines, and without TLS passwords and images travel in clear: "
            "give --tls-cert FILE and --tls-key FILE, or --insecure where a proxy in front encrypts"
        )


def serve(
    home: Path,
    address: Address,
    access: Access,
    *,
    insecure: bool = False,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve an archive until the process is told to end.

    Parameters
    ----------
    home
        The folder of the archive; made where there is none.
    address
        Where to answer; port 0 takes a free one.
    access
        Who may come in.
    insecure
        Allow an address that other machines reach without TLS.
    ready
        Called with the URL when connections are taken.

    Raises
    ------
    AccessError
        As `check_address`.
    ConflictError
        The home is served already, or the port is in use.
    """
    check_address(address, access, insecure=insecure)
    place = Home.open(home).path
    with _listening(address) as listener:
        url = address.url(listener.getsockname()[1])
        with serving(place, url):
            _run(place, listener, address, access, insecure=insecure, ready=lambda: ready(url))


def _listening(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        listening = socket.create_server((address.host, address.port), family=family, backlog=256)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "cannot be used"
        raise AccessError(f"{address.host}, port {address.port}: {reason}; choose another with --port") from error
    # What is accepted inherits it; without, every small answer waits 40 ms for the peer's acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


@contextmanager
def _dicom_node(pacs: "Pacs", address: Address, *, insecure: bool) -> Iterator[int]:
    """Run the DICOM node beside; gives its port, 0 where none was asked for."""
    if address.dimse_port is None:
        yield 0
        return
    try:
        from researchpacs.server.dimse import ScpOptions, ServerTls, start_scp
    except ModuleNotFoundError as error:
        raise MissingExtraError("a DICOM node", "dimse") from error

    tls = ServerTls(address.certificate, address.key or address.certificate) if address.certificate else None
    options = ScpOptions(host=address.host, port=address.dimse_port, aet=address.aet, tls=tls, insecure=insecure)
    with start_scp(pacs, options) as node:
        yield node.port


def _run(
    home: Path,
    listener: socket.socket,
    address: Address,
    access: Access,
    *,
    insecure: bool,
    ready: Callable[[], None],
) -> None:
    import uvicorn

    import researchpacs
    from researchpacs.server.app import create_app
    from researchpacs.server.connections import Connection
    from researchpacs.server.ready import Server

    # pydicom's warnings quote values; what is odd in an instance is in the table `issues`.
    warnings.filterwarnings("ignore", module="pydicom")
    logging.getLogger("pydicom").disabled = True
    with researchpacs.connect(home) as pacs, _dicom_node(pacs, address, insecure=insecure) as dimse_port:
        app = create_app(pacs, access=access)
        app.state.ae_title, app.state.dimse_port = address.aet, dimse_port
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=10,
            limit_concurrency=512,
            ssl_certfile=str(address.certificate) if address.certificate else None,
            ssl_keyfile=str(address.key) if address.key else None,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise InvalidInputError("the certificate or key cannot be read; both are PEM files") from error
        Server(config, ready).run(sockets=[listener])
