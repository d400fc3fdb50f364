"""Files that stay where they are: read in this process while that is quick, by workers where it is not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from researchpacs.ingest import _pool, incoming
from researchpacs.ingest._tasks import Task
from researchpacs.model import Incoming, Refusal
from researchpacs.testing import small_ct

_COUNT = 80


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(1, _COUNT):
        small_ct(number).save_as(folder / f"{number:03}", enforce_file_format=True)
    (folder / "text").write_text("hello")
    return folder


def told(scans: Path, tmp: Path, *, copy: bool = False) -> list[str]:
    """What became of each file."""
    tmp.mkdir()
    found = list(incoming(scans, tmp=tmp, copy=copy, workers=2, progress=False))
    assert all(one.reference is not None for one in found if isinstance(one, Incoming) and not copy)
    return sorted(f"{one.source} {one.reason if isinstance(one, Refusal) else one.identity.sop_uid}" for one in found)


def test_no_worker_starts_while_they_are_read_quickly(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool, "_QUICK_S", 60.0)
    monkeypatch.setattr(_pool, "_Pool", None)  # asked for one it would fail
    found = told(scans, tmp_path / "quick")
    assert len(found) == _COUNT
    with pytest.raises(TypeError):
        told(scans, tmp_path / "copied", copy=True)


def test_workers_read_the_rest_where_it_takes_long(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool, "_QUICK_S", 60.0)
    found = told(scans, tmp_path / "quick")
    monkeypatch.setattr(_pool, "_QUICK_S", 0.0)
    left = list[Task | Refusal]()
    run = _pool._Pool.run

    def noting(pool: _pool._Pool, tasks: Iterator[Task | Refusal]) -> Iterator[Incoming | Refusal]:
        left.extend(tasks)
        return run(pool, iter(left))

    monkeypatch.setattr(_pool._Pool, "run", noting)
    assert told(scans, tmp_path / "slow") == found
    assert len(left) == _COUNT - _pool._LOOKED_AT
