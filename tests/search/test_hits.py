"""What a search gives: a lazy sequence, tables without names, a picture without a person."""

import pytest

from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.search import Search

from .conftest import HOSTILE


def test_nothing_is_asked_before_it_is_needed():
    class Silent:
        def sql(self, *args: object, **params: object) -> None:
            raise AssertionError("asked")

    Search(Silent(), "study", {"Modality": "CT"}, as_handle=lambda _, row: row)  # type: ignore[arg-type]


def test_it_is_a_sequence(search):
    hits = search("series", order="SeriesNumber")

    assert hits[0]["SeriesNumber"] == 0
    assert hits[-1]["SeriesNumber"] == 4
    assert [row["SeriesNumber"] for row in hits[1:3]] == [1, 2]
    assert hits.first()["SeriesNumber"] == 0
    assert len(list(hits)) == len(hits) == 5
    assert bool(hits)
    with pytest.raises(IndexError):
        hits[5]


@pytest.mark.parametrize("page", [1, 2, 4, 5, 6, 1000])
@pytest.mark.parametrize("limit", [None, 0, 3, 4, 100])
def test_pages_make_one_sequence(search, page, limit):
    expected = [0, 1, 2, 3, 4][:limit]
    hits = search("series", order="SeriesNumber", page=page, limit=limit)

    assert [row["SeriesNumber"] for row in hits] == expected
    assert [hits[at]["SeriesNumber"] for at in range(len(hits))] == expected
    assert [row["SeriesNumber"] for row in hits[1:]] == expected[1:]
    assert [row["SeriesNumber"] for row in hits[::-2]] == expected[::-2]
    assert [hits[-at - 1]["SeriesNumber"] for at in range(len(hits))] == expected[::-1]
    for beyond in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError):
            hits[beyond]


def test_a_few_of_many_are_fetched_alone(catalog):
    class Counting:
        has_labels = True
        rows = 0

        def sql(self, query: str, /, **params: object) -> object:
            result = catalog.sql(query, **params)
            self.rows += len(result.fetchall())
            return result

    counted = Counting()
    hits = Search(counted, "instance", {}, page=2, as_handle=lambda _, row: row)  # type: ignore[arg-type]
    hits[0]
    assert counted.rows == 2


def test_one_is_exactly_one(search):
    assert search("series", Modality="MR").one()["SeriesNumber"] == 3
    with pytest.raises(NotFoundError):
        search("series", Modality="US").one()
    with pytest.raises(InvalidInputError, match="more than one"):
        search("series", Modality="CT").one()
    assert search("series", Modality="US").first() is None
    assert not search("series", Modality="US")


@pytest.mark.parametrize("level", ["patient", "study", "series", "instance"])
def test_tables_leave_out_names_and_birth_dates(search, level):
    frame = search(level).df()

    assert len(frame) == len(search(level))
    assert "PatientID" in frame
    assert not [name for name in frame if ("Name" in name and name.startswith("Patient")) or "Birth" in name]
    assert "Adams" not in frame.to_csv()
    assert "1970" not in frame.to_csv()


def test_columns_bring_what_is_asked_for(search):
    frame = search("series", Modality="MR").df(
        columns=["SeriesInstanceUID", "PatientName", "PatientBirthDate", "StudyTime", "Allergies"]
    )

    assert list(frame) == ["SeriesInstanceUID", "PatientName", "PatientBirthDate", "StudyTime", "Allergies"]
    assert frame.PatientName.tolist() == ["Óscar^Ñ"]
    assert frame.Allergies.tolist() == ['["nuts","latex"]']
    with pytest.raises(InvalidInputError, match="did you mean"):
        search("series").df(columns=["PatientNam"])


def test_arrow_has_the_same_rows(search):
    assert search("series").arrow().num_rows == 5


@pytest.mark.parametrize(
    "words",
    [
        {"Modality": ["CT", "PT"], "StudyDate": ("2021", "2023"), "SliceThickness": (None, 2.0)},
        {"SeriesDescription": HOSTILE},
        {"PatientName": "o'*"},
        {"ImageComments": "*of 1", "text": "body"},
        {"StudyTime": "2359"},
    ],
)
def test_the_sql_runs_elsewhere_and_finds_the_same(search, catalog, words):
    hits = search("series", **words)
    con = catalog.connect()

    found = con.execute(hits.sql).fetchall()

    assert len(found) == len(hits)
    con.close()


@pytest.mark.parametrize("level", ["patient", "study", "series", "instance"])
def test_no_repr_shows_a_person(search, level):
    for words in ({}, {"PatientName": "Adams^Ann"}, {"PatientID": "A1"}, {"PatientName": ["Adams*", "x"]}):
        hits = search(level, **words)
        for shown in (repr(hits), hits._repr_html_()):
            for secret in ("Adams", "adams", "'A1'", ">A1<", "1970-01-01", "Óscar"):
                assert secret not in shown


def test_a_repr_counts_escapes_and_shortens(search):
    hits = search("series")
    html = hits._repr_html_()

    assert "5 series" in repr(hits)
    assert "<b>x</b>" not in html
    assert "&lt;b&gt;" in html
    assert "order by" in html
    assert search("series", Modality="US")._repr_html_().startswith("<table>")


def test_a_repr_shows_at_most_ten_rows(search):
    hits = search("instance")

    assert "15 instances, the first 10" in repr(hits)
    assert repr(hits).count("\n") == 11
    assert hits._repr_html_().count("<tr>") == 11


def test_a_long_uid_is_shortened_with_the_whole_one_on_hover():
    from researchpacs.catalog import as_html

    uid = "1.2.826.0.1.3680043.8.498.12345678901234567890"
    html = as_html(["SeriesInstanceUID"], [[uid]], "one")

    assert f"title='{uid}'" in html
    assert f">{uid}<" not in html
    assert "<code" in html
