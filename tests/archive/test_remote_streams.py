"""What a server sends goes to disk as it comes: files larger than memory should be, bodies that break off or lie."""

import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Protocol

import pytest

from researchpacs.archive._dicomweb import DicomwebServer
from researchpacs.archive._orthanc import OrthancServer
from researchpacs.archive._remote_address import as_address
from researchpacs.archive._remote_http import part_of
from researchpacs.errors import RemoteError

pytestmark = pytest.mark.server

MB = 1 << 20
NAME = "studies/1/series/2/instances/3"
CONTENT = b"".join(number.to_bytes(4, "little") for number in range(16 * MB))  # 64 MB, no two blocks alike
PART = b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\n"


class _Client(Protocol):
    def read(self, name: str, offset: int, length: int | None) -> bytes: ...
    def retrieve(self, name: str, file: object) -> int: ...
    def close(self) -> None: ...


@contextmanager
def sending(kind: str, body: tuple[bytes, ...], *, content_type: str, declared: int | None = None) -> Iterator[_Client]:
    """A client of a server that answers everything with one body."""

    class Sending(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(sum(map(len, body)) if declared is None else declared))
            self.end_headers()
            try:
                for one in body:
                    self.wfile.write(one)
            except ConnectionError:
                pass  # the client has what it wanted

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Sending) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = as_address(f"{kind}+http://127.0.0.1:{server.server_port}/")
        client: _Client = DicomwebServer(address) if kind == "dicomweb" else OrthancServer(address)  # type: ignore[assignment]
        try:
            yield client
        finally:
            client.close()
            server.shutdown()
            thread.join()


class _Sink:
    """Compares what is written with what should be, and keeps nothing."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> None:
        assert data == CONTENT[self.size : self.size + len(data)]
        self.size += len(data)


def peak_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["orthanc", "dicomweb", "dicomweb without parts"])
def test_a_file_is_written_as_it_comes_and_never_held_whole(kind: str) -> None:
    parts = kind == "dicomweb"
    body = (PART, CONTENT, b"\r\n--b--\r\n") if parts else (CONTENT,)
    content_type = 'multipart/related; type="application/dicom"; boundary=b' if parts else "application/dicom"
    with sending(kind.partition(" ")[0], body, content_type=content_type) as client:
        sink = _Sink()
        assert peak_of(lambda: client.retrieve(NAME, sink)) < 16 * MB
        assert sink.size == len(CONTENT)
        # A part of it, too, from where it is asked for to where it ends.
        found: list[bytes] = []
        assert peak_of(lambda: found.append(client.read(NAME, 33 * MB + 1, 1_000))) < 16 * MB
        assert found == [CONTENT[33 * MB + 1 : 33 * MB + 1_001]]
        assert client.read(NAME, len(CONTENT) - 5, 100) == CONTENT[-5:]
        assert client.read(NAME, len(CONTENT) + 5, 100) == b""
        assert client.read(NAME, 0, None) == CONTENT


@pytest.mark.parametrize("kind", ["orthanc", "dicomweb"])
def test_a_file_that_breaks_off_is_an_error_and_no_short_file(kind: str) -> None:
    with (
        sending(kind, (b"x" * 1_000,), content_type="application/dicom", declared=2_000) as client,
        pytest.raises(RemoteError, match="broke off"),
    ):
        client.retrieve(NAME, BytesIO())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (PART + b"x" * 100, "cut off"),
        (PART + b"x" * 100 + b"\r\n--c--\r\n", "cut off"),
        (b"x" * 100_000, "does not begin with the boundary"),
        (b"\r\n--b\r\nContent-Length: 5\r\n\r\nabc\r\n--b--", "declares 5 bytes and has 3"),
        (b"\r\n--b--\r\n", "no part"),
    ],
)
def test_a_part_that_does_not_end_is_an_error(body: bytes, reason: str) -> None:
    for step in (1, 7, len(body)):
        pieces = (body[start : start + step] for start in range(0, len(body), step))
        with pytest.raises(RemoteError, match=reason):
            list(part_of("multipart/related; boundary=b", pieces))


def test_more_than_any_file_has_is_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from researchpacs.archive import _remote_http

    monkeypatch.setitem(_remote_http.pieces.__kwdefaults__, "most", MB)
    for kind in ("orthanc", "dicomweb"):
        with sending(kind, (CONTENT,), content_type="application/dicom") as client:
            sink = _Sink()
            with pytest.raises(RemoteError, match="more than"):
                client.retrieve(NAME, sink)
            assert sink.size <= MB
