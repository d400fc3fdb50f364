"""Labels from end to end: put on handles, found by search and SQL, followed when they go, and after a rebuild."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import researchpacs as rp
from researchpacs.errors import InvalidInputError
from researchpacs.testing import small_ct

OTHER = "1.2.3"


@pytest.fixture
def pacs(home: Path) -> Iterator["rp._pacs.Pacs"]:
    with rp.connect(home) as pacs:
        pacs.ingest([small_ct(1), small_ct(2), small_ct(3, SeriesInstanceUID=OTHER)])
        yield pacs


def test_a_labelled_series_is_found_by_its_label_until_it_goes(pacs: "rp._pacs.Pacs") -> None:
    series = pacs.series(OTHER)
    assert len(pacs.search("series", labels="qc-ok")) == 0
    assert pacs.label(series, "qc-ok", "train") == 2
    assert series.labels == ["qc-ok", "train"]
    assert list(pacs.search("series", labels="qc-ok")) == [series]
    assert list(pacs.search("series", labels=["test", "train"], Modality="CT")) == [series]
    assert len(pacs.search("series", labels=[])) == 0
    assert len(pacs.search("study", labels="qc-ok")) == 0, "a label belongs to the series alone"
    assert pacs.unlabel(series, "qc-ok") == 1
    assert len(pacs.search("series", labels="qc-ok")) == 0
    assert list(pacs.search("series", labels="train")) == [series]


@pytest.mark.parametrize("level", ["patient", "study", "series", "instance"])
def test_every_level_is_labelled_through_a_search(pacs: "rp._pacs.Pacs", level: str) -> None:
    hits = pacs.search(level)
    assert pacs.label(hits, "all") == len(hits)
    assert list(pacs.search(level, labels="all")) == list(hits)
    assert pacs.search(level, labels="all").sql.count("all")


def test_labels_are_a_table_that_follows_and_survives_a_rebuild(pacs: "rp._pacs.Pacs") -> None:
    pacs.label(pacs.series(OTHER), "a")
    pacs.label(pacs.search("study"), "b")
    ask = "select level, SeriesInstanceUID, label from labels order by all"
    grown = pacs.sql(ask).fetchall()
    assert grown == [("series", OTHER, "a"), ("study", None, "b")]
    pacs.sync(rebuild=True)
    assert pacs.sql(ask).fetchall() == grown
    joined = "select count(*) from series join labels using (patient_key, StudyInstanceUID, SeriesInstanceUID)"
    assert pacs.sql(joined).fetchall() == [(1,)]
    pacs.delete(pacs.series(OTHER))
    assert pacs.sql(ask).fetchall() == [("study", None, "b")]


def test_what_is_no_label_is_refused_before_anything_is_labelled(pacs: "rp._pacs.Pacs") -> None:
    with pytest.raises(InvalidInputError):
        pacs.label(pacs.search("series"), "fine", "not fine")
    with pytest.raises(InvalidInputError):
        pacs.search(labels=[3])
    assert pacs.search("series", labels="' or true --").df().empty
    assert pacs.sql("select * from labels").fetchall() == []
