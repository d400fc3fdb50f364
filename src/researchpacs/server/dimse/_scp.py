"""Listen, and give each caller an association and a thread of its own, as many as are allowed."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from researchpacs._pacs import Pacs
from researchpacs.archive._dimse._accept import BUSY, Grant, Refused, accept
from researchpacs.archive._dimse._association import Association, Sink
from researchpacs.archive._dimse._command import Command
from researchpacs.archive._dimse._contexts import Context
from researchpacs.archive._dimse._errors import ProtocolError, TimedOutError
from researchpacs.archive._dimse._negotiation import Request
from researchpacs.archive._dimse._pdu import ABORT, Wire
from researchpacs.archive._peers import Peers
from researchpacs.errors import RemoteError, UnsupportedError
from researchpacs.server.dimse._access import judge
from researchpacs.server.dimse._commitment import REPORT, RETRY, deliver
from researchpacs.server.dimse._handlers import handlers_of
from researchpacs.server.dimse._options import ScpOptions
from researchpacs.server.dimse._rests import Rests
from researchpacs.server.dimse._service import serve
from researchpacs.server.dimse._store import sink_for
from researchpacs.server.jobs import JobRunner

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Scp", "start_scp"]

_log = logging.getLogger(__name__)
_BACKLOG = 64
_PAUSE_S = 0.05
_LINGER_S = 0.5
_SPARE = 128
"""Callers without an association yet, beyond the number of those with one; then the one who has waited longest goes."""


def start_scp(pacs: Pacs, options: ScpOptions) -> "Scp":
    """Start an SCP over the archive; it runs in threads of this process until it is stopped.

    Raises
    ------
    AccessError
        The address is not of this machine, and nothing says that this is safe.
    UnsupportedError
        The port is taken.
    """
    options.check()
    return Scp(pacs, options)


class Scp:
    """A running SCP; also a context manager.

    Attributes
    ----------
    port
        Where it listens.
    """

    def __init__(self, pacs: Pacs, options: ScpOptions) -> None:
        self._options = options
        self._tls = options.tls.context() if options.tls else None
        self._listener = _listening(options)
        self.port: int = self._listener.getsockname()[1]
        self._resources = contextlib.ExitStack()
        self._folder: Path = self._resources.enter_context(pacs.archive.home.workspace())
        self._peers = Peers(pacs.archive.ledger)
        reports = {REPORT: partial(deliver, timeouts=options.timeouts)}
        self._resources.enter_context(JobRunner(pacs, reports, workers=1, retry=RETRY))
        self._handlers = handlers_of(pacs.archive, self._peers, options)
        self._callers: dict[threading.Thread, socket.socket] = {}
        self._associated: set[threading.Thread] = set()
        self._rests = Rests()
        self._lock = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._listen, name="dimse-listener", daemon=True)
        self._thread.start()

    @property
    def aet(self) -> str:
        """Our AE title."""
        return self._options.aet

    def stop(self) -> None:
        """Take no more callers and end the associations there are; what is being stored is finished."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            callers = dict(self._callers)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for sock in callers.values():
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in callers:
            thread.join()
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        while True:
            try:
                sock, address = self._listener.accept()
            except OSError:
                if self._stopped:
                    return
                time.sleep(_PAUSE_S)  # a caller that was gone before it was accepted, or no file descriptor left
                continue
            thread = threading.Thread(target=self._meet, args=(sock, str(address[0])), daemon=True)
            with self._lock:
                if self._stopped:
                    sock.close()
                    return
                if len(self._callers) >= self._options.most_associations + _SPARE:
                    self._turn_out_the_idlest()
                self._callers[thread] = sock
                thread.start()

    def _turn_out_the_idlest(self) -> None:
        """Who opens connections and asks for nothing must not keep others out."""
        for thread, sock in self._callers.items():
            if thread not in self._associated:
                del self._callers[thread]
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                return

    def _end_a_rest(self) -> bool:
        """Whether there was an association that nobody uses: who holds them all must not keep others out either."""
        thread = self._rests.longest()
        if thread is None:
            return False
        self._associated.discard(thread)
        with contextlib.suppress(OSError):
            self._callers[thread].shutdown(socket.SHUT_RDWR)
        return True

    def _meet(self, sock: socket.socket, address: str) -> None:
        """Serve one caller; whatever goes wrong ends this association and nothing else."""
        try:
            wire = Wire(self._secured(sock), patience_s=self._options.timeouts.patience)
        except OSError:
            _log.info("a caller from %s did not get to an association: TLS failed", address)
            sock.close()
        else:
            self._serve(wire, address)
        finally:
            with self._lock:
                self._callers.pop(threading.current_thread(), None)
                self._associated.discard(threading.current_thread())

    def _secured(self, sock: socket.socket) -> socket.socket:
        # In the caller's own thread, so that one who does not finish the handshake keeps nobody waiting.
        sock.settimeout(self._options.timeouts.negotiate)
        if self._tls is None:
            return sock
        secured = self._tls.wrap_socket(sock, server_side=True)
        with self._lock:
            if threading.current_thread() in self._callers:
                self._callers[threading.current_thread()] = secured
        return secured

    def _serve(self, wire: Wire, address: str) -> None:
        association: Association | None = None
        try:
            association = accept(
                wire,
                partial(self._judge, address),
                timeouts=self._options.timeouts,
                sink_of=self._sinks(lambda: association),
            )
            if association is not None:
                serve(association, self._handlers, self._rests)
            wire.close()
        except (ProtocolError, TimedOutError) as error:
            _log.info("an association from %s was aborted: %s", address, error)
            _abort(wire)
        except RemoteError as error:
            _log.info("an association from %s broke: %s", address, error)
            wire.close()
        except Exception:
            _log.exception("an association from %s was aborted by an error of ours", address)
            _abort(wire)

    def _judge(self, address: str, request: Request) -> Grant | Refused:
        verdict = judge(request, address, options=self._options, peers=self._peers.values())
        if isinstance(verdict, Refused):
            return verdict
        with self._lock:
            if len(self._associated) >= self._options.most_associations and not self._end_a_rest():
                return BUSY
            self._associated.add(threading.current_thread())
        return verdict

    def _sinks(self, association: Callable[[], Association | None]) -> Callable[[Context, Command], Sink]:
        def sink_of(context: Context, command: Command) -> Sink:
            found = association()
            return sink_for(
                context,
                command,
                folder=self._folder,
                calling_aet=found.calling_aet if found else "",
                most_bytes=self._options.most_bytes,
            )

        return sink_of


def _listening(options: ScpOptions) -> socket.socket:
    try:
        return socket.create_server((options.host, options.port), backlog=_BACKLOG)
    except OSError as error:
        raise UnsupportedError(
            f"DIMSE cannot listen on {options.host} port {options.port} ({error.strerror}); give another port"
        ) from None


def _abort(wire: Wire) -> None:
    # PS3.8 table 9-26: from the service provider, for an unexpected PDU.
    with contextlib.suppress(RemoteError):
        wire.send(ABORT, bytes([0, 0, 2, 2]))
        wire.linger(_LINGER_S)
    wire.close()
