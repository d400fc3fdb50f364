"""What judges converted instances: dciodvfy, and an archive with a study to belong to."""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from pydicom import Dataset

import researchpacs as rp


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Sequence[Dataset]], Path]:
    """Write instances into a folder of their own."""

    def write(instances: Sequence[Dataset]) -> Path:
        folder = tmp_path / f"written-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for number, ds in enumerate(instances):
            ds.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
        return folder

    return write


@pytest.fixture
def errors_of(written) -> Callable[[Sequence[Dataset]], list[str]]:
    """What dciodvfy calls an error in the first and the last instance."""
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is missing: apt-get install dicom3tools")

    def judge(instances: Sequence[Dataset]) -> list[str]:
        files = sorted(written(instances).iterdir())
        lines: list[str] = []
        for file in {files[0], files[-1]}:
            verdict = subprocess.run(["dciodvfy", "-new", file], capture_output=True, text=True, check=False)
            found = (verdict.stdout + verdict.stderr).splitlines()
            assert found, "dciodvfy said nothing at all"
            lines += [line for line in found if line.startswith("Error")]
        return lines

    return judge


@pytest.fixture(scope="session")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rp.Pacs]:
    """An archive with one CT series."""
    with rp.connect(tmp_path_factory.mktemp("convert") / "home") as pacs:
        pacs.ingest(rp.datasets.path("chest_ct", slices=4))
        yield pacs


@pytest.fixture
def series(pacs: rp.Pacs):
    return pacs.search("series", Modality="CT", SeriesDescription="Chest*").one()


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a short MP4 file with ffmpeg: of H.264 High unless told otherwise."""
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is missing: apt-get install ffmpeg")
    folder = tmp_path_factory.mktemp("videos")
    usual = ("-c:v", "libx264", "-profile:v", "high", "-pix_fmt", "yuv420p")

    def make(
        *options: str, size: str = "64x48", rate: str = "25", frames: int = 6, sound: bool = False, name: str = "mp4"
    ) -> Path:
        path = folder / f"{len(list(folder.iterdir()))}.{name}"
        source = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}"]
        if sound:
            source += ["-f", "lavfi", "-i", "sine", "-shortest"]
        command = [
            "ffmpeg",
            "-loglevel",
            "error",
            "-y",
            *source,
            "-frames:v",
            str(frames),
            *(options or usual),
            str(path),
        ]
        subprocess.run(command, check=True, capture_output=True)
        return path

    return make
