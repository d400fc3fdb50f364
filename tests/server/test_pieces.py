"""Answers made of stretches of files arrive whole and in order, by sendfile or not; a peer that goes costs nothing."""

import gc
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.server.conftest import wait_until
from uvicorn.protocols.http.h11_impl import H11Protocol

from researchpacs.server import connections, outflow
from researchpacs.server.connections import Connection
from researchpacs.server.pieces import EXTENSION, Piece, PiecesResponse, Stretch, read_out

SIZES = (1, 0, 70_000, 3_000_001, 12)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    for number, size in enumerate(SIZES):
        (folder / str(number)).write_bytes(bytes(number * 7 + at * at % 251 & 255 for at in range(min(size, 4096))))
        os.truncate(folder / str(number), size)
    return [folder / str(number) for number in range(len(SIZES))]


def pieces_of(files: list[Path]) -> Iterator[Piece]:
    for number, path in enumerate(files):
        yield f"<{number}>".encode()
        with path.open("rb") as file:
            yield Stretch(file, 0, path.stat().st_size // 2)
            yield Stretch(file, path.stat().st_size // 2, path.stat().st_size - path.stat().st_size // 2)
    yield b"<end>"


def whole(files: list[Path]) -> bytes:
    return b"".join(f"<{number}>".encode() + path.read_bytes() for number, path in enumerate(files)) + b"<end>"


def answering(files: list[Path], *, size: int | None = None, seen: list[bool] | None = None) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if seen is not None:
            seen.append(EXTENSION in scope.get("extensions", {}))
        given = len(whole(files)) if size is None else size
        await PiecesResponse(pieces_of(files), size=given, headers={"Content-Type": "x/y"})(scope, receive, send)

    return app


@contextmanager
def served(app: ASGIApp, http: Any = Connection) -> Iterator[int]:
    server = uvicorn.Server(uvicorn.Config(app, http=http, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize("http", [Connection, H11Protocol], ids=["sendfile", "another server"])
def test_all_bytes_arrive_and_the_connection_goes_on(files: list[Path], http: Any) -> None:
    seen = list[bool]()
    with (
        served(answering(files, seen=seen), http) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        for _ in range(3):
            answer = client.get("/")
            assert answer.content == whole(files)
            assert answer.headers["content-length"] == str(len(whole(files)))
            assert answer.headers["content-type"] == "x/y"
            head = client.head("/")
            assert (head.content, head.headers["content-length"]) == (b"", answer.headers["content-length"])
    assert set(seen) == {http is Connection}


def test_a_slow_reader_holds_no_thread_and_gets_all(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outflow, "_TURN", 100_000)
    with served(answering(files)) as port:
        readers = [asking(port) for _ in range(60)]  # more than there are threads
        try:
            with httpx.Client(timeout=60) as client:
                assert client.get(f"http://127.0.0.1:{port}/").content == whole(files)
            expected = hashlib.sha256(whole(files)).digest()
            for reader in readers[:1]:
                assert hashlib.sha256(read_slowly(reader, len(whole(files)))).digest() == expected
        finally:
            for reader in readers:
                reader.close()


def test_requests_that_follow_at_once_are_answered_in_turn(files: list[Path]) -> None:
    with served(answering(files)) as port, socket.create_connection(("127.0.0.1", port), 60) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        for _ in range(3):
            assert read_slowly(sock, len(whole(files)), block=1 << 16) == whole(files)


@pytest.mark.parametrize("http", [Connection, H11Protocol], ids=["sendfile", "another server"])
def test_a_reader_who_goes_leaves_nothing_open(files: list[Path], http: Any) -> None:
    """Also while nobody collects garbage."""
    gc.disable()
    try:
        with served(answering(files), http) as port:
            for _ in range(5):
                sock = asking(port)
                sock.recv(1000)
                sock.close()
            wait_until(lambda: not held(files, port))
            assert httpx.get(f"http://127.0.0.1:{port}/", timeout=60).content == whole(files)
    finally:
        gc.enable()


def held(files: list[Path], port: int) -> list[object]:
    """What this process has open of the files, and of connections to a port of its own."""
    process = psutil.Process()
    sockets = [one for one in process.net_connections("tcp") if one.laddr.port == port and one.raddr]
    paths = {str(path) for path in files}
    return [*sockets, *(one for one in process.open_files() if one.path in paths)]


def test_a_reader_who_takes_nothing_is_sent_away(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALL_S", 1.0)
    with served(answering(files)) as port, asking(port):
        wait_until(lambda: bool(held(files, port)))
        wait_until(lambda: not held(files, port))


@pytest.mark.parametrize("size", [9, 10_000_000], ids=["fewer", "more"])
def test_pieces_of_another_length_than_was_said_break_the_connection(files: list[Path], size: int) -> None:
    with served(answering(files, size=size)) as port, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://127.0.0.1:{port}/", timeout=60)


def test_blocks_are_neither_tiny_nor_huge(files: list[Path]) -> None:
    blocks = list(read_out(pieces_of(files)))
    assert b"".join(blocks) == whole(files)
    assert max(map(len, blocks)) < 1 << 20
    assert min(map(len, blocks[:-1])) >= 1 << 18


def asking(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    sock.settimeout(60)
    sock.connect(("127.0.0.1", port))
    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return sock


def read_slowly(sock: socket.socket, size: int, *, block: int = 50_000) -> bytes:
    """The content of one answer."""
    read = bytearray()
    while b"\r\n\r\n" not in read:
        read += sock.recv(1)
    read = bytearray()
    while len(read) < size and (data := sock.recv(min(block, size - len(read)))):
        read += data
    return bytes(read)
