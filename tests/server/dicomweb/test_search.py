"""QIDO-RS finds what pydicom finds by looking into every file."""

import re
from collections.abc import Callable
from typing import Any

import pydicom
import pytest

from .conftest import Served

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
"""Real files break VRs, and pydicom says so when it reads them."""

Files = dict[str, tuple[bytes, pydicom.Dataset]]


def uids(found: list[dict[str, Any]], tag: str = "0020000D") -> list[str]:
    return [one[tag]["Value"][0] for one in found]


def studies_where(files: Files, holds: Callable[[pydicom.Dataset], bool]) -> list[str]:
    return sorted({str(ds.StudyInstanceUID) for _, ds in files.values() if holds(ds)})


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ({}, lambda ds: True),
        ({"PatientID": "1CT1"}, lambda ds: ds.get("PatientID") == "1CT1"),
        ({"00100020": "1CT1"}, lambda ds: ds.get("PatientID") == "1CT1"),
        ({"PatientID": "1*"}, lambda ds: str(ds.get("PatientID")).startswith("1")),
        ({"PatientID": "?CT?"}, lambda ds: re.fullmatch(".CT.", str(ds.get("PatientID")))),
        ({"PatientName": "compressed*"}, lambda ds: str(ds.get("PatientName")).lower().startswith("compressed")),
        ({"PatientName": "*"}, lambda ds: True),
        ({"PatientID": ""}, lambda ds: True),
        ({"StudyDate": "20040119"}, lambda ds: ds.get("StudyDate") == "20040119"),
        ({"StudyDate": "20040101-20091231"}, lambda ds: "20040101" <= (ds.get("StudyDate") or "") <= "20091231"),
        ({"StudyDate": "-20000101"}, lambda ds: "" < (ds.get("StudyDate") or "").replace(".", "") <= "20000101"),
        ({"StudyDate": "20100101-"}, lambda ds: (ds.get("StudyDate") or "") >= "20100101"),
        ({"StudyTime": "0700-0930"}, lambda ds: "07" <= (ds.get("StudyTime") or "") < "0931"),
        ({"ModalitiesInStudy": "MR"}, lambda ds: ds.get("Modality") == "MR"),
        ({"ModalitiesInStudy": "MR,US"}, lambda ds: ds.get("Modality") in ("MR", "US")),
        (
            {"Modality": "CT", "SeriesNumber": "1"},
            lambda ds: ds.get("Modality") == "CT" and ds.get("SeriesNumber") == 1,
        ),
        ({"AccessionNumber": '""'}, lambda ds: not ds.get("AccessionNumber")),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
def test_studies_are_those_that_match(
    served: Served, files: Files, query: dict[str, str], holds: Callable[[pydicom.Dataset], bool]
) -> None:
    expected = studies_where(files, holds)
    assert expected, "the real data have none, which proves nothing"
    assert uids(served.http.get("/studies", params=query).json()) == expected


def test_a_list_of_uids_finds_each_of_them(served: Served, files: Files) -> None:
    wanted = sorted(files)[:5]
    for separator in (",", "\\"):
        found = served.http.get("/instances", params={"SOPInstanceUID": separator.join(wanted)}).json()
        assert uids(found, "00080018") == wanted


def test_series_and_instances_are_found_at_every_level(served: Served, files: Files) -> None:
    _, ds = files[min(files)]
    study, series = str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID)
    for path, tag, expected in (
        ("/series", "0020000E", {str(one.SeriesInstanceUID) for _, one in files.values()}),
        (f"/studies/{study}/series", "0020000E",
         {str(one.SeriesInstanceUID) for _, one in files.values() if one.StudyInstanceUID == study}),
        ("/instances", "00080018", set(files)),
        (f"/studies/{study}/instances", "00080018",
         {uid for uid, (_, one) in files.items() if one.StudyInstanceUID == study}),
        (f"/studies/{study}/series/{series}/instances", "00080018",
         {uid for uid, (_, one) in files.items() if one.SeriesInstanceUID == series}),
    ):  # fmt: skip
        found = uids(served.http.get(path).json(), tag)
        assert sorted(found) == sorted(expected), path


def test_counts_and_modalities_are_right(served: Served, files: Files) -> None:
    for found in served.client.search_for_studies():
        own = [ds for _, ds in files.values() if ds.StudyInstanceUID == found["0020000D"]["Value"][0]]
        assert found["00201208"]["Value"] == [len(own)]
        assert found["00201206"]["Value"] == [len({ds.SeriesInstanceUID for ds in own})]
        assert found["00080061"].get("Value", []) == sorted({ds.Modality for ds in own if ds.get("Modality")})


