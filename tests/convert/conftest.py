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
