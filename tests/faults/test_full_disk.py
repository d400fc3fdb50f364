"""A disk that fills up while the catalog follows is told as that; with more room the next question goes on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from researchpacs.archive import EmbeddedArchive
from researchpacs.catalog import Catalog
from researchpacs.errors import ResearchPacsError
from researchpacs.ingest import ingest
from researchpacs.storage.home import Home
from researchpacs.testing import small_ct

from .invariants import all_rows, counts_of_levels

_COUNT = 20
_FREE = (0, 24 << 10, 100 << 10, 200 << 10)
"""Bytes that are left."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=False, capture_output=True
    ).returncode:
        pytest.skip("a small disk is missing: run as root, so that a tmpfs can be mounted")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def _fill(disk: Path, *, but: int) -> Path:
    """Leave so many bytes."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            os.truncate(path, max(0, path.stat().st_size - but))
    return path


@pytest.mark.parametrize("rebuild", [False, True], ids=["follows", "is_made_anew"])
def test_it_is_told_and_the_next_question_goes_on(disk: Path, rebuild: bool) -> None:
    home = Home.open(disk / "home")
    archive = EmbeddedArchive(home)
    catalog = Catalog(home, archive)
    told = []
    for at, free in enumerate(_FREE):
        made = [small_ct(_COUNT * at + number) for number in range(_COUNT)]
        ingest(made, store=archive.store, home=home, progress=False)
        filler = _fill(disk, but=free)
        try:
            catalog.sync(rebuild=rebuild)
        except ResearchPacsError as error:
            told.append(str(error))
        filler.unlink()
        count = _COUNT * (at + 1)
        assert catalog.sql("select count(*) from instances where tags is not null").fetchall() == [(count,)]
        assert catalog.sql(counts_of_levels(catalog)).fetchall() == [(True,)]
    assert len(told) >= 2, "some of these are too little"
    assert all("no space is left on the disk" in one and "archive is whole" in one for one in told), told
    assert not catalog.mended
    assert archive.verify().ok
    found = all_rows(catalog)
    catalog.sync(rebuild=True)
    assert all_rows(catalog) == found
    catalog.close()
    archive.close()
