"""Whose data the series are, from end to end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import researchpacs as rp
from researchpacs.errors import InvalidInputError
from researchpacs.testing import small_ct

OTHER = "1.2.3"
ASK = "select SeriesInstanceUID, license_short_name, source_DOI from origins order by all"


@pytest.fixture
def pacs(home: Path) -> Iterator["rp._pacs.Pacs"]:
    with rp.connect(home) as pacs:
        pacs.ingest([small_ct(1), small_ct(2, SeriesInstanceUID=OTHER)])
        yield pacs


def test_a_search_is_credited_and_what_is_said_later_is_added(pacs: "rp._pacs.Pacs") -> None:
    assert pacs.credit(pacs.search("study"), licence="CC BY 4.0") == 2
    assert pacs.credit(pacs.series(OTHER), doi="10.7937/x", licence="CC BY 4.0") == 1
    rows = pacs.sql(ASK).fetchall()
    assert rows == [(OTHER, "CC BY 4.0", "10.7937/x"), (small_ct().SeriesInstanceUID, "CC BY 4.0", None)]
    with rp.connect(pacs.home) as again:
        assert again.sql(ASK).fetchall() == rows


def test_nothing_and_instances_cannot_be_credited(pacs: "rp._pacs.Pacs") -> None:
    with pytest.raises(InvalidInputError, match="licence="):
        pacs.credit(pacs.search("series"))
    with pytest.raises(InvalidInputError, match="series"):
        pacs.credit(pacs.search("instance"), licence="CC0 1.0")
    assert pacs.sql(ASK).fetchall() == []
