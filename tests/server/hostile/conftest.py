"""`researchpacs serve` as its own process on loopback, to be attacked: what it says, and what memory it took."""

import os
import re
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from researchpacs.archive._peers import Peer
from researchpacs.server.auth import User, hash_password, write_user
from researchpacs.testing import small_ct

AET = "TRIAL"
MOST_MB = 512
"""What the process may have had resident at most, at any time."""
PASSWORD = "correct horse"
BOUNDARY = "0-boundary-0"
PROGRAM = (sys.executable, "-m", "researchpacs")
STOW = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'}


@dataclass(frozen=True)
class Victim:
    """A running server."""

    process: subprocess.Popen[str]
    home: Path
    url: str
    http: httpx.Client
    """Knows the way in, as an administrator."""
    log: Path
    """What the process wrote to stderr."""
    dimse_port: int

    @property
    def port(self) -> int:
        """Where it speaks HTTP."""
        return int(self.url.rstrip("/").rpartition(":")[2])

    @property
    def peak_mb(self) -> int:
        """VmHWM: the most that was resident since the start, or since `forget_peak`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) >> 10

    def forget_peak(self) -> int:
        """Begin anew with what is resident now, and give it."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self.peak_mb

    def authorization(self) -> str:
        """The header field that opens everything."""
        return str(self.http.headers["Authorization"])

    def connect(self) -> socket.socket:
        """A bare connection to the HTTP port."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def raw(self, data: bytes, *, patience_s: float = 5.0) -> bytes:
        """Send bytes, and read what comes until the other side closes or says nothing for a while."""
        answer = b""
        with self.connect() as sock:
            try:
                sock.sendall(data)
                sock.settimeout(patience_s)
                while got := sock.recv(65_536):
                    answer += got
            except OSError:
                return answer
        return answer

    def echo(self) -> float:
        """Seconds that a C-ECHO takes, with its association."""
        begun = time.monotonic()
        Peer("victim", AET, "127.0.0.1", self.dimse_port).echo()
        return time.monotonic() - begun

    def is_well(self) -> None:
        """Hold it to what it owes after every attack."""
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        assert self.http.get("/system").status_code == 200
        assert self.echo() < 5
        assert self.peak_mb < MOST_MB
        assert "Traceback" not in self.log.read_text()


Serve: TypeAlias = Callable[..., AbstractContextManager[Victim]]


def as_file(number: int = 1, **attributes: Any) -> bytes:
    """A sound instance as a file."""
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of the values that break their VR, which is what is wanted
        small_ct(number, **attributes).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def stow_body(*contents: bytes) -> bytes:
    """A STOW-RS body, for `STOW`."""
    opening = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(opening + content + b"\r\n" for content in contents) + f"--{BOUNDARY}--".encode()


@contextmanager
def serving(
    home: Path,
    log: Path,
    *,
    arguments: tuple[str, ...] = (),
    program: tuple[str, ...] = PROGRAM,
    verify: ssl.SSLContext | bool = True,
) -> Iterator[Victim]:
    """Start a server; it is killed when the block ends, if it still runs."""
    command = [*program, "--home", str(home), "serve", "--port", "0", "--dimse-port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [*command, "--aet", AET, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as process,
    ):
        try:
            assert process.stdout is not None
            url = _after(process.stdout.readline(), " at ", log)
            field = {}
            if not arguments:
                field = {"Authorization": f"Bearer {_after(process.stdout.readline(), 'token: ', log).split()[0]}"}
            with httpx.Client(base_url=url, headers=field, timeout=60, trust_env=False, verify=verify) as http:
                auth = None if field else ("admin", PASSWORD)
                http.auth = auth  # type: ignore[assignment]
                yield Victim(process, home, url, http, log, http.get("/system").json()["DicomPort"])
        finally:
            process.kill()


def _after(line: str, words: str, log: Path) -> str:
    assert words in line, log.read_text()
    return line.split(words)[1].strip()


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Start servers over homes of a test's own."""

    def start(home: Path, *arguments: str) -> AbstractContextManager[Victim]:
        return serving(home, tmp_path / "stderr", arguments=arguments)

    return start


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    """Users named as their roles."""
    path = tmp_path / "users.json"
    for role in ("read", "write", "admin"):
        write_user(path, User(role, role, hash_password(PASSWORD)))
    return path


@pytest.fixture(scope="session")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """One server that all attacks of a test run meet, one after the other, over a small series."""
    folder = tmp_path_factory.mktemp("victim")
    with serving(folder / "home", folder / "stderr") as running:
        answer = running.http.post("/dicom-web/studies", content=stow_body(*map(as_file, range(1, 5))), headers=STOW)
        assert answer.status_code == 200
        yield running
        running.is_well()