def test_pages_put_together_are_the_whole(served: Served) -> None:
    whole = uids(served.http.get("/instances").json(), "00080018")
    pages: list[str] = []
    for offset in range(0, len(whole) + 50, 50):
        pages += uids(served.http.get("/instances", params={"limit": 50, "offset": offset}).json(), "00080018")
    assert pages == whole
    assert uids(served.client.search_for_instances(get_remaining=True, limit=40), "00080018") == whole


def test_fields_are_included_as_the_file_has_them(served: Served, files: Files) -> None:
    with_kvp = {uid: ds for uid, (_, ds) in files.items() if ds.get("KVP")}
    found = served.client.search_for_instances(fields=["KVP", "00180050", "00080070"])
    told = {one["00080018"]["Value"][0]: one for one in found}
    assert with_kvp
    for uid, ds in with_kvp.items():
        assert told[uid]["00180060"]["Value"] == [ds.KVP]
        assert told[uid].get("00180050", {}).get("Value", [None]) == [ds.get("SliceThickness")]
        assert told[uid].get("00080070", {}).get("Value", [""]) == [ds.get("Manufacturer", "")]


def test_all_fields_of_a_study_are_those_of_patient_and_study(served: Served, files: Files) -> None:
    (ct,) = (ds for _, ds in files.values() if ds.get("PatientName") == "CompressedSamples^CT1" and ds.Modality == "CT")
    params = {"includefield": "all", "StudyInstanceUID": str(ct.StudyInstanceUID), "SOPInstanceUID": ct.SOPInstanceUID}
    (study,) = (pydicom.Dataset.from_json(one) for one in served.http.get("/studies", params=params).json())
    assert (study.PatientAge, study.PatientWeight) == ("000Y", 0)
    assert "KVP" not in study
    (instance,) = (pydicom.Dataset.from_json(one) for one in served.http.get("/instances", params=params).json())
    assert instance.KVP == 120


def test_an_attribute_only_the_catalog_knows_filters_too(served: Served, files: Files) -> None:
    expected = sorted({str(ds.SeriesInstanceUID) for _, ds in files.values() if ds.get("KVP") == 120})
    assert expected
    assert uids(served.http.get("/series", params={"KVP": "120"}).json(), "0020000E") == expected


@pytest.mark.parametrize(
    ("words", "fuzzy", "found"),
    [("jerome", False, False), ("Jerome", True, True), ("BUC JEROME", True, True), ("jerone", True, True),
     ("*jérôme", False, True), ("山田", False, False), ("山田*", False, True), ("山田 太郎", True, True)],
)  # fmt: skip
def test_names_are_found_in_any_script_and_fuzzily_when_asked(
    served: Served, words: str, fuzzy: bool, found: bool
) -> None:
    params = {"PatientName": words, "fuzzymatching": str(fuzzy).lower()}
    assert bool(served.http.get("/studies", params=params).json()) is found


def test_nothing_found_is_an_empty_list(served: Served) -> None:
    answer = served.http.get("/studies", params={"PatientID": "nobody at all"})
    assert (answer.status_code, answer.json()) == (200, [])
    assert served.client.search_for_studies(search_filters={"PatientID": "nobody at all"}) == []


@pytest.mark.parametrize(
    "query",
    ["PatientIDD=1", "StudyDate=yesterday", "limit=-1", "offset=x", "fuzzymatching=maybe", "PatientID=1&PatientID=2",
     "ReferencedSeriesSequence=1", "00091001=1", "StudyDate=-", "includefield=Nothing"],
)  # fmt: skip
def test_a_question_that_cannot_be_answered_is_400_and_says_why(served: Served, query: str) -> None:
    answer = served.http.get(f"/studies?{query}")
    assert answer.status_code == 400
    assert answer.json()["Message"]


@pytest.mark.parametrize(
    "value",
    ["'; drop table studies; --", '" or 1=1', "*" * 5_000 + "x", "[a-z]*", "%00", "\x00", "%", "_" * 100, "$.a'"],
)
def test_hostile_values_are_values(served: Served, value: str) -> None:
    for keyword in ("PatientID", "PatientName", "StudyDescription", "StudyInstanceUID", "KVP", "SeriesDescription"):
        answer = served.http.get("/studies", params={keyword: value})
        assert answer.status_code in (200, 400)
        assert answer.status_code == 400 or answer.json() == []
    assert len(served.http.get("/studies").json()) > 10


def test_other_media_types_than_json_are_406(served: Served) -> None:
    assert served.http.get("/studies", headers={"Accept": "text/html"}).status_code == 406
