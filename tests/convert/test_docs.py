"""docs/convert.md says what works: every example runs, top to bottom."""

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import researchpacs as rp

PAGE = Path(__file__).parents[2] / "docs" / "convert.md"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video) -> None:
    """The files that the examples name, in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("report.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4))
    image.set_sform(np.eye(4), 1)
    nib.save(image, "t1.nii.gz")
    for number, name in enumerate(("photo.jpg", "photo2.jpg")):
        Image.fromarray(np.full((16, 16, 3), 50 * number, np.uint8)).save(name)
    Path("gastroscopy.mp4").write_bytes(video().read_bytes())


def test_every_example_runs(home: Path, files: None) -> None:
    with rp.connect(home) as pacs:
        pacs.ingest(rp.datasets.path("chest_ct", slices=4))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block.replace('"~/pacs"', repr(str(home))), names)
    pacs = names["pacs"]
    assert isinstance(pacs, rp.Pacs)
    found = dict(pacs.sql("select SeriesDescription, instance_count from series").fetchall())
    pacs.close()
    assert found.pop("Chest 75 mm") == 4
    assert found == {"Discharge letter": 1, "T1, defaced": 5, "halved": 4, "an array": 4, "bone": 1}
