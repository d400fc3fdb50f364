"""What text= finds: descriptions, codes and reports, each different text once, as the archive is at that moment."""

from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from researchpacs.search import Search
from researchpacs.testing import small_ct

from .conftest import Filled, contents


def found(filled: Filled, text: str, level: str = "series") -> list[str]:
    """UIDs of the series, or of other objects, that have all the words."""
    uid = {"series": "SeriesInstanceUID", "study": "StudyInstanceUID", "instance": "SOPInstanceUID"}[level]
    return sorted(row[uid] for row in Search(filled.catalog, level, {}, text=text, as_handle=lambda _, row: row))


def texts(filled: Filled) -> list[str]:
    return [text for (text,) in filled.catalog.sql("select search_text from search_texts order by 1").fetchall()]


def series(number: int, count: int = 1, **attributes: Any) -> list[Dataset]:
    return [
        small_ct(
            place,
            **{"SeriesInstanceUID": f"1.2.3.{number}", "SOPInstanceUID": f"1.2.3.{number}.{place}", **attributes},
        )
        for place in range(count)
    ]


def code(value: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, "SCT", meaning
    return ds


def test_codes_are_found_wherever_they_stand(filled: Filled) -> None:
    inner = Dataset()
    inner.RequestedProcedureCodeSequence = [code("24627-2", "CT Thorax für Óscar")]
    filled.take(series(1, 2, RequestAttributesSequence=[inner]))
    filled.take(series(2, ProcedureCodeSequence=[code("77477000", "Tomography")]))

    assert found(filled, "THORAX 24627-2") == ["1.2.3.1"]
    assert found(filled, "óscar small") == ["1.2.3.1"]
    assert found(filled, "tomography") == ["1.2.3.2"]
    assert found(filled, "small") == ["1.2.3.1", "1.2.3.2"]
    assert found(filled, "tomography thorax") == []
    assert found(filled, "thorax", "instance") == ["1.2.3.1.0", "1.2.3.1.1"]


def test_what_only_one_instance_says_is_found(filled: Filled) -> None:
    filled.take(series(1, 3))
    filled.take(small_ct(7, SeriesInstanceUID="1.2.3.1", ViewCodeSequence=[code("399162004", "cranio-caudal")]))

    assert found(filled, "cranio") == ["1.2.3.1"]
    filled.archive.delete("instance", small_ct(7).SOPInstanceUID)
    assert found(filled, "cranio") == []


def test_reports_and_labels_of_segments_are_found(filled: Filled, real_data: Path) -> None:
    filled.take(real_data / "highdicom_seg_sr_sm_ann")
    rows = filled.catalog.sql("select SeriesInstanceUID, report_text from reports where report_text <> ''").fetchall()
    labels = filled.catalog.sql(
        "select s.label, i.SeriesInstanceUID from segments s join instances i on i.instance_key = s.object_key"
    ).fetchall()
    assert rows
    assert labels

    for uid, said in rows:
        assert uid in found(filled, " ".join(said.upper().split()))
    for label, uid in labels:
        assert uid in found(filled, label)


def test_series_that_are_described_alike_share_a_text_until_the_last_of_them_goes(filled: Filled) -> None:
    for number in (1, 2):
        filled.take(series(number, SeriesDescription="Lung AX"))
    assert len([text for text in texts(filled) if "lung ax" in text]) == 1

    filled.archive.delete("series", "1.2.3.1")
    assert found(filled, "lung ax") == ["1.2.3.2"]
    filled.archive.delete("series", "1.2.3.2")
    assert texts(filled) == []


def test_step_by_step_the_texts_are_those_of_a_rebuild(filled: Filled, real_data: Path) -> None:
    filled.take(real_data / "highdicom_seg_sr_sm_ann")
    for number in range(6):
        filled.take(series(number, 2, SeriesDescription=f"kind {number % 3}", PatientID=f"P{number % 2}"))
        filled.catalog.sync()
    filled.archive.delete("series", "1.2.3.4")
    filled.archive.delete("instance", "1.2.3.5.1")
    filled.catalog.sync()
    stepwise = contents(filled.catalog)

    filled.catalog.sync(rebuild=True)

    assert contents(filled.catalog) == stepwise
    kept = set(filled.catalog.sql("select distinct text_key from series where text_key is not null").fetchall())
    assert set(filled.catalog.sql("select text_key from search_texts").fetchall()) == kept


def test_nobody_is_shown_who_is_named_in_a_text(filled: Filled) -> None:
    filled.take(series(1, StudyDescription="follow-up of Adams"))

    shown = filled.catalog.sql("select search_text as x from search_texts")
    assert "adams" in shown.fetchall()[0][0]
    assert "adams" not in repr(shown).lower()
    assert "adams" not in shown._repr_html_().lower()
