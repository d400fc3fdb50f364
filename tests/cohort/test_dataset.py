"""Parts of cohorts as map-style datasets: what a data loader does with them, in processes of its own."""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import researchpacs as rp
from researchpacs.cohort import Cohort
from researchpacs.testing import small_ct

COUNT = 5

# What a loader of torch does: each worker gets the pickled dataset once, then lists of indices.
LOADER = """
import multiprocessing, os, pickle, sys
from concurrent.futures import ProcessPoolExecutor
import researchpacs as rp

class Volumes:
    def __init__(self, part):
        self.part = part
    def __len__(self):
        return len(self.part)
    def __getitem__(self, at):
        return rp.read_volume(self.part[at]).to_numpy()

def begin(pickled):
    global dataset
    dataset = pickle.loads(pickled)

def batch(indices):
    return os.getpid(), [float(dataset[at].mean()) for at in indices]

def forked(part, answers):
    try:
        answers.put(part[0].uid)
    except Exception as error:
        answers.put(f"{type(error).__name__}: {error}")

if __name__ == "__main__":
    train = rp.connect(sys.argv[1]).cohort("all")
    if sys.argv[2] == "fork":
        context = multiprocessing.get_context("fork")
        answers = context.SimpleQueue()
        child = context.Process(target=forked, args=(train, answers))
        child.start()
        print(answers.get())
        child.join()
    else:
        dataset = pickle.dumps(Volumes(train))
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(2, mp_context=context, initializer=begin, initargs=(dataset,)) as pool:
            found = list(pool.map(batch, [[4, 0], [3, 1], [2]]))
        assert os.getpid() not in {pid for pid, _ in found}
        print([means for _, means in found])
"""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cohort]:
    """The values of series n are n."""
    with rp.connect(tmp_path_factory.mktemp("dataset") / "home") as pacs:
        pacs.ingest(
            small_ct(at, size=8, PixelData=np.full((8, 8), number, "<i2").tobytes(), PatientID=f"P{number}",
                     StudyInstanceUID=f"1.2.3.{number}", SeriesInstanceUID=f"1.2.3.{number}.1",
                     SOPInstanceUID=f"1.2.3.{number}.1.{at}", RescaleIntercept="0", RescaleSlope="1")
            for number in range(COUNT) for at in (1, 2)
        )  # fmt: skip
        yield pacs.freeze([f"1.2.3.{number}.1" for number in range(COUNT)], name="all")


def _run(cohort: Cohort, tmp_path: Path, how: str) -> str:
    script = tmp_path / "loader.py"
    script.write_text(LOADER)
    home = str(cohort[0]._pacs.home)
    done = subprocess.run([sys.executable, script, home, how], capture_output=True, text=True, timeout=300, check=True)
    return done.stdout.strip()


def test_a_part_is_a_sequence_as_loaders_want_one(cohort):
    train, _ = cohort.split({"train": 0.6, "test": 0.4}, seed=1)
    assert len(train) == len(list(train)) == 3
    assert [train[at].uid for at in range(len(train))] == [one.uid for one in train] == [one.uid for one in train[:]]
    assert train[-1].uid == train[2].uid
    with pytest.raises(IndexError):
        train[3]
    assert sorted(train, key=lambda one: one.uid)[0] in train


def test_a_pickled_part_is_the_same_and_small(cohort):
    pickled = pickle.dumps(cohort)
    again = pickle.loads(pickled)
    assert [one.uid for one in again] == [one.uid for one in cohort]
    assert (again.digest, again.name) == (cohort.digest, cohort.name)
    assert len(pickled) < 500 * COUNT


def test_two_workers_read_the_volumes_of_their_indices(cohort, tmp_path):
    assert _run(cohort, tmp_path, "spawn") == "[[4.0, 0.0], [3.0, 1.0], [2.0]]"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_forked_worker_is_told_what_to_do(cohort, tmp_path):
    assert "multiprocessing_context='spawn'" in _run(cohort, tmp_path, "fork")
