"""Connections that ask for nothing, break off, lie about lengths or come in floods: others are answered meanwhile."""

import random
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from tests.server.conftest import wait_until
from tests.server.dimse.test_dimse_faults import associate_rq, conversation, mutated, talk

from researchpacs.archive._dimse._contexts import ECHO

from .conftest import AET, STOW, Victim, as_file, serving, stow_body

pytestmark = pytest.mark.server

SEED = 11
# The deadlines of a real server are half a minute and more, which no test waits for.
IMPATIENT = (
    sys.executable,
    "-c",
    "from researchpacs.server import connections; connections.HEAD_S = connections.STALL_S = 1.0\n"
    "from researchpacs.cli import main; main()",
)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    folder = tmp_path_factory.mktemp("impatient")
    with serving(folder / "home", folder / "stderr", program=IMPATIENT) as running:
        yield running
        running.is_well()


@contextmanager
def watched(victim: Victim) -> Iterator[None]:
    """Ask for a sign of life by both protocols all the while; none takes longer than its bound."""
    over, slow = threading.Event(), list[str]()

    def look() -> None:
        with httpx.Client(
            base_url=victim.url, headers=dict(victim.http.headers), auth=victim.http.auth, timeout=10
        ) as http:
            while not over.is_set():
                begun = time.monotonic()
                try:
                    http.get("/system").raise_for_status()
                    victim.echo()
                except Exception as error:
                    slow.append(f"{type(error).__name__}: {error}")
                if time.monotonic() - begun > 5:
                    slow.append(f"{time.monotonic() - begun:.1f} s")
                over.wait(0.05)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not slow


def closes_within(sock: socket.socket, seconds: float) -> bool:
    sock.settimeout(seconds)
    try:
        while sock.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_five_hundred_mutated_associations_end_only_themselves(victim: Victim) -> None:
    chance, pdus = random.Random(SEED), conversation()
    pdus[0] = associate_rq(*("1.2.840.10008.5.1.4.1.1.2", ECHO)).replace(b"RESEARCHPACS    ", AET.encode().ljust(16))
    assert talk(victim.dimse_port, b"".join(pdus), patience_s=5.0)[:1] == b"\2", "the sound one is accepted"
    with watched(victim):
        for _ in range(500):
            talk(victim.dimse_port, mutated(chance, pdus), patience_s=0.02)
    victim.is_well()
    assert not list(victim.home.joinpath("tmp").rglob("*.part"))


def test_lengths_of_four_gigabytes_are_not_believed(victim: Victim) -> None:
    before = victim.forget_peak()
    opening = associate_rq(ECHO).replace(b"RESEARCHPACS    ", AET.encode().ljust(16))
    with watched(victim):
        for kind in range(9):
            data = (b"" if kind == 1 else opening) + struct.pack(">BxI", kind, 0xFFFFFFFF) + bytes(64)
            assert talk(victim.dimse_port, data, patience_s=3.0)[-10:-8] == b"\7\0"
    assert victim.peak_mb - before < 50
    victim.is_well()


def test_floods_of_associations_and_connections_keep_nobody_out(victim: Victim) -> None:
    opening = associate_rq(ECHO).replace(b"RESEARCHPACS    ", AET.encode().ljust(16))
    with ExitStack() as held:
        idle = [held.enter_context(socket.create_connection(("127.0.0.1", victim.dimse_port))) for _ in range(300)]
        for sock in idle[::3]:
            sock.sendall(opening[:30])
        with watched(victim):
            time.sleep(1.0)
        for _ in range(700):
            held.enter_context(victim.connect())
        with watched(victim):
            time.sleep(1.0)
        for _ in range(700):
            held.enter_context(victim.connect()).sendall(b"GET /system HTTP/1.1\r\nHost: ")
        with watched(victim):
            time.sleep(1.0)
    victim.is_well()


def test_requests_sent_by_the_thousand_at_once_are_answered_in_turn(victim: Victim) -> None:
    """Pipelined, nobody waiting for the answers: each would be a task and an answer in memory."""
    one = f"GET /tools/now HTTP/1.1\r\nHost: x\r\nAuthorization: {victim.authorization()}\r\n\r\n".encode()
    before = victim.forget_peak()
    with ExitStack() as held, watched(victim):
        for _ in range(20):
            sock = held.enter_context(victim.connect())
            sock.settimeout(0.5)
            try:
                sock.sendall(one * 20_000)
            except OSError:
                continue  # it is not read any further, or the connection has ended
    assert victim.peak_mb - before < 150
    victim.is_well()


