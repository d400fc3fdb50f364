"""A real Orthanc with its DICOMweb plugin, on loopback, for as long as the tests of this folder run."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, SECRET = "reader", "s3cret-of-tests"


@dataclass(frozen=True)
class Orthanc:
    """A running server."""

    port: int
    http: requests.Session

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """As `connect` takes it."""
        return f"orthanc+http://{USER}:{SECRET}@127.0.0.1:{self.port}/"

    @property
    def dicomweb_url(self) -> str:
        return f"dicomweb+http://{USER}:{SECRET}@127.0.0.1:{self.port}/dicom-web"

    def get(self, path: str) -> object:
        answer = self.http.get(f"{self.root}/{path}", timeout=30)
        answer.raise_for_status()
        return answer.json()

    def post(self, data: bytes) -> str:
        """Store an instance behind the client's back."""
        answer = self.http.post(f"{self.root}/instances", data=data, timeout=30)
        answer.raise_for_status()
        return str(answer.json()["ID"])

    def delete(self, path: str) -> None:
        self.http.delete(f"{self.root}/{path}", timeout=30).raise_for_status()

    def clear(self) -> None:
        for patient in self.get("patients"):  # type: ignore[attr-defined]
            self.delete(f"patients/{patient}")
        self.delete("changes")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start_orthanc(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start one on a database in `folder`, and wait until it answers."""
    program = shutil.which("Orthanc")
    if program is None or not PLUGIN.exists():
        pytest.skip("a real Orthanc is missing: apt-get install orthanc orthanc-dicomweb")
    folder.mkdir(exist_ok=True)
    settings = {
        "Name": "tests",
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "HttpPort": port,
        "HttpBindAddresses": ["127.0.0.1"],
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: SECRET},
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    config = folder / "orthanc.json"
    config.write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(config)], stdout=log, stderr=log)
    for _ in range(300):
        try:
            requests.get(f"http://127.0.0.1:{port}/system", timeout=1)
            return process
        except requests.ConnectionError:
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            time.sleep(0.1)
    stop(process)
    raise AssertionError("Orthanc does not answer")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)


@pytest.fixture(scope="session")
def running_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    port = free_port()
    process = start_orthanc(tmp_path_factory.mktemp("orthanc") / "db", port)
    with requests.Session() as http:
        http.auth = (USER, SECRET)
        yield Orthanc(port, http)
    stop(process)


@pytest.fixture
def orthanc(running_orthanc: Orthanc) -> Orthanc:
    """The server, empty."""
    running_orthanc.clear()
    return running_orthanc
