"""What `pip install` brings: the widget, the sample definitions and the quick start, beside the code."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
    ]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_is_ready_to_use(wheel: zipfile.ZipFile):
    names = set(wheel.namelist())
    assert wheel.getinfo("researchpacs/viewer/static/viewer.js").file_size > 1_000_000
    assert "researchpacs/datasets/definitions/chest_ct.toml" in names
    assert "researchpacs/_notebooks/01-quick-start.ipynb" in names
    assert "researchpacs/server/ohif-config.js" in names
    assert "researchpacs/py.typed" in names
    assert any(name.endswith("entry_points.txt") for name in names)


def test_the_bundle_is_under_4_mb(wheel: zipfile.ZipFile):
    assert wheel.getinfo("researchpacs/viewer/static/viewer.js").file_size < 4_000_000


def test_nothing_else_is_in_it(wheel: zipfile.ZipFile):
    assert {name.split("/")[0].split("-")[0] for name in wheel.namelist()} == {"researchpacs"}
    assert not [name for name in wheel.namelist() if "node_modules" in name or name.endswith((".pyc", ".dcm"))]
