"""Servers that benchmarks measure, on loopback: ours by its command, Debian's Orthanc, and a bare sendfile.

Orthanc syncs what it stores (SyncStorageArea), as ours always does; both take everybody, as only this machine reaches
them. TCP_NODELAY in the environment is what dcmtk, and with it Orthanc's DICOM side, looks for.
"""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["ENVIRONMENT", "Running", "free_port", "orthanc", "orthanc_version", "ours", "sendfile_server"]

ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
_DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_SENDFILE = """
import contextlib, os, pathlib, socket, sys
files = sorted(pathlib.Path(sys.argv[2]).iterdir())
size = sum(file.stat().st_size for file in files)
head = f"HTTP/1.1 200 OK\\r\\nContent-Length: {size}\\r\\nConnection: close\\r\\n\\r\\n".encode()
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listening:
    while True:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(ConnectionError):
            connection.recv(65536)
            connection.sendall(head)
            for file in files:
                with file.open("rb") as opened:
                    offset, left = 0, os.fstat(opened.fileno()).st_size
                    while left:
                        sent = os.sendfile(connection.fileno(), opened.fileno(), offset, left)
                        offset, left = offset + sent, left - sent
"""


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    port: int
    pid: int
    dimse_port: int = 0
    start_s: float = 0.0
    """From the start of its process to its first answer."""

    def peak_mb(self) -> float:
        """The highest resident memory of its processes together, in 10^6 bytes."""
        process = psutil.Process(self.pid)
        return sum(_peak_kib(one.pid) for one in [process, *process.children(recursive=True)]) * 1024 / 1e6


@contextmanager
def ours(home: Path, *options: str) -> Iterator[Running]:
    """Serve a home with ``researchpacs serve``."""
    port = free_port()
    command = [sys.executable, "-m", "researchpacs", "--home", str(home), "serve", "--no-auth", "--port", str(port)]
    with _running([*command, *options], port) as running:
        yield running


@contextmanager
def orthanc(folder: Path, **settings: object) -> Iterator[Running]:
    """Run Debian's Orthanc with its store below a folder."""
    port, dicom = free_port(), free_port()
    folder.mkdir(exist_ok=True)
    config = folder / "orthanc.json"
    configured = {
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": port, "DicomPort": dicom,
        "DicomAet": "ORTHANC", "DicomAlwaysAllowStore": True, "SyncStorageArea": True, "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False, "Plugins": [str(_DICOMWEB)] if _DICOMWEB.exists() else [], **settings,
    }  # fmt: skip
    config.write_text(json.dumps(configured))
    with _running([_program(), str(config)], port, dimse_port=dicom) as running:
        yield running


@contextmanager
def sendfile_server(folder: Path) -> Iterator[Running]:
    """Answer every request with all files of a folder, by sendfile and nothing else: what the system allows."""
    port = free_port()
    with _running([sys.executable, "-c", _SENDFILE, str(port), str(folder)], port) as running:
        yield running


def free_port() -> int:
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def orthanc_version() -> str:
    """As the program tells it."""
    found = subprocess.run([_program(), "--version"], capture_output=True, text=True, check=True)
    return found.stdout.split("\n")[0].split()[-1]


@contextmanager
def _running(command: list[str], port: int, *, dimse_port: int = 0) -> Iterator[Running]:
    start = time.perf_counter()
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for(port, process)
            yield Running(port, process.pid, dimse_port, time.perf_counter() - start)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("HEAD", "/system")
            connection.getresponse().close()
        except OSError:
            time.sleep(0.01)
        else:
            return
        finally:
            connection.close()
    raise RuntimeError("a server that is to be measured does not answer")


def _peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _program() -> str:
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None:
        raise FileNotFoundError("Orthanc is missing: apt-get install orthanc orthanc-dicomweb")
    return program
