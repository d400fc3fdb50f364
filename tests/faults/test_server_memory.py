"""A study far larger than what may be in memory goes in and out of a running server."""

import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pydicom
import pytest
from tests.server.hostile.conftest import BOUNDARY, STOW, as_file, serving

pytestmark = pytest.mark.server

MB = 1 << 20
SIDE = 4_096
MOST_MB = 512


def instances(count: int, *, first: int) -> Iterator[bytes]:
    """Instances of 32 MB of one study, made when they are asked for."""
    small = as_file(1)
    ds = pydicom.dcmread(io.BytesIO(small))
    for number in range(first, first + count):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.{number}"
        ds.InstanceNumber, ds.Rows, ds.Columns = number, SIDE, SIDE
        ds.PixelData = number.to_bytes(4, "little") + bytes(2 * SIDE * SIDE - 4)
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        yield buffer.getvalue()


def as_stow(contents: Iterator[bytes]) -> Iterator[bytes]:
    for content in contents:
        yield f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        yield content
        yield b"\r\n"
    yield f"--{BOUNDARY}--".encode()


class _Pipe(io.RawIOBase):
    """Collects what zipfile writes until it is taken."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self.parts = b"".join(self.parts), []
        return taken


def as_zip(contents: Iterator[bytes]) -> Iterator[bytes]:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"{number}.dcm", content)
            yield pipe.take()
    yield pipe.take()


@pytest.mark.parametrize(
    ("count", "most_growth_mb"), [(10, 150), pytest.param(33, 300, marks=pytest.mark.soak)], ids=["600MB", "2GB"]
)
def test_memory_stays_flat_while_a_large_study_goes_in_and_out(
    home: Path, tmp_path: Path, count: int, most_growth_mb: int
) -> None:
    """Half of it by STOW and half as a zip archive: twice `count` instances of 32 MB."""
    with serving(home, tmp_path / "stderr") as victim:
        # What the first instance brings in, libraries above all, is not the study's.
        assert victim.http.post("/instances", content=as_file(1)).status_code == 200
        assert victim.http.get("/studies").json()
        before = victim.forget_peak()

        def grown(what: str) -> None:
            assert victim.peak_mb < MOST_MB, what
            assert victim.peak_mb - before < most_growth_mb, (what, victim.peak_mb, before)
            victim.forget_peak()

        answer = victim.http.post("/dicom-web/studies", content=as_stow(instances(count, first=100)), headers=STOW)
        assert answer.status_code == 200
        grown("STOW")
        answer = victim.http.post("/instances", content=as_zip(instances(count, first=1_000)), timeout=300)
        assert len(answer.json()) == count
        grown("POST of a zip archive")
        (study,) = victim.http.get("/studies").json()
        uid = victim.http.get(f"/studies/{study}").json()["MainDicomTags"]["StudyInstanceUID"]
        whole = 2 * count * 2 * SIDE * SIDE
        for path, accept in (
            (f"/dicom-web/studies/{uid}", 'multipart/related; type="application/dicom"; transfer-syntax=*'),
            (f"/studies/{study}/archive", "*/*"),
            (f"/dicom-web/studies/{uid}", 'multipart/related; type="application/dicom"'),
            (f"/studies/{study}/media", "*/*"),
            (f"/dicom-web/studies/{uid}/metadata", "*/*"),
        )[: None if os.environ.get("RESEARCHPACS_SOAK") else 2]:
            streamed = victim.http.stream("GET", path, headers={"Accept": accept}, timeout=300)
            assert size_of_answer(streamed, tmp_path / "answer") > whole or "metadata" in path
            grown(path)
        victim.is_well()


def size_of_answer(streamed: AbstractContextManager[httpx.Response], kept: Path) -> int:
    """Bytes of an answer; of a zip archive, those of its members, which are zeros and take no room on the way."""
    size = 0
    with streamed as answer, kept.open("wb") as file:
        assert answer.status_code == 200
        for chunk in answer.iter_raw():
            size += len(chunk)
            if answer.headers["content-type"] == "application/zip":
                file.write(chunk)
    if kept.stat().st_size:
        with zipfile.ZipFile(kept) as archive:
            assert archive.testzip() is None
            return sum(member.file_size for member in archive.infolist())
    return size
