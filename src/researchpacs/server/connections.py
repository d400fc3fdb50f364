"""Connections that ask for nothing, or take nothing, keep nobody out: uvicorn's protocol with the deadlines it lacks.

A connection is ended where no whole request head has come in time, where a head or what frames a body is too long,
where a body stops coming, or where an answer is not taken. When there are as many as allowed, those without a request
give way to new ones.
"""

import asyncio
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import httptools
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from researchpacs.server.filling import EXTENSION as FILL
from researchpacs.server.filling import Filling
from researchpacs.server.limits import SAFE_HEADERS
from researchpacs.server.outflow import Outflow
from researchpacs.server.pieces import CAN_SEND_FILES, read_out
from researchpacs.server.pieces import EXTENSION as PIECES
from researchpacs.server.sending import Together

__all__ = ["Connection"]

HEAD_S = 30.0
"""From the connection, or the end of an answer, to the end of the next request's head."""
STALL_S = 60.0
"""In which a body or an answer has to get on by `LEAST_BYTES`."""
LEAST_BYTES = 4_096
MOST_HEAD_BYTES = 65_536
"""Of a head, of the frame between two chunks of a body, or of the fields behind it: what is kept in memory."""
MOST_PIPELINED = 16
"""Requests of one connection that wait for the answer to another."""
MOST_CONNECTIONS = 480
"""Below uvicorn's own limit, which answers 503 to everybody."""
_LOOKS = 4
"""How often a deadline is looked at within its time."""


