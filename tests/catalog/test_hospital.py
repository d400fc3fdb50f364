"""The hospital that benchmarks ask is one that the catalog could have made, and can change."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from researchpacs.search import Search
from researchpacs.testing import small_ct

from .conftest import Filled

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
STUDIES = 200


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    home = tmp_path_factory.mktemp("hospital") / "home"
    subprocess.run([sys.executable, str(BENCHMARKS / "_hospital.py"), str(home), str(STUDIES)], check=True, timeout=300)
    made = Filled(home)
    yield made
    made.close()


def ask(hospital: Filled, query: str, **values: Any) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = hospital.catalog.sql(query, **values).fetchall()
    return found


def counts(hospital: Filled) -> list[tuple[Any, ...]]:
    return ask(
        hospital,
        "select (select count(*) from studies), (select count(*) from series), (select count(*) from series_keys), "
        "(select count(*) from geometry), (select count(*) from instances_own), (select count(*) from frames)",
    )


def search(hospital: Filled, level: str, **filters: Any) -> set[str]:
    text = filters.pop("text", None)
    hits = Search(hospital.catalog, level, filters, text=text, as_handle=lambda _, row: row)
    return {row["SeriesInstanceUID" if level == "series" else "StudyInstanceUID"] for row in hits}


def test_it_has_as_many_of_each_as_it_should(hospital: Filled) -> None:
    assert counts(hospital) == [(STUDIES, 5 * STUDIES, 5 * STUDIES, 5 * STUDIES, 5 * STUDIES, 5 * STUDIES)]
    assert ask(
        hospital, "select count(*) from instances i anti join series using (patient_key, SeriesInstanceUID)"
    ) == [(0,)]
    assert ask(hospital, "select count(*) from series s anti join search_texts using (text_key)") == [(0,)]
    assert hospital.archive.last_change()[1] == 5 * STUDIES


def test_its_ledger_finds_what_its_catalog_has(hospital: Filled) -> None:
    rows = ask(
        hospital,
        "select patient_key, StudyInstanceUID, SeriesInstanceUID, list(instance_key order by InstanceNumber) "
        "from instances group by all limit 3",
    )
    assert rows
    for *owner, keys in rows:
        assert hospital.archive.look_up("series", owner[2]) == [tuple(owner)]
        assert [key for key, _ in hospital.archive.instances_of(tuple(owner))] == keys
        assert len(hospital.archive.rows(keys)) == len(keys) == 100


def test_words_and_names_are_found_as_by_looking_at_each_row(hospital: Filled) -> None:
    everything = "lower(concat_ws(' ', StudyDescription, SeriesDescription, ProtocolName, BodyPartExamined))"
    for words in ("lung Contrast", "FLAIR knee", "1.5 routine"):
        a, b = words.lower().split()
        expected = ask(
            hospital,
            f"select SeriesInstanceUID from series where contains({everything}, $a) and contains({everything}, $b)",
            a=a,
            b=b,
        )
        assert search(hospital, "series", text=words) == {uid for (uid,) in expected}
    ((name,),) = ask(hospital, "select PatientName from patients order by 1 limit 1")
    for pattern in (f"{name[:2].lower()}*", f"*{name[2:4]}*", name.lower()):
        like = pattern.replace("*", "%")
        expected = ask(
            hospital, "select StudyInstanceUID from studies join patients using (patient_key) "
            "where PatientName ilike $like", like=like,
        )  # fmt: skip
        assert search(hospital, "study", PatientName=pattern) == {uid for (uid,) in expected}
        assert expected


def test_a_study_comes_to_it_and_goes_and_another_of_its_own_goes_too(hospital: Filled) -> None:
    ((patient,),) = ask(hospital, "select PatientID from patients order by all limit 1")
    hospital.take([small_ct(number, PatientID=patient, StudyInstanceUID="1.2.3.4") for number in range(3)])
    assert counts(hospital)[0][:2] == (STUDIES + 1, 5 * STUDIES + 1)
    assert ask(
        hospital, "select max(p.study_count), count(*) from patients p join studies using (patient_key) "
        "where p.PatientID = $patient", patient=patient,
    )[0] >= (2, 2)  # fmt: skip

    hospital.archive.delete("study", "1.2.3.4")
    ((sampled,),) = ask(hospital, "select StudyInstanceUID from instances_own order by 1 limit 1")
    hospital.archive.delete("study", sampled)

    assert counts(hospital) == [(STUDIES - 1, *[5 * STUDIES - 5] * 3, 5 * STUDIES - 500, 5 * STUDIES - 500)]
    for table in ("series", "series_keys", "geometry", "series_common", "instances_own", "frames", "studies"):
        left = ask(hospital, f"select count(*) from {table} where StudyInstanceUID in ('1.2.3.4', $uid)", uid=sampled)
        assert left == [(0,)], table
    assert ask(hospital, "select count(*) from search_texts anti join series using (text_key)") == [(0,)]
