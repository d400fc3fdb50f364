"""A body that goes straight into memory is the one that was sent, however it comes, and the next request is whole."""

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from tests.server.conftest import wait_until

from researchpacs.ingest import Spool, spooled
from researchpacs.server import connections
from researchpacs.server.connections import Connection
from researchpacs.server.intake import receive_body

BODY = bytes(at * at % 253 for at in range(5_000)) * 120
"""Longer than what is read from a connection at once, shorter than what stays in memory."""


class Answers:
    """A server that answers with the hash of what it got."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.port = 0
        self.went = threading.Semaphore(0)
        """Released for each peer that went before its body was whole."""

    async def __call__(self, request: Request) -> Response:
        spool = Spool(self.tmp)
        try:
            await receive_body(request, spool)
            with spool.reading() as file:
                assert hashlib.sha256(file.read()).hexdigest() == spool.sha256()
            return Response(f"<{spool.size}:{spool.sha256()}>")
        except ClientDisconnect:
            self.went.release()
            raise
        finally:
            spool.discard()


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    monkeypatch.setattr(spooled, "_memory", spooled._Memory(spooled.MOST_IN_MEMORY))
    answers = Answers(tmp_path)
    app = Starlette(routes=[Route("/", answers.__call__, methods=["POST"])])
    config = uvicorn.Config(app, http=Connection, port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    answers.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield answers
        wait_until(lambda: spooled._memory.has(spooled.MOST_IN_MEMORY))  # nobody keeps what was for bodies
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@contextmanager
def connected(answers: Answers) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", answers.port), 60) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def head(body: bytes, *fields: str) -> bytes:
    lines = ("POST / HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *fields)
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def told(body: bytes) -> bytes:
    return f"<{len(body)}:{hashlib.sha256(body).hexdigest()}>".encode()


def read(sock: socket.socket, count: int = 1) -> list[bytes]:
    """The contents of the next answers."""
    found = b""
    while len(contents := re.findall(rb"<\d+:\w+>", found)) < count:
        data = sock.recv(65_536)
        assert data, "the server ended the connection"
        found += data
    return contents


@pytest.mark.parametrize("size", [0, 1, 100, 65_536, 262_144, len(BODY), 3 << 20])
@pytest.mark.parametrize("block", [1000, 100_000, 1 << 30])
def test_a_body_arrives_as_it_was_sent(answers: Answers, size: int, block: int) -> None:
    body = (BODY * 6)[:size]
    with connected(answers) as sock:
        for _ in range(2):
            sent = head(body) + body
            for start in range(0, len(sent), block):
                sock.sendall(sent[start : start + block])
            assert read(sock) == [told(body)]


def test_a_head_that_comes_alone_waits_for_its_body(answers: Answers) -> None:
    with connected(answers) as sock:
        sock.sendall(head(BODY, "Expect: 100-continue"))
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        sock.sendall(BODY)
        assert read(sock) == [told(BODY)]


def test_requests_that_follow_at_once_are_read_from_their_first_byte(answers: Answers) -> None:
    bodies = [BODY, b"short", BODY[:300_000], b"", BODY[1:]]
    with connected(answers) as sock:
        sender = threading.Thread(target=lambda: sock.sendall(b"".join(head(body) + body for body in bodies)))
        sender.start()
        assert read(sock, len(bodies)) == [told(body) for body in bodies]
        sender.join()


def test_a_connection_that_was_to_be_closed_is(answers: Answers) -> None:
    with connected(answers) as sock:
        sock.sendall(head(BODY, "Connection: close") + BODY)
        assert read(sock) == [told(BODY)]
        assert sock.recv(1) == b""


def test_a_body_in_chunks_of_http_is_taken_as_well(answers: Answers) -> None:
    with connected(answers) as sock:
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
        sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        assert read(sock) == [told(BODY)]


@pytest.mark.parametrize("sent", [0, 10, 300_000])
def test_a_peer_that_goes_in_between_leaves_nothing(answers: Answers, sent: int) -> None:
    with connected(answers) as sock:
        sock.sendall(head(BODY) + BODY[:sent])
    assert answers.went.acquire(timeout=60)
    with connected(answers) as sock:
        sock.sendall(head(BODY) + BODY)
        assert read(sock) == [told(BODY)]


def test_a_body_that_stops_coming_ends_the_connection(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALL_S", 1.0)
    with connected(answers) as sock:
        sock.sendall(head(BODY) + BODY[:300_000])
        assert answers.went.acquire(timeout=60), "though we are still here"
