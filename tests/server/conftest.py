"""Servers on loopback: ours in a thread of the test or as the command that people type, and a real Orthanc."""

import contextlib
import io
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
import uvicorn
from orthanc_api_client import OrthancApiClient
from pydicom import Dataset, dcmread
from starlette.applications import Starlette

Served: TypeAlias = Callable[[Starlette], AbstractContextManager[str]]
RealOrthanc: TypeAlias = Callable[..., AbstractContextManager[httpx.Client]]
Started: TypeAlias = Callable[..., AbstractContextManager[list[str]]]
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@contextmanager
def _served(app: Starlette) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        give_up = time.monotonic() + 30
        while not server.started and thread.is_alive() and time.monotonic() < give_up:
            time.sleep(0.01)
        assert server.started, "the server did not start"
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def served() -> Served:
    """Gives the URL at which an application answers while a block lasts."""
    return _served


@contextmanager
def _started(home: Path, *options: object) -> Iterator[list[str]]:
    command = [sys.executable, "-m", "researchpacs", "--home", str(home), "serve", "--port", "0", *map(str, options)]
    count = 2 + ("--ohif" in options) + ("--dimse-port" in options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield [process.stdout.readline().strip() for _ in range(count)]
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def started() -> Started:
    """Gives the lines that `researchpacs serve` prints for a home and options; it runs while a block lasts."""
    return _started


@contextmanager
def _real_orthanc(folder: Path, *datasets: Dataset, plugin: bool = False, **settings: Any) -> Iterator[httpx.Client]:
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or (plugin and not PLUGIN.exists()):
        pytest.skip("a real Orthanc is missing: apt-get install orthanc orthanc-dicomweb")
    port = free_port()
    told = {
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": port, "DicomServerEnabled": False,
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "Plugins": [str(PLUGIN)] if plugin else [],
        **settings,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(told))
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=quiet, stderr=quiet)
    try:
        # It closes idle connections after a second, sometimes just when the next request goes out.
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, headers={"Connection": "close"}) as client:
            wait_until(lambda: _answers(client))
            for ds in datasets:
                client.post("/instances", content=file_bytes(ds)).raise_for_status()
            yield client
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def real_orthanc(tmp_path_factory: pytest.TempPathFactory) -> RealOrthanc:
    """Starts Debian's Orthanc with some instances, with settings of one's own, for as long as a block lasts."""
    return lambda *datasets, **settings: _real_orthanc(tmp_path_factory.mktemp("orthanc"), *datasets, **settings)


@pytest.fixture
def client(url: str) -> Iterator[OrthancApiClient]:
    """An unmodified client of the server that a module has at `url`."""
    with contextlib.closing(OrthancApiClient(url)) as client:
        yield client


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    """The same without a library that knows its language."""
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


def files_of(client: OrthancApiClient, study: str) -> list[Dataset]:
    """All instances of a study, as they are sent."""
    names = client.studies.get_instances_ids(study)
    return [dcmread(io.BytesIO(client.instances.get_file(name))) for name in names]


@pytest.fixture
def write_rule(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of one rule for routing, with quick attempts unless `retry` says otherwise."""

    def write(then: str, *, when: str = "Modality = 'CT'", retry: str = "first_s = 0.1\nlongest_s = 0.5") -> Path:
        path = tmp_path / "rules.toml"
        path.write_text(f'[retry]\n{retry}\n[[rule]]\nname = "one"\nwhen = {json.dumps(when)}\nthen = {then}\n')
        return path

    return write


def file_bytes(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/system").status_code == 200
    except httpx.TransportError:
        return False
