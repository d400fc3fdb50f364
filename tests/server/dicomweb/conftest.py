"""Our DICOMweb on loopback, over real instances, and dicomweb-client as it comes."""

import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pydicom
import pytest
import requests
import uvicorn
from dicomweb_client import DICOMwebClient

import researchpacs as rp
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access
from researchpacs.server.connections import Connection

REAL = (
    "charset",
    "misc_pydicom",
    "mr_enhanced",
    "transfer_syntaxes_ct",
    "highdicom_seg_sr_sm_ann",
    "digital_phantom_orientation",
)


@dataclass(frozen=True)
class Served:
    """An archive and the address of a server over it."""

    pacs: rp.Pacs
    url: str
    client: DICOMwebClient
    """dicomweb-client, unmodified."""
    http: httpx.Client
    """Bare HTTP below ``/dicom-web``, for what dicomweb-client does not say."""


@contextmanager
def serving(pacs: rp.Pacs) -> Iterator[Served]:
    """Run the whole application in a thread, on a free port."""
    with socket.socket(proto=socket.IPPROTO_TCP) as found:  # asyncio sets TCP_NODELAY on those that say so
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
        config = uvicorn.Config(create_app(pacs, access=Access()), http=Connection, log_level="error", lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [found]}, daemon=True)
        thread.start()
        until = time.monotonic() + 20
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        assert server.started
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=f"{url}/dicom-web", timeout=30) as http, requests.Session() as session:
            yield Served(pacs, url, DICOMwebClient(url=f"{url}/dicom-web", session=session), http)
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="session")
def served(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two hundred real instances of all kinds; tests only read them."""
    with rp.connect(tmp_path_factory.mktemp("dicomweb") / "home") as pacs:
        pacs.ingest([real_data / name for name in REAL], progress=False)
        with serving(pacs) as made:
            yield made


@pytest.fixture
def empty(home: Path) -> Iterator[Served]:
    """A server over an archive that a test fills."""
    with rp.connect(home) as pacs, serving(pacs) as made:
        yield made


@pytest.fixture(scope="session")
def files(served: Served) -> dict[str, tuple[bytes, pydicom.Dataset]]:
    """Every instance of the archive by its SOPInstanceUID, as pydicom reads it: the oracle."""
    found = {}
    for path in sorted(served.pacs.archive.home.archive.rglob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path, force=True)
            found[str(ds.SOPInstanceUID)] = path.read_bytes(), ds
    return found


def path_of(ds: pydicom.Dataset) -> str:
    """The path of an instance below the root of the service."""
    return f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
