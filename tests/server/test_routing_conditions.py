"""Conditions of rules are expressions over one row, and reach nothing else."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import researchpacs as rp
from researchpacs.catalog import _fence, check_condition, decide, series_rows
from researchpacs.errors import InvalidInputError
from researchpacs.testing import small_ct

HOSTILE = {
    "a file": "exists (select * from read_csv('/etc/passwd'))",
    "a file by name": "exists (from '/etc/passwd')",
    "text of a file": "read_text('/etc/passwd') is null",
    "files of a folder": "exists (from glob('/*'))",
    "another statement": "1; drop table series_index",
    "a statement within": "true) as chosen from series_index; select (true",
    "attach": "true) as chosen from series_index; attach '/tmp/x.db' as y; select (true",
    "copy": "true; copy series_index to '/tmp/x'",
    "only copy": "copy series_index to '/tmp/x'",
    "pragma": "pragma database_list",
    "install": "install httpfs",
    "set": "set enable_external_access = true",
    "the environment": "getenv('HOME') = 'x'",
    "a setting": "current_setting('home_directory') = ''",
    "a variable": "getvariable('x') is null",
    "a query in a text": "exists (from query('select 1'))",
    "a subquery": "(select count(*) from series_index) > 0",
    "endless recursion": "(with recursive t as (select 1 a union all select a + 1 from t) select max(a) from t) > 1",
    "another table": "exists (from duckdb_settings())",
    "a union": "series_key = 'x' union select 'y', true",
    "a condition around": "true) as chosen from series_index where (true",
    "two expressions": "true) as a, (true",
    "a star": "columns(*) is null",
    "a window": "row_number() over () = 1",
    "an aggregate": "count(*) > 1",
    "a parameter": "$1 = 1",
    "a sequence": "nextval('x') > 0",
    "the log": "write_log('x') is null",
    "sleep": "sleep_ms(100000) is null",
    "much memory": "len(repeat('x', 4000000000)) > 1",
    "a long list": "len(range(4000000000)) > 1",
    "a loop": "len(list_transform(labels, x -> 1)) > 1",
    "a qualified function": "system.main.lower(Modality) = 'x'",
    "nested too deeply": "not " * 900 + "true",
    "too long": "true and " * 600 + "true",
    "nothing": "",
    "a comment": "-- true",
    "a zero byte": "\0",
    "no text": "\ud800",
    "a column that is not there": "Modalty = 'CT'",
    "no truth": "Modality",
}
HOLDS = {
    "Modality = 'CT' and instance_count > 2": "CT",
    "not (Modality <> 'CT' or SliceThickness not between 1 and 3)": "CT",
    "tag_num(tags, 'KVP') >= 120 and tag(tags, 'Manufacturer') ilike 'RESEARCH%'": "CT PT",
    "SeriesDescription similar to '[a-z ]*' -- a comment": "CT",
    "'CT' in ModalitiesInStudy and list_contains(study_labels, 'trial')": "CT",
    "labels = ['qc-ok']": "PT",
    "StudyDate < current_date and extract(year from StudyDate) = 2024": "CT PT",
    "is_volume and spacing_z_mm = 2 and kind = 'uniform'": "CT",
    "PatientID = 'B' or PatientName like '%Nobody%'": "PT",
    "case when Modality in ('PT', 'NM') then true else false end": "PT",
    "coalesce(AccessionNumber, '') = '7'": "CT PT",
    "cast(null as boolean)": "",
}


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rp.Pacs]:
    with rp.connect(tmp_path_factory.mktemp("conditions") / "home") as pacs:
        other = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "PatientID": "B", "Modality": "PT"}
        pacs.ingest([small_ct(number) for number in range(3)])
        pacs.ingest(small_ct(9, SeriesDescription="12.5", **other))
        pacs.label(pacs.series("1.2.3.4"), "qc-ok")
        pacs.label(pacs.study(small_ct().StudyInstanceUID), "trial")
        yield pacs


@pytest.fixture(scope="module")
def rows(pacs: rp.Pacs) -> pa.Table:
    return series_rows(pacs.catalog, ["1.2.3.4", small_ct().SeriesInstanceUID])


@pytest.mark.parametrize("condition", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_condition_is_refused_before_it_runs(rows: pa.Table, condition: str) -> None:
    began = time.monotonic()
    with pytest.raises(InvalidInputError):
        check_condition(condition, rows)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "what",
    ["a file", "a file by name", "text of a file", "files of a folder", "attach", "copy", "pragma", "install", "set",
     "the environment", "a query in a text", "endless recursion", "the log", "sleep"],
)  # fmt: skip
def test_the_fence_holds_where_a_condition_was_not_checked(
    rows: pa.Table, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("researchpacs.catalog._fence._SECONDS", 0.2)
    began = time.monotonic()
    decide(HOSTILE[what], rows)
    assert time.monotonic() - began < 10
    assert not list(tmp_path.iterdir())
    assert not Path("/tmp/x.db").exists()


@pytest.mark.parametrize(("condition", "modalities"), HOLDS.items())
def test_a_condition_chooses_series_by_all_that_is_known_of_them(
    rows: pa.Table, condition: str, modalities: str
) -> None:
    check_condition(condition, rows)
    verdict = decide(condition, rows)
    by_owner = dict(zip(rows["series_key"].to_pylist(), rows["Modality"].to_pylist(), strict=True))
    assert sorted(by_owner[owner] for owner in verdict.chosen) == modalities.split()
    assert not verdict.undecided


def test_a_row_for_which_it_cannot_be_computed_does_not_spoil_the_others(rows: pa.Table) -> None:
    condition = "cast(SeriesDescription as double) > 1"
    check_condition(condition, rows)
    verdict = decide(condition, rows)
    assert {owner.rpartition("/")[2] for owner in verdict.chosen} == {"1.2.3.4"}
    assert {owner.rpartition("/")[2] for owner in verdict.undecided} == {small_ct().SeriesInstanceUID}


def test_rows_for_which_there_is_no_time_are_undecided_and_not_left_out(
    rows: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("researchpacs.catalog._fence._ALONE_S", 0)
    verdict = decide("cast(SeriesDescription as double) > 1", rows)
    assert verdict.undecided == set(rows["series_key"].to_pylist())
    assert not verdict.chosen
    assert len(decide("Modality = 'CT'", rows).chosen) == 1, "what can be asked of all together needs no more time"


def test_rows_that_are_too_much_together_are_decided_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_fence._FENCE, "memory_limit", "40MB")
    sizes = {"a": 8, "b": 8, "c": 60, "d": 8, "e": 8, "f": 8}
    texts = [random.Random(name).randbytes(size << 19).hex() for name, size in sizes.items()]
    rows = pa.table({"series_key": list(sizes), "Modality": ["CT"] * len(sizes), "tags": texts})
    verdict = decide("Modality = 'CT' and len(tags) > 0", rows)
    assert (verdict.chosen, verdict.undecided) == ({"a", "b", "d", "e", "f"}, {"c"})


def test_the_page_on_routing_lists_what_a_condition_may_call() -> None:
    page = (Path(__file__).parents[2] / "docs" / "routing.md").read_text(encoding="utf-8")
    listed = page.split("It may call\n\n")[1].split("\n\nand use operators")[0].split()
    written_otherwise = {"coalesce", "list_value", "row"}
    named = {name for name in _fence.FUNCTIONS if name[0].isalpha() and not name.startswith("to_")}
    assert set(listed) == {name for name in named if not name.endswith("_escape")} - written_otherwise
