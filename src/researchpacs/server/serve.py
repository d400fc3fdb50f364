"""`serve`: one archive, one process, one address, and no way in by accident."""

import ipaddress
import logging
import os
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import researchpacs
from researchpacs.errors import AccessError, InvalidInputError
from researchpacs.server.auth import Access, read_users
from researchpacs.server.cross_origin import as_origin
from researchpacs.server.lock import serving
from researchpacs.server.node import Node, running
from researchpacs.server.ohif import create_ohif, find_build
from researchpacs.server.places import BelowPath, as_root_path, by_port, shown_host
from researchpacs.server.routing import routing
from researchpacs.storage.home import Home

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp

    from researchpacs._pacs import Pacs

__all__ = ["Address", "Started", "Viewer", "access_for", "check_address", "serve"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server answers."""

    host: str = "127.0.0.1"
    port: int = 8042
    certificate: Path | None = None
    """PEM with the chain; TLS is on where there is one."""
    key: Path | None = None
    """PEM with the private key, where it is not in `certificate`."""
    root_path: str = ""
    """Below which path a proxy shows it, such as ``/pacs``."""

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
        host = shown_host(self.host)
        return f"{'https' if self.certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"


@dataclass(frozen=True, slots=True)
class Viewer:
    """A build of OHIF that is served at a port of its own."""

    folder: Path
    port: int = 8043
    """0 takes a free one."""


@dataclass(frozen=True, slots=True)
class Started:
    """Where a server answers now."""

    url: str
    viewer_url: str | None = None
    node: str | None = None
    """AE title, host, port and whether TLS is on."""


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
    node: Node | None = None,
    viewer: Viewer | None = None,
    origins: Sequence[str] = (),
    insecure: bool = False,
    rules: Path | None = None,
    ready: Callable[[Started], None] = lambda _: None,
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
    node
        The DICOM node to run beside.
    viewer
        The build of OHIF to serve beside, at the same host, with the same certificate and access.
    origins
        Web pages of other origins that may ask DICOMweb.
    insecure
        Allow an address that other machines reach without TLS.
    rules
        File of rules for stable series.
    ready
        Called when connections are taken.

    Raises
    ------
    AccessError
        As `check_address`, or a port is in use.
    ConflictError
        The home is served already.
    InvalidInputError
        No build of OHIF, certificate, origin or path is where one should be; or a rule has a mistake.
    """
    check_address(address, access, insecure=insecure)
    named = tuple(map(as_origin, origins))
    build = None if viewer is None else find_build(viewer.folder)
    place = Home.open(home).path
    with ExitStack() as held:
        listeners = [held.enter_context(one) for one in _listeners(place, address, viewer)]
        urls = [address.url(_port(listener)) for listener in listeners]
        held.enter_context(serving(place, urls[0]))
        pacs = held.enter_context(researchpacs.connect(place))
        held.enter_context(routing(pacs, rules))
        dimse_port = held.enter_context(running(pacs, node))
        archive, root = _archive(pacs, address, access, named, dimse_port=dimse_port, node=node)
        beside = {} if build is None else {_port(listeners[1]): create_ohif(build, archive, access)}
        shown = f"{urls[0]}{root[1:]}/" if root else urls[0]
        started = Started(shown, urls[1] if viewer else None, node.told(dimse_port) if node else None)
        _run(by_port(beside, BelowPath(archive, root)), listeners, address, ready=lambda: ready(started))


def _archive(
    pacs: "Pacs", address: Address, access: Access, origins: Sequence[str], *, dimse_port: int, node: Node | None
) -> "tuple[Starlette, str]":
    """The archive's application, and the path below which it stands."""
    from researchpacs.server.app import create_app

    app = create_app(pacs, access=access, origins=origins)
    app.state.ae_title, app.state.dimse_port = node.aet if node else "RESEARCHPACS", dimse_port
    return app, as_root_path(address.root_path, taken=[str(getattr(route, "path", "")) for route in app.routes])


def _listeners(place: Path, address: Address, viewer: Viewer | None) -> Iterator[socket.socket]:
    try:
        yield _listening(address.host, address.port, "--port")
    except AccessError:
        # Where this very home is served already, that says more than that a port is in use.
        with serving(place, ""):
            raise
    if viewer is not None:
        yield _listening(address.host, viewer.port, "--ohif-port")


def _listening(host: str, port: int, option: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "cannot be used"
        raise AccessError(f"{host}, port {port}: {reason}; choose another with {option}") from error
    # What is accepted inherits it; without, every small answer waits 40 ms for the peer's acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _port(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def _run(app: "ASGIApp", listeners: list[socket.socket], address: Address, *, ready: Callable[[], None]) -> None:
    import uvicorn

    from researchpacs.server.connections import Connection
    from researchpacs.server.memory import give_back_what_is_freed
    from researchpacs.server.ready import Server

    give_back_what_is_freed()
    # pydicom's warnings quote values; what is odd in an instance is in the table `issues`.
    warnings.filterwarnings("ignore", module="pydicom")
    logging.getLogger("pydicom").disabled = True
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
    with suppress(KeyboardInterrupt):  # uvicorn ends in order, and then passes Ctrl-C on
        Server(config, ready).run(sockets=listeners)
