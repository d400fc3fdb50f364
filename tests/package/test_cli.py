"""The command `researchpacs`, run as a person runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from researchpacs.testing import small_ct

CT = "CT_small.dcm"


def run(*arguments: object, home: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "researchpacs", "--home", str(home), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def filled(home: Path) -> Path:
    done = run(
        "ingest", get_testdata_file(CT, download=False), get_testdata_file("MR_small.dcm", download=False), home=home
    )
    assert done.returncode == 0, done.stderr
    return home


def test_ingest_says_what_was_stored(home: Path):
    done = run("ingest", "--json", get_testdata_file(CT, download=False), home=home)
    answer = json.loads(done.stdout)
    assert answer["counts"] == {"stored": 1, "duplicates": 0, "conflicts": 0, "refused": 0}
    assert answer["inputs"][0]["outcome"] == "stored"


def test_search_answers_in_json(filled: Path):
    rows = json.loads(run("search", "series", "Modality=CT", "--json", home=filled).stdout)
    assert [row["Modality"] for row in rows] == ["CT"]


def test_search_takes_ranges_and_repeats(filled: Path):
    both = json.loads(run("search", "series", "Modality=CT", "Modality=MR", "--json", home=filled).stdout)
    assert {row["Modality"] for row in both} == {"CT", "MR"}
    none = json.loads(run("search", "study", "StudyDate=2030..", "--json", home=filled).stdout)
    assert none == []


def test_sql_binds_parameters(filled: Path):
    query = "select count(*) as n from series where Modality = $modality"
    rows = json.loads(run("sql", query, "--param", "modality=MR", "--json", home=filled).stdout)
    assert rows == [{"n": 1}]


def test_verify_exits_with_1_when_a_file_is_missing(filled: Path):
    assert run("verify", home=filled).returncode == 0
    next(filled.glob("archive/*/*.dcm")).unlink()
    done = run("verify", "--json", home=filled)
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["problems"]) == 1


def test_sync_rebuild_answers_the_same(filled: Path):
    query = "select SOPInstanceUID, tags from instances order by all"
    before = run("sql", query, "--json", home=filled).stdout
    assert run("sync", "--rebuild", home=filled).returncode == 0
    assert run("sql", query, "--json", home=filled).stdout == before


def test_a_failed_request_is_one_line_and_status_1(filled: Path):
    done = run("search", "series", "Modalty=CT", home=filled)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Modality" in done.stderr


def test_wrong_use_is_status_2(home: Path):
    assert run("search", "sheep", home=home).returncode == 2
    assert run("sql", "select 1", "--param", "nonsense", home=home).returncode == 2


def test_a_file_that_is_not_dicom_is_named_with_its_reason(home: Path, tmp_path: Path):
    (tmp_path / "letter.txt").write_text("not a picture")
    done = run("ingest", tmp_path / "letter.txt", home=home)
    assert done.returncode == 1
    assert "not DICOM" in done.stderr


def test_every_type_of_sql_becomes_json(filled: Path):
    query = (
        r"select '\xff\x00'::blob a, 'nan'::double b, interval 1 day c, [1, 2] d, {'e': 1} e, uuid() f, time '12:00' g"
    )
    done = run("sql", query, "--json", home=filled)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["a"] == "ff00"


def test_a_folder_that_cannot_be_made_is_one_line(filled: Path):
    done = run("demo", "--output", "/proc/nowhere", home=filled)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_doctor_finds_all_well_and_says_what_is_lost(filled: Path):
    well = run("doctor", "--json", home=filled)
    assert well.returncode == 0, well.stdout
    assert {one["check"] for one in json.loads(well.stdout)["findings"]} == {"disk", "ledger", "catalog", "extras"}
    for path in filled.glob("catalog.sqlite*"):
        path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    mended = run("doctor", home=filled)
    assert mended.returncode == 0
    assert "it was lost or damaged, and was made anew just now" in mended.stdout
    assert "anew" not in run("doctor", home=filled).stdout


def test_doctor_says_that_files_of_the_catalog_are_lost(home: Path, tmp_path: Path):
    for number in range(60):
        small_ct(number).save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    assert run("ingest", *tmp_path.glob("*.dcm"), home=home).returncode == 0
    assert run("sync", home=home).returncode == 0
    (lost, *_) = home.rglob("*.parquet")
    lost.unlink()
    ill = run("doctor", home=home)
    assert ill.returncode == 1
    assert "sync --rebuild" in ill.stdout
    assert run("sync", "--rebuild", home=home).returncode == 0
    assert run("doctor", home=home).returncode == 0
