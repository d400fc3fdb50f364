"""A running SCP over a small archive, and dcmtk's tools as its peers."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

import researchpacs as rp
from researchpacs.server.dimse import Scp, ScpOptions, start_scp
from researchpacs.testing._instances import small_ct

Tool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pacs(home: Path) -> Iterator[rp.Pacs]:
    with rp.connect(home) as pacs:
        yield pacs


@pytest.fixture
def scp(pacs: rp.Pacs) -> Iterator[Scp]:
    with start_scp(pacs, ScpOptions(port=0)) as scp:
        yield scp


@pytest.fixture
def slices(tmp_path: Path) -> list[Path]:
    """Six slices of one series and three of another study, as files."""
    found = []
    for number in range(1, 10):
        ds = small_ct(number) if number < 7 else small_ct(number, **OTHER)
        found.append(write(ds, tmp_path / "slices" / f"{number}.dcm"))
    return found


OTHER = {
    "StudyInstanceUID": "1.2.3.4",
    "SeriesInstanceUID": "1.2.3.4.5",
    "PatientID": "B-17",
    "PatientName": "Müller^Jürgen",
    "SpecificCharacterSet": "ISO_IR 100",
    "Modality": "PT",
    "StudyDate": "20230105",
    "StudyTime": "081530",
    "AccessionNumber": "X[1]",
}


def write(ds: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def dcmtk(tmp_path: Path) -> Tool:
    """Run one of dcmtk's tools; `dcmtk("echoscu", ...)`."""

    def run(name: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        program = shutil.which(name)
        if program is None:
            pytest.skip(f"dcmtk's {name} is missing: apt-get install dcmtk")
        done = subprocess.run(
            [program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def dataset_bytes(path_or_bytes: Path | bytes) -> bytes:
    """Everything behind the File Meta Information."""
    data = path_or_bytes if isinstance(path_or_bytes, bytes) else path_or_bytes.read_bytes()
    assert data[128:132] == b"DICM"
    return data[144 + int.from_bytes(data[140:144], "little") :]


def read_all(folder: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(folder.iterdir())]
