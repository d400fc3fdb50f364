"""The keywords that editors complete are those that a search takes."""

import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_written_keywords_are_those_of_today():
    written = ROOT / "src" / "researchpacs" / "search" / "_filters.py"
    assert written.read_text() == runpy.run_path(str(ROOT / ".ci" / "write_filters.py"))["text"](), (
        "run python .ci/write_filters.py"
    )


def test_type_checkers_know_keywords_and_what_is_found(tmp_path):
    (tmp_path / "notebook.py").write_text(
        "import researchpacs as rp\n"
        "pacs = rp.connect()\n"
        "reveal_type(pacs.search('series', Modality='CT')[0])\n"
        "pacs.search('series', Modalty='CT')\n"
    )
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", str(tmp_path / "notebook.py")],  # with the cache that `make check` left
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert 'Revealed type is "researchpacs._pacs._handles.Series"' in checked.stdout
    assert 'did you mean "Modality"?' in checked.stdout
