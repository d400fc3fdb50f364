"""What is told to the disk early, and what is synced, is what was written."""

import os
from pathlib import Path

import pytest

from researchpacs.storage import durable


@pytest.mark.parametrize("known", [True, False])
def test_a_file_that_the_disk_begins_to_write_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    if not known:
        monkeypatch.setattr(durable, "_sync_file_range", lambda: None)
    path, content = tmp_path / "file", os.urandom(300_000)
    with path.open("xb", buffering=0) as file:
        file.write(content)
        durable.begin_to_write(file.fileno())
        file.write(content)
    durable.sync_content(path)
    assert path.read_bytes() == 2 * content
