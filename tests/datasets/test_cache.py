"""Data sets are made once, completely, identically, and without a network."""

import hashlib
import multiprocessing
from pathlib import Path

import pydicom
import pytest

from researchpacs import datasets
from researchpacs.errors import InvalidInputError, NotFoundError

FEW = 3
DIGEST_OF_FEW = "d38ec6c31ca910b692ad3ad38e2aaa2f1a83c0c017bba92f6907f7a43af52a7b"
"""Of the bytes of all files in order: holds on every machine, or the data set is not the same everywhere."""


def digest(folder: Path) -> str:
    return hashlib.sha256(b"".join(f.read_bytes() for f in sorted(folder.iterdir()))).hexdigest()


def make_few(cache: Path) -> str:
    return digest(datasets.path("chest_ct", slices=FEW, cache=cache))


def test_bytes_are_the_same_everywhere(tmp_path: Path) -> None:
    assert make_few(tmp_path) == DIGEST_OF_FEW


def test_second_call_takes_what_the_first_one_made(tmp_path: Path) -> None:
    folder = datasets.path("chest_ct", slices=FEW, cache=tmp_path)
    times = [file.stat().st_mtime_ns for file in sorted(folder.iterdir())]
    assert datasets.path("chest_ct", slices=FEW, cache=tmp_path) == folder
    assert [file.stat().st_mtime_ns for file in sorted(folder.iterdir())] == times


def test_damaged_folder_is_made_again(tmp_path: Path) -> None:
    folder = datasets.path("chest_ct", slices=FEW, cache=tmp_path)
    (folder / "0001.dcm").unlink()
    (folder / "0002.dcm").write_bytes(b"")
    assert make_few(tmp_path) == DIGEST_OF_FEW
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]


def test_two_processes_at_once_both_get_all_of_it(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(make_few, [tmp_path, tmp_path], chunksize=1) == [DIGEST_OF_FEW] * 2
    assert len(list((tmp_path / "datasets").iterdir())) == 1


def test_cache_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESEARCHPACS_CACHE", str(tmp_path))
    assert datasets.path("pydicom_samples").is_relative_to(tmp_path)


def test_failed_making_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from researchpacs.datasets import _ct

    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_ct, "save", disk_full)
    with pytest.raises(OSError, match="No space left"):
        datasets.path("chest_ct", slices=FEW, cache=tmp_path)
    assert list((tmp_path / "datasets").iterdir()) == []


def test_samples_are_distinct_readable_instances(tmp_path: Path) -> None:
    folder = datasets.path("pydicom_samples", cache=tmp_path)
    files = sorted(folder.iterdir())
    headers = [pydicom.dcmread(file) for file in files]
    assert [file.name for file in files] == sorted(datasets.truth("pydicom_samples")["files"])
    assert len({ds.SOPInstanceUID for ds in headers}) == len(files)
    assert {"CT", "MR", "US", "SR", "SEG"} <= {ds.Modality for ds in headers if "Modality" in ds}


def test_names_are_sorted_and_all_have_a_truth() -> None:
    chest = ["chest_ct", "chest_ct_prior", "chest_pet", "chest_rtstruct", "chest_seg"]
    beads = ["cine_mr", "enhanced_mr", "gapped_ct", "oblique_mr", "tilted_ct"]
    assert datasets.names() == sorted([*chest, *beads, "pydicom_samples"])
    assert all(datasets.truth(name) for name in datasets.names())


@pytest.mark.parametrize("call", [datasets.path, datasets.truth])
def test_unknown_name_is_told_the_known_ones(call) -> None:
    with pytest.raises(NotFoundError, match="chest_ct_prior"):
        call("chest")


@pytest.mark.parametrize("slices", [0, -1, 2001, 2.5, True, "120"])
def test_impossible_number_of_slices_is_refused(slices: object) -> None:
    with pytest.raises(InvalidInputError, match="from 1 to 2000"):
        datasets.path("chest_ct", slices=slices)  # type: ignore[arg-type]


def test_samples_have_no_slices_to_choose() -> None:
    with pytest.raises(InvalidInputError, match="leave `slices` out"):
        datasets.path("pydicom_samples", slices=3)