def test_a_flood_of_wrong_passwords_costs_no_memory_and_keeps_nobody_out(tmp_path: Path, users_file: Path) -> None:
    with serving(tmp_path / "home", tmp_path / "stderr", arguments=("--users", str(users_file))) as running:
        before = running.forget_peak()
        over = threading.Event()

        def guess(number: int) -> None:
            with httpx.Client(base_url=running.url, timeout=60) as http:
                for attempt in range(1_000_000):
                    if over.is_set():
                        return
                    assert http.get("/system", auth=("admin", f"{number}-{attempt}")).status_code == 401

        threads = [threading.Thread(target=guess, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        try:
            with watched(running):
                time.sleep(2.0)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert running.peak_mb - before < 100
        running.is_well()


HALVES = {
    "nothing": b"",
    "half a line": b"GET /sys",
    "half a head": b"GET /system HTTP/1.1\r\nHost: x\r\nX-",
    "half a body": b"POST /instances HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: 1000000\r\n\r\nDICM",
    "half a chunk": b"POST /tools/find HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n"
    + b"Transfer-Encoding: chunked\r\n\r\nfff\r\na",
    "a body that nobody may send": b"POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nDICM",
}


def test_whoever_stops_half_way_or_drips_is_cut_off(impatient: Victim) -> None:
    with ExitStack() as held, watched(impatient):
        silent, dripping = ({name: held.enter_context(impatient.connect()) for name in HALVES} for _ in range(2))
        for name, sock in (*silent.items(), *dripping.items()):
            data = HALVES[name]
            sock.sendall(data % impatient.authorization().encode() if b"%s" in data else data)
        begun = time.monotonic()
        while dripping and time.monotonic() - begun < 8:
            time.sleep(0.1)
            for name, sock in list(dripping.items()):
                try:
                    sock.sendall(b"a")
                except OSError:
                    del dripping[name]
        assert not dripping
        assert all(closes_within(sock, 1.0) for sock in silent.values())


def test_whoever_takes_no_answer_is_cut_off(impatient: Victim) -> None:
    one = _stored(impatient)
    request = f"GET /instances/{one}/file HTTP/1.1\r\nHost: x\r\nAuthorization: {impatient.authorization()}\r\n\r\n"
    with ExitStack() as held:
        for _ in range(20):
            sock = held.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sock.connect(("127.0.0.1", impatient.port))
            sock.sendall(request.encode())
        with watched(impatient):
            time.sleep(3.0)
        assert _open_files(impatient) < 5


def test_a_slow_reader_who_gets_on_is_served_to_the_end(impatient: Victim) -> None:
    one = _stored(impatient)
    size = impatient.http.get(f"/instances/{one}").json()["FileSize"]
    head = f"GET /instances/{one}/file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    request = f"{head}Authorization: {impatient.authorization()}\r\n\r\n"
    taken = 0
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        sock.connect(("127.0.0.1", impatient.port))
        sock.sendall(request.encode())
        while got := sock.recv(300_000):
            taken += len(got)
            time.sleep(0.1)
    assert taken > size


def _stored(victim: Victim) -> str:
    """The name of an instance of two megabytes."""
    body = stow_body(as_file(77, size=1_024))
    assert victim.http.post("/dicom-web/studies", content=body, headers=STOW).status_code == 200
    return str(victim.http.get("/instances").json()[0])


def _open_files(victim: Victim) -> int:
    folder = Path(f"/proc/{victim.process.pid}/fd")
    return sum(str(link.readlink()).endswith(".dcm") for link in folder.iterdir() if link.is_symlink())


HASTY = (
    sys.executable,
    "-c",
    "from researchpacs.server import handshakes; handshakes.HANDSHAKE_S = 5.0\n"
    "from researchpacs.cli import main; main()",
)


def test_handshakes_that_are_not_finished_are_few_and_short(tmp_path: Path, users_file: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "chain.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    trusting = ssl.create_default_context(cafile=tmp_path / "chain.pem")
    tls = ("--tls-cert", str(tmp_path / "chain.pem"), "--tls-key", str(tmp_path / "key.pem"))
    arguments = ("--users", str(users_file), *tls)
    with serving(tmp_path / "home", tmp_path / "stderr", program=HASTY, arguments=arguments, verify=trusting) as victim:
        # What goes past the process where nothing is encrypted must not do so here.
        content = as_file(1, size=512)
        name = victim.http.post("/instances", content=content).json()["ID"]
        assert victim.http.get(f"/instances/{name}/file").content == content
        (study,) = victim.http.get("/dicom-web/studies").json()
        url = study["00081190"]["Value"][0]
        assert url.startswith(victim.url)
        assert (
            content in victim.http.get(url, headers={"Accept": 'multipart/related; type="application/dicom"'}).content
        )
        server = psutil.Process(victim.process.pid)
        before = server.num_fds()
        with ExitStack() as held:
            # Silent, with half a handshake, and with what is none.
            for number in range(600):
                sock = held.enter_context(victim.connect())
                sock.sendall((b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\r\n")[number % 3])
                if number % 200 == 0:
                    assert victim.http.get("/system").status_code == 200
            assert server.num_fds() - before < 300
            assert victim.http.get("/system").status_code == 200
            assert closes_within(sock, 60)
            wait_until(lambda: server.num_fds() - before < 20)
        with victim.connect() as sock, trusting.wrap_socket(sock, server_hostname="127.0.0.1") as secured:
            # The request comes together with the end of the handshake, and the connection serves another behind it.
            for _ in range(2):
                secured.sendall(b"GET /system HTTP/1.1\r\nHost: x\r\n\r\n")
                assert secured.recv(65_536).startswith(b"HTTP/1.1 401 ")
        assert "Traceback" not in victim.log.read_text()
        assert victim.process.poll() is None