class Connection(HttpToolsProtocol):
    """One connection to the server; for uvicorn's ``http``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waits_since = self._counted_since = self.loop.time()
        self._came = self._bare = 0
        self._taken: int | None = None
        self._outflow: Outflow | None = None
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to watch; the one that has been without a request for longest goes where there are too many."""
        if len(self.connections) >= MOST_CONNECTIONS:
            idle = [one for one in self.connections if isinstance(one, Connection) and not one._is_asked]
            if idle:
                # Whoever has asked before is likely to ask again.
                longest = min(idle, key=lambda one: (one.cycle is not None, one._waits_since))
                longest.transport.abort()
                self.connections.discard(longest)  # at once: a flood comes before it is told that it is lost
        self._together = Together(cast("asyncio.Transport", transport), self.loop)
        super().connection_made(cast("asyncio.Transport", self._together))
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no more."""
        if self._watch is not None:
            self._watch.cancel()
        if self._outflow is not None:
            self._outflow.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes, and what of it is no content."""
        self._came += len(data)
        self._bare += len(data)
        super().data_received(data)
        if self._bare > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"A head of more than {MOST_HEAD_BYTES} bytes.")

    def on_headers_complete(self) -> None:
        """Begin to answer; a request that names two hosts, or none, is no request (RFC 9112 3.2)."""
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            raise ValueError("a request names its host once")  # the parser turns it into an error of its own
        if len(self.pipeline) >= MOST_PIPELINED:
            self.transport.abort()
            raise ValueError("too many requests wait for their answers")
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        """Answer a request, also with pieces of files; TLS has to see every byte."""
        if self.scheme == "http":
            offered: dict[str, Any] = {FILL: partial(self._fill, cycle)}
            if CAN_SEND_FILES:
                offered[PIECES] = {}
                app = _with_pieces(app, partial(self._send_pieces, cycle))
            cast("dict[str, Any]", cycle.scope)["extensions"] = offered
        super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]

    async def _fill(self, cycle: RequestResponseCycle, room: memoryview, took: Callable[[int], None]) -> None:
        """Take a body of declared length, all of it, into memory of as many bytes."""
        if cycle.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        begun, cycle.body = cycle.body, bytearray()
        room[: len(begun)] = begun
        took(len(begun))
        if cycle.disconnected:
            raise ClientDisconnect
        if cycle.more_body:
            self.flow.resume_reading()
            full = partial(self._body_is_complete, cycle)
            await Filling(self, room[len(begun) :], partial(self._count, took), full).run(self.transport)
        cycle.message_event.clear()

    def _count(self, took: Callable[[int], None], size: int) -> None:
        self._came += size
        took(size)

    def _body_is_complete(self, cycle: RequestResponseCycle) -> None:
        cycle.more_body = False
        # The parser of the head waits for the body still; what comes next begins a request.
        self._bare, self.parser = 0, httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    async def _send_pieces(self, cycle: RequestResponseCycle, message: Message) -> None:
        """Send the content of an answer whose head was sent."""
        if cycle.disconnected or cycle.scope["method"] == "HEAD":
            return
        self._together.flush()
        sock = self.transport.get_extra_info("socket")
        if self.transport.get_write_buffer_size() or sock is None:
            # What was written before has to go first.
            async for block in iterate_in_threadpool(read_out(message["pieces"])):
                await cycle.send({"type": "http.response.body", "body": block, "more_body": True})
            return
        self._outflow = outflow = Outflow(sock.dup(), message["pieces"], cycle.expected_content_length)
        try:
            await outflow.run()
        finally:
            self._outflow = None
            self._together.written += outflow.went
        cycle.expected_content_length -= outflow.went
        if cycle.expected_content_length:
            self.transport.abort()
            await asyncio.sleep(0)  # in which the answer learns that there is nobody to end it for

    def on_body(self, body: bytes) -> None:
        """Take content."""
        self._bare = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._bare = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request from now on."""
        self._together.flush()
        self._waits_since = self.loop.time()
        super().on_response_complete()

    def resume_writing(self) -> None:
        """The peer has taken nearly all that was waiting."""
        self._taken = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP; the answer may have begun already, then the connection just ends."""
        if self._is_asked and self.cycle.response_started:
            self.transport.abort()
            return
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(msg)),
            "Connection": "close",
            **SAFE_HEADERS,
        }
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{fields}\r\n{msg}".encode("ascii"))
        self.transport.close()

    @property
    def _is_asked(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _look_later(self) -> None:
        self._watch = self.loop.call_later(min(HEAD_S, STALL_S) / _LOOKS, self._look)

    def _look(self) -> None:
        if self._is_over():
            self.transport.abort()
        else:
            self._look_later()

    def _is_over(self) -> bool:
        now, unsent = self.loop.time(), _unsent_bytes(self.transport)
        if unsent:
            return self._is_stuck(now, unsent)
        self._taken = None
        if not self._is_asked:
            self._count_from(now)
            return now - self._waits_since > HEAD_S
        # The peer owes nothing where it has sent all, or more than was read, or waits to be told to go on.
        if not self.cycle.more_body or self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._count_from(now)
            return False
        if now - self._counted_since < STALL_S:
            return False
        got_on = self._came >= LEAST_BYTES
        self._count_from(now)
        return not got_on

    def _is_stuck(self, now: float, unsent: int) -> bool:
        """Whether what waits to be sent is not taken."""
        self._waits_since = now
        taken = self._together.written + (self._outflow.went if self._outflow else 0) - unsent
        if self._taken is None:
            self._count_from(now)
            self._taken = taken
            return False
        if now - self._counted_since < STALL_S:
            return False
        stuck = taken - self._taken < LEAST_BYTES
        self._count_from(now)
        self._taken = taken
        return stuck

    def _count_from(self, now: float) -> None:
        self._counted_since, self._came = now, 0


def _with_pieces(app: ASGIApp, send_pieces: Send) -> ASGIApp:
    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            await (send_pieces if message["type"] == PIECES else send)(message)

        await app(scope, receive, sent)

    return answered


def _unsent_bytes(transport: asyncio.Transport) -> int:
    """Bytes that the peer has not taken: of ours, and on Linux of the system, which keeps megabytes (tcp(7))."""
    waiting = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sys.platform != "linux" or sock is None or sock.fileno() < 0:
        return waiting
    import fcntl
    import termios

    (in_system,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
    return waiting + int(in_system)
