"""Functions over cohorts: in threads, on a cluster, after a kill, and what SQL then has."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from pydicom import Dataset

import researchpacs as rp
from researchpacs.cohort import Cohort
from researchpacs.errors import InvalidInputError, ResearchPacsError
from researchpacs.testing import small_ct

COUNT = 5


def _slice(number: int, at: int) -> Dataset:
    """Every value is 10 * number."""
    return small_ct(
        at, size=8, PixelData=np.full((8, 8), 10 * number, "<i2").tobytes(), PatientID=f"P{number}",
        StudyInstanceUID=f"1.2.3.{number}", SeriesInstanceUID=f"1.2.3.{number}.1",
        SOPInstanceUID=f"1.2.3.{number}.1.{at}", FrameOfReferenceUID=f"1.2.3.{number}.9",
        RescaleIntercept="0", RescaleSlope="1",
    )  # fmt: skip


def _filled(home: Path) -> rp.Pacs:
    made = rp.connect(home)
    made.ingest([_slice(number, at) for number in range(1, COUNT + 1) for at in (1, 2, 3)])
    return made


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rp.Pacs]:
    with _filled(tmp_path_factory.mktemp("map") / "home") as made:
        yield made


@pytest.fixture(scope="module")
def cohort(pacs: rp.Pacs) -> Cohort:
    return pacs.freeze([f"1.2.3.{number}.1" for number in range(1, COUNT + 1)], name="all")


def _counting(folder: Path, *, scale: float = 1.0) -> Any:
    """A function that leaves a file for each call, also from another process."""

    def mean(vol: Any) -> dict[str, Any]:
        (folder / f"{vol.dicom.series}-{os.getpid()}-{time.monotonic_ns()}").touch()
        return {"mean": float(vol.mean()) * scale, "voxels": vol.size, "kind": "ct"}

    return mean


def _calls(folder: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in folder.iterdir())


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


def test_each_series_is_a_row_with_what_the_function_returned(cohort, calls):
    found = cohort.map(_counting(calls))
    assert found["mean"].tolist() == [10.0 * number for number in range(1, COUNT + 1)]
    assert found["SeriesInstanceUID"].tolist() == [series.uid for series in cohort]
    assert found["voxels"].tolist() == [192] * COUNT
    assert found["error"].isna().all()
    assert found["function"].str.endswith("_counting.<locals>.mean").all()
    assert _calls(calls) == found["SeriesInstanceUID"].tolist()


def test_features_of_a_cohort_join_with_series_in_sql(pacs, cohort):
    cohort.map(rp.features.first_order, save="firstorder")
    rows = pacs.sql(
        "select PatientID, mean, standard_deviation from features_firstorder join series using (SeriesInstanceUID) "
        "where mean > $least order by mean",
        least=25.0,
    ).fetchall()
    assert rows == [("P3", 30.0, 0.0), ("P4", 40.0, 0.0), ("P5", 50.0, 0.0)]
    schema = pacs.schema()
    assert "features_firstorder" in schema.tables
    columns = schema.df().query("table == 'features_firstorder'")["column"].tolist()
    assert columns[:3] == ["patient_key", "StudyInstanceUID", "SeriesInstanceUID"]
    assert {"mean", "error", "function", "code", "versions", "computed_at"} <= set(columns)


def test_another_process_sees_the_table_and_what_replaces_it(pacs, cohort, calls):
    with rp.connect(pacs.home) as other:
        with pytest.raises(InvalidInputError):
            other.sql("select * from features_mine")
        cohort.map(_counting(calls), save="mine")
        assert other.sql("select sum(mean) from features_mine").fetchall() == [(150.0,)]
        cohort.map(_counting(calls, scale=2.0), save="mine")
        assert other.sql("select sum(mean) from features_mine").fetchall() == [(300.0,)]
    code = (
        "import sys, researchpacs as rp; print(rp.connect(sys.argv[1]).sql('select max(mean) from features_mine')"
        ".fetchall())"
    )
    done = subprocess.run([sys.executable, "-c", code, pacs.home], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[(100.0,)]"


def test_a_damaged_table_is_told_and_breaks_no_other(pacs, cohort):
    cohort.map(rp.features.first_order, save="whole")
    damaged = pacs.home / "features" / "damaged.parquet"
    damaged.write_bytes(b"PAR1 no more")
    try:
        assert pacs.sql("select count(*) from features_whole").fetchall() == [(COUNT,)]
        for ask in (lambda: pacs.sql("from features_damaged"), pacs.schema, pacs.catalog.connect):
            with pytest.raises(ResearchPacsError, match=r"damaged\.parquet is damaged"):
                ask()
    finally:
        damaged.unlink()
    pacs.sql("create temp table features_own as select 1 as one")
    cohort.map(rp.features.first_order, save="own")
    assert pacs.sql("from features_own").fetchall() == [(1,)]


def test_a_second_run_computes_only_what_is_missing(pacs, cohort, calls):
    some = cohort.part("some", cohort.members[:2])
    some.map(_counting(calls), save="mean")
    whole = cohort.map(_counting(calls), save="mean")
    assert _calls(calls) == [series.uid for series in cohort]
    pd.testing.assert_frame_equal(whole, cohort.map(_counting(calls), save="mean"))
    assert len(_calls(calls)) == COUNT
    some.map(_counting(calls), save="mean")
    assert pacs.sql("select count(*) from features_mean").fetchall() == [(COUNT,)]


def test_other_code_is_computed_anew(cohort, calls):
    def doubled(vol: Any) -> dict[str, float]:
        (calls / f"{vol.dicom.series}-{time.monotonic_ns()}").touch()
        return {"mean": 2 * float(vol.mean())}

    assert cohort.map(_counting(calls), save="mean")["mean"][0] == 10
    assert cohort.map(_counting(calls, scale=3.0), save="mean")["mean"][0] == 30  # only what it closes over differs
    assert cohort.map(doubled, save="mean")["mean"][0] == 20
    assert len(_calls(calls)) == 3 * COUNT


def test_a_failure_is_a_row_and_is_tried_again(cohort, calls):
    def moody(vol: Any) -> dict[str, float]:
        if vol.dicom.series == "1.2.3.2.1" and not list(calls.iterdir()):
            (calls / "failed").touch()
            raise RuntimeError("not today")
        return {"mean": float(vol.mean())}

    found = cohort.map(moody, save="moody", workers=1)
    assert found["error"].dropna().to_dict() == {1: "RuntimeError: not today"}
    assert np.isnan(found["mean"][1])
    assert cohort.map(moody, save="moody")["mean"].tolist() == [10, 20, 30, 40, 50]


def test_a_series_that_changed_or_left_since_it_was_frozen_is_told(tmp_path, calls):
    with _filled(tmp_path / "home") as pacs:
        cohort = pacs.freeze(pacs.search("series", order="SeriesInstanceUID"), name="all")
        cohort.map(_counting(calls), save="mean")
        pacs.delete(pacs.series("1.2.3.1.1"))
        pacs.ingest([_slice(2, 5), _slice(3, 4)])
        assert pacs.sql("select count(*) from features_mean").fetchall() == [(COUNT - 1,)]
        found = cohort.map(_counting(calls), save="mean")
        assert found["error"][0].startswith("NotFoundError")
        assert "freeze it anew" in found["error"][1]
        assert found["error"][3:].isna().all()
        # One slice is missing, so there is no volume.
        again = pacs.freeze(["1.2.3.2.1", "1.2.3.3.1"], name="again").map(_counting(calls), save="mean")
        assert again["error"][0].startswith("GeometryError")
        assert again["voxels"][1] == 256


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ([1], "list"),
        ({"a": [1]}, "list as 'a'"),
        ({1: 2}, "name 1"),
        ({"Error": 1}, "taken"),
        ({"a": "\ud800"}, "surrogate"),
        ({"a": 1, "A": 2}, "'A'"),
    ],
)
def test_what_is_no_row_is_told(cohort, returned, says):
    found = cohort.part("one", cohort.members[:1]).map(lambda _: returned)
    assert says in found["error"][0]


def test_values_of_several_kinds_keep_their_types_in_sql(pacs, cohort):
    def mixed(vol: Any) -> dict[str, Any]:
        first = vol.dicom.series == "1.2.3.1.1"
        return {
            "whole": np.int16(3), "yes": np.bool_(True), "half": 1 if first else 0.5, "text": 1 if first else "\u00e9'",
            "huge": 2**70, **({"sole": 1.5} if first else {}), "none": None,
        }  # fmt: skip

    cohort.part("two", cohort.members[:2]).map(mixed, save="mixed")
    rows = pacs.sql("select whole, yes, half, text, huge, sole, none from features_mixed order by half").fetchall()
    huge = str(2**70)
    assert rows == [(3, True, 0.5, "\u00e9'", huge, None, None), (3, True, 1.0, "1", huge, 1.5, None)]


def test_no_more_volumes_are_under_way_than_workers(cohort, calls):
    def slow(vol: Any) -> dict[str, int]:
        mine = calls / vol.dicom.series
        mine.touch()
        time.sleep(0.1)
        under_way = len(list(calls.iterdir()))
        mine.unlink()
        return {"under_way": under_way}

    assert cohort.map(slow, workers=1)["under_way"].max() == 1
    assert cohort.map(slow, workers=2)["under_way"].max() == 2


def test_a_function_that_cannot_be_told_from_others_is_refused(cohort):
    lock = threading.Lock()
    with pytest.raises(InvalidInputError, match="lock"):
        cohort.map(lambda vol: {"locked": lock.locked()})


@pytest.mark.parametrize("options", [{"save": "A b"}, {"save": ""}, {"save": "../x"}, {"workers": 0}, {"client": 3}])
def test_wrong_options_are_refused(cohort, calls, options):
    with pytest.raises(InvalidInputError):
        cohort.map(_counting(calls), **options)
    assert not _calls(calls)


def test_two_workers_of_a_cluster_compute_what_threads_do(cohort, calls):
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        found = cohort.map(_counting(calls), client=client, save="cluster")
    processes = {path.name.split("-")[1] for path in calls.iterdir()}
    assert len(processes) == 2
    assert str(os.getpid()) not in processes
    expected = cohort.map(_counting(calls))
    pd.testing.assert_frame_equal(found.drop(columns="computed_at"), expected.drop(columns="computed_at"))


def test_after_a_kill_only_the_rest_is_computed(pacs, cohort, calls):
    script = """
import os, sys, time
from pathlib import Path
import researchpacs as rp
home, calls = sys.argv[1], Path(sys.argv[2])
def mean(vol):
    if len(list(calls.iterdir())) == int(os.environ["STOP"]):
        print("stopped", flush=True)
        time.sleep(60)
    (calls / f"{vol.dicom.series}-{os.getpid()}").touch()
    return {"mean": float(vol.mean())}
found = rp.connect(home).cohort("all").map(mean, save="killed", workers=1)
print(found["mean"].tolist(), flush=True)
"""
    arguments = [sys.executable, "-c", script, str(pacs.home), str(calls)]
    killed = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env={**os.environ, "STOP": "3"})
    assert killed.stdout is not None
    assert killed.stdout.readline() == "stopped\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    assert len(_calls(calls)) == 3
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env={**os.environ, "STOP": "-1"})
    assert done.stdout == "[10.0, 20.0, 30.0, 40.0, 50.0]\n"
    assert _calls(calls) == [series.uid for series in cohort]
    assert pacs.sql("select sum(mean) from features_killed").fetchall() == [(150.0,)]
