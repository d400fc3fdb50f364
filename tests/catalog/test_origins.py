"""Whose data the series are: kept in the ledger, followed by the catalog, gone with the series."""

import pytest

from researchpacs.archive import Origin, Subject
from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.testing import small_ct

from .conftest import Filled, contents

ASK = "select collection_id, license_short_name, source_doi, source_url from origins"
CC = Origin("nlst", "CC BY 4.0", "10.7937/TCIA.HMQ8-J677", "s3://bucket/one/*")


def subject(filled: Filled) -> Subject:
    ((key, study, series),) = filled.catalog.sql(
        "select patient_key, StudyInstanceUID, SeriesInstanceUID from series"
    ).fetchall()
    return Subject("series", f"{key}/{study}/{series}")


def test_an_origin_is_a_row_beside_the_series_and_survives_a_rebuild(filled: Filled) -> None:
    filled.take([small_ct(1), small_ct(2)])
    assert filled.archive.origins.put({subject(filled): CC}) == 1
    assert filled.catalog.sql(ASK).fetchall() == [("nlst", "CC BY 4.0", "10.7937/TCIA.HMQ8-J677", "s3://bucket/one/*")]
    assert filled.catalog.sql("select instance_count, license_short_name from series_index").fetchall() == [
        (2, "CC BY 4.0")
    ]
    stepwise = contents(filled.catalog)
    filled.catalog.sync(rebuild=True)
    assert contents(filled.catalog) == stepwise


def test_what_is_not_said_again_stays(filled: Filled) -> None:
    filled.take(small_ct(1))
    one = subject(filled)
    filled.archive.origins.put({one: CC})
    assert filled.archive.origins.put({one: Origin(license_short_name="CC0 1.0")}) == 1
    assert filled.archive.origins.put({one: Origin(license_short_name="CC0 1.0")}) == 0
    assert filled.archive.origins.of(one) == Origin("nlst", "CC0 1.0", CC.source_doi, CC.source_url)
    assert filled.catalog.sql(ASK).fetchall()[0][:2] == ("nlst", "CC0 1.0")


def test_an_origin_goes_with_its_series_and_does_not_come_back(filled: Filled) -> None:
    filled.take(small_ct(1))
    one = subject(filled)
    filled.archive.origins.put({one: CC})
    filled.catalog.sync()
    filled.archive.delete("series", small_ct().SeriesInstanceUID)
    assert filled.catalog.sql(ASK).fetchall() == []
    filled.take(small_ct(1))
    assert filled.catalog.sql(ASK).fetchall() == []
    assert filled.archive.origins.of(one) == Origin()


def test_only_series_that_are_there_have_origins(filled: Filled) -> None:
    filled.take(small_ct(1))
    one = subject(filled)
    with pytest.raises(NotFoundError):
        filled.archive.origins.put({one: CC, Subject("series", "a/b/c"): CC})
    with pytest.raises(InvalidInputError):
        filled.archive.origins.put({Subject("study", one.owner.rpartition("/")[0]): CC})
    assert filled.catalog.sql(ASK).fetchall() == []


@pytest.mark.parametrize("text", ["", "two\nlines", "x" * 2001, "\x1b[31m", 3])
def test_an_origin_is_made_of_printable_texts(text: str) -> None:
    with pytest.raises(InvalidInputError, match="license_short_name"):
        Origin(license_short_name=text)
