"""A process fills the catalog while an ingest goes on; whatever becomes of it, nothing is lost and nobody is left."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from researchpacs.archive import EmbeddedArchive
from researchpacs.catalog import Catalog, _beside, filled_beside
from researchpacs.config import Settings
from researchpacs.ingest import ingest
from researchpacs.model import Incoming
from researchpacs.storage.home import Home
from researchpacs.testing import small_ct

from .conftest import contents

_SLICES = 12


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_beside, "MANY", 4)


@pytest.fixture
def archive(home: Path) -> Iterator[EmbeddedArchive]:
    made = EmbeddedArchive(Home.open(home))
    yield made
    made.close()


def take(archive: EmbeddedArchive, *, workers: int = 2, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Ingest a series; `meanwhile` is called when the process beside has begun to fill the catalog."""

    def watched(items: Iterable[Incoming]) -> Iterator[Incoming]:
        for count, item in enumerate(items):
            if count == 8 and workers > 1:
                _wait_for(archive.home.catalog_metadata.exists)
                meanwhile()
            yield item

    slices = [small_ct(number) for number in range(1, _SLICES + 1)]
    with filled_beside(archive, Settings(archive.home.path, workers)) as store:
        ingest(slices, store=lambda items: store(watched(items)), home=archive.home, progress=False)


def test_after_an_ingest_of_many_nothing_is_left_to_fill_in(
    archive: EmbeddedArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(archive)
    assert not _beside_us()
    catalog = Catalog(archive.home, archive)
    with monkeypatch.context() as patched:
        patched.setattr(Catalog, "_follow", None)  # asked for more it would fail
        filled = contents(catalog)
    assert len(filled["instances"]) == _SLICES
    catalog.sync(rebuild=True)
    assert contents(catalog) == filled
    catalog.close()


def test_where_it_is_killed_the_next_question_goes_on(
    archive: EmbeddedArchive, caplog: pytest.LogCaptureFixture
) -> None:
    def kill() -> None:
        for process in _beside_us():
            process.kill()

    take(archive, meanwhile=kill)
    assert "the next question does" in caplog.text
    assert not _beside_us()
    catalog = Catalog(archive.home, archive)
    filled = contents(catalog)
    assert len(filled["instances"]) == _SLICES
    catalog.sync(rebuild=True)
    assert contents(catalog) == filled
    catalog.close()


def test_an_ingest_does_not_wait_for_ever(archive: EmbeddedArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_beside, "PATIENCE_S", 0.0)
    catalog = Catalog(archive.home, archive)
    catalog.sync()
    with catalog.lake.lock():
        take(archive)  # while another has the lock
    assert not _beside_us()
    assert len(contents(catalog)["instances"]) == _SLICES
    catalog.close()


def test_an_interrupt_ends_it(archive: EmbeddedArchive) -> None:
    met = []

    def interrupt() -> None:
        met.extend(_beside_us())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(archive, meanwhile=interrupt)
    assert len(met) == 1
    assert not _beside_us()


def test_without_workers_there_is_none(archive: EmbeddedArchive) -> None:
    take(archive, workers=1)
    assert not archive.home.catalog_metadata.exists()


def test_it_ends_with_whoever_started_it(home: Path) -> None:
    command = [sys.executable, "-c", "from researchpacs.catalog._beside import main; main()", str(home)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert done.returncode == 1


def _beside_us() -> list[psutil.Process]:
    children = psutil.Process().children()
    living = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in living if any("catalog._beside" in word for word in child.cmdline())]


def _wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up, f"nothing came in a minute, process {os.getpid()}"
        time.sleep(0.01)
