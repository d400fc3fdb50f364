"""What the words of a search mean."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from researchpacs.errors import InvalidInputError, UnsupportedError
from researchpacs.search import MISSING, Search

from .conftest import HOSTILE, SERIES


def series_of(hits) -> list[int]:
    return sorted(row["SeriesNumber"] for row in hits)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"Modality": "CT"}, [0, 2, 4]),
        ({"Modality": ["CT", "PT"]}, [0, 1, 2, 4]),
        ({"Modality": "ct"}, []),
        ({"Modality": "C?"}, [0, 2, 4]),
        ({"PatientID": "A*"}, [0, 1, 2]),
        ({"PatientID": ["A2", "B*"]}, [2, 3]),
        ({"PatientName": "ADAMS*"}, [0, 1, 2]),
        ({"PatientName": "adams^ann"}, [0, 1]),
        ({"PatientName": "óscar*"}, [3]),
        ({"SliceThickness": (None, 1.0)}, [0, 3]),
        ({"SliceThickness": (1, 2)}, [0, 4]),
        ({"SliceThickness": "5"}, [1, 2]),
        ({"StudyDate": "20210105"}, [0, 1]),
        ({"StudyDate": date(2021, 1, 5)}, [0, 1]),
        ({"StudyDate": "2021-01"}, [0, 1]),
        ({"StudyDate": ("2021", "2023")}, [0, 1, 2, 3]),
        ({"StudyDate": ("2022", None)}, [2, 3]),
        ({"StudyDate": (None, "202206")}, [0, 1, 3]),
        ({"StudyDate": ["2021", "2023"]}, [0, 1, 2]),
        ({"StudyDate": MISSING}, [4]),
        ({"StudyDate": [MISSING, "2023"]}, [2, 4]),
        ({"StudyTime": "2359"}, [2]),
        ({"StudyTime": ("23", None)}, [2]),
        ({"PatientID": MISSING}, [4]),
        ({"PatientSex": MISSING}, [2]),
        ({"KVP": MISSING}, [4]),
        ({"ContrastBolusAgent": (None, None)}, [2]),
        ({"SoftwareVersions": "VB17"}, [3]),
        ({"SoftwareVersions": "VB*"}, [3]),
        ({"SoftwareVersions": ["syngo", "x"]}, [3]),
        ({"SoftwareVersions": "syngo VB17"}, []),
        ({"SeriesDescription": HOSTILE}, [3]),
        ({"SeriesDescription": "100% <b>*"}, [3]),
        ({"SeriesDescription": "100_*"}, []),
        ({"SeriesDescription": "'; drop table series; --"}, []),
        ({"Allergies": "latex"}, [3]),
        ({"Allergies": "nuts*"}, [3]),
        ({"PerformedProcedureStepID": "17"}, [3]),
        ({"PerformedProcedureStepID": MISSING}, [0, 1, 2, 4]),
        ({"ImageComments": "slice 2 of 3"}, [3]),
        ({"ImageComments": "*of 1"}, [1]),
        ({"ExposureTime": (250, None), "Modality": "MR"}, [3]),
        ({"InstanceNumber": 2, "ExposureTime": 200}, [0, 1, 2, 3, 4]),
        ({"InstanceNumber": 2, "ExposureTime": 300}, []),
        ({"SeriesInstanceUID": ["1.2.3.0", "1.2.3.4"]}, [0, 4]),
        ({"SeriesInstanceUID": "1.2.3*"}, [0, 1, 2, 3, 4]),
        ({"instance_count": (3, None)}, [0, 1, 2, 3, 4]),
    ],
    ids=str,
)
def test_filters_on_series(search, filters, expected):
    hits = search("series", **filters)

    assert series_of(hits) == expected
    assert len(hits) == len(expected)
    assert sorted(hits.df().SeriesNumber) == expected


def test_a_study_matches_when_one_of_its_series_meets_all_filters(search):
    assert len(search(Modality="CT", SliceThickness=1)) == 1
    assert len(search(Modality="PT", SliceThickness=5)) == 1
    assert len(search(Modality="CT", SliceThickness=5, PatientID="A1")) == 0


def test_conditions_below_hold_for_one_row_of_a_matching_series(search):
    assert len(search("patient", Modality="PT", ImageComments="slice 1 of 1")) == 1
    assert len(search("patient", Modality="PT", ImageComments="slice 1 of 0")) == 0
    assert len(search(InstanceNumber=3, ExposureTime=300)) == 4
    assert len(search(InstanceNumber=3, ExposureTime=100)) == 0


def test_filters_on_every_level_reach_instances(search):
    hits = search("instance", PatientName="Adams^*", StudyDate="2021", Modality="CT", InstanceNumber=[1, 2])

    assert sorted(row["InstanceNumber"] for row in hits) == [1, 2]
    assert {row["SeriesInstanceUID"] for row in hits} == {"1.2.3.0"}


def test_text_is_found_in_any_case_in_the_descriptions_of_one_series(search):
    assert series_of(search("series", text="CONTRAST chest")) == [0]
    assert series_of(search("series", text="thorax")) == [0, 1]
    assert series_of(search("series", text="chest body")) == []
    assert len(search(text="body thorax")) == 1
    assert series_of(search("series", text="100% o'brien")) == [3]


def test_where_takes_sql_over_the_level(search):
    assert series_of(search("series", where="tag(tags, 'Manufacturer') = 'Acme' or SeriesNumber = 3")) == [0, 3]
    assert series_of(search("series", Modality="CT", where="SeriesNumber = 0 or SeriesNumber = 3")) == [0]
    assert series_of(search("series", where="SeriesNumber = 3 -- a remark")) == [3]


def test_order_and_limit(search):
    assert [row["SeriesNumber"] for row in search("series", order="-SliceThickness", limit=2)] == [1, 2]
    assert [row["SeriesNumber"] for row in search("series", order=["Modality", "-SeriesNumber"])] == [4, 2, 0, 3, 1]
    assert len(search("series", limit=2)) == 2
    assert len(search("series", limit=0)) == 0


def test_uids_come_from_handles_relations_and_frames(search, catalog):
    class Handle:
        uid = "1.2.3.2"

    relation = catalog.connect().sql("select SeriesInstanceUID, 1 as x from series where Modality = 'MR'")
    frame = pd.DataFrame({"SeriesInstanceUID": ["1.2.3.0", "1.2.3.1"]})

    assert series_of(search("series", SeriesInstanceUID=Handle())) == [2]
    assert series_of(search("series", SeriesInstanceUID=[Handle(), "1.2.3.4"])) == [2, 4]
    assert series_of(search("series", SeriesInstanceUID=relation)) == [3]
    assert series_of(search("series", SeriesInstanceUID=frame)) == [0, 1]
    assert series_of(search("series", SeriesInstanceUID=frame.SeriesInstanceUID)) == [0, 1]
    assert series_of(search("series", SeriesInstanceUID=[])) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"Modalty": "CT"}, "did you mean Modality"),
        ({"Modality": None}, "MISSING"),
        ({"StudyDate": "yesterday"}, "StudyDate= does not fit"),
        ({"StudyDate": ("2021", "2022", "2023")}, "tuple of two"),
        ({"SliceThickness": "thin"}, "SliceThickness= does not fit"),
        ({"SliceThickness": float("nan")}, "does not fit"),
        ({"InstanceNumber": True}, "does not fit"),
        ({"order": "Modalty"}, "order="),
        ({"limit": -1}, "limit"),
        ({"ReferencedImageSequence": "x"}, "where="),
    ],
)
def test_what_cannot_be_searched_says_why(search, words, message):
    with pytest.raises(InvalidInputError, match=message):
        search("series", **words)


def test_an_unknown_level_is_refused(search):
    with pytest.raises(InvalidInputError, match="patient, study, series, instance"):
        search("frame")


def test_labels_are_refused_rather_than_ignored_where_an_archive_has_none(catalog, monkeypatch):
    monkeypatch.setattr(type(catalog._archive), "capabilities", frozenset())
    with pytest.raises(UnsupportedError, match="labels"):
        Search(catalog, "study", {}, labels="qc-ok", as_handle=lambda level, row: row)


def test_bad_sql_in_where_is_an_error_of_the_call(search):
    with pytest.raises(InvalidInputError):
        len(search(where="nonsense = 1"))


def test_the_hospital_is_as_described(search):
    assert len(search("series")) == len(SERIES)
    assert len(search("instance")) == 3 * len(SERIES)
    assert len(search("patient")) == 4


@pytest.mark.parametrize(
    "words",
    [
        {"text": 3}, {"text": ["chest"]}, {"where": 3}, {"order": 3}, {"order": [None]}, {"limit": 2.5},
        {"": 1}, {"x" * 100_000: 1}, {"SliceThickness": 10**400}, {"SeriesDescription": "\ud800"}, {"Modality": {}},
    ],
)  # fmt: skip
def test_words_of_the_wrong_kind_are_errors_of_the_call(search, words):
    with pytest.raises(InvalidInputError) as caught:
        len(search("series", **words))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("columns", [[], 3, [1], [None], "Modality"])
def test_columns_of_the_wrong_kind_are_errors_of_the_call(search, columns):
    with pytest.raises(InvalidInputError):
        search("series").df(columns=columns)


def test_numpys_numbers_and_dates_are_values_too(search):
    assert len(search("series", limit=np.int64(2))) == 2
    assert series_of(search("series", StudyDate=np.datetime64("2022-06-15"))) == [3]


def test_a_table_with_the_keyword_among_its_columns_filters(search, catalog):
    wanted = catalog.sql("select Modality, SeriesInstanceUID from series where Modality = 'MR'")
    assert series_of(search("series", SeriesInstanceUID=wanted)) == [3]
