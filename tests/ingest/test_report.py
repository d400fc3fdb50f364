"""The report: counts, rows, and nothing that names a person."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from researchpacs.archive import EmbeddedArchive
from researchpacs.errors import ConflictError, InvalidInputError
from researchpacs.ingest import IngestReport, ingest
from researchpacs.model import Find, Identity, Outcome
from researchpacs.storage.home import Home
from researchpacs.testing import small_ct

_SCRIPT = """
import sys
from researchpacs.archive import EmbeddedArchive
from researchpacs.ingest import ingest
from researchpacs.storage.home import Home

home = Home.open(sys.argv[1])
progress = {"default": None, "yes": True, "no": False}[sys.argv[3]]
print(ingest(sys.argv[2], store=EmbeddedArchive(home).store, home=home, workers=2, progress=progress).stored)
"""


def test_counts_rows_and_series_agree(home: Path, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "Smith^John.txt").write_text("not DICOM, much longer than a header has to be" * 10)
    small_ct(1).save_as(tmp_path / "scans" / "1", enforce_file_format=True)
    small_ct(1).save_as(tmp_path / "scans" / "2", enforce_file_format=True)
    small_ct(1, seed=5).save_as(tmp_path / "scans" / "3", enforce_file_format=True)
    small_ct(2, SeriesInstanceUID="1.2.3").save_as(tmp_path / "scans" / "4", enforce_file_format=True)
    opened = Home.open(home)
    report = ingest(
        tmp_path / "scans", store=EmbeddedArchive(opened).store, home=opened, as_series=lambda uids: [*uids]
    )
    assert (report.stored, report.duplicates, report.conflicts, report.refused) == (2, 1, 1, 1)
    rows = report.df()
    assert list(rows.columns) == ["path", "outcome", "reason", "SOPInstanceUID"]
    assert rows.outcome.value_counts().to_dict() == {"stored": 2, "duplicate": 1, "conflict": 1, "refused": 1}
    refused = rows[rows.outcome == "refused"].iloc[0]
    assert refused.path == str(tmp_path / "scans" / "Smith^John.txt")
    assert rows.SOPInstanceUID.isna().sum() == 1
    assert report.series == [small_ct().SeriesInstanceUID, "1.2.3"]
    for text in (repr(report), report._repr_html_()):
        assert "2 stored, 1 duplicates, 1 conflicts, 1 refused" in text
        assert "Smith" not in text
    assert "not DICOM" in report._repr_html_()


def test_the_page_shows_at_most_ten_reasons_escaped() -> None:
    outcomes = [Outcome(f"f{n}", "refused", f"reason <b>{n % 14}</b>") for n in range(100)]
    html = IngestReport(outcomes)._repr_html_()
    assert html.count("<tr>") == 10
    assert "<b>" not in html
    assert "4 other reasons" in html


def test_an_empty_report_is_one() -> None:
    report = IngestReport([])
    assert (report.stored, report.df().empty, list(report.series)) == (0, True, [])
    assert "0 stored" in report._repr_html_()


def test_a_named_input_that_is_refused_raises_after_the_others_are_stored(home: Path, tmp_path: Path) -> None:
    (tmp_path / "Smith^John").write_bytes(b"")
    opened = Home.open(home)
    archive = EmbeddedArchive(opened)
    sources = [tmp_path / "Smith^John", small_ct(1), small_ct(2), tmp_path / "gone"]
    with pytest.raises(InvalidInputError, match=r"2 inputs are refused: .* 2 stored") as caught:
        ingest(sources, store=archive.store, home=opened)
    assert "Smith" not in str(caught.value)
    assert len(list(archive.find(Find("instance")))) == 2


def test_a_named_input_in_conflict_raises_and_one_found_by_walking_does_not(home: Path, tmp_path: Path) -> None:
    opened = Home.open(home)
    archive = EmbeddedArchive(opened)
    ingest(small_ct(seed=1), store=archive.store, home=opened)
    small_ct(seed=2).save_as(tmp_path / "x", enforce_file_format=True)
    with pytest.raises(ConflictError, match="other content"):
        ingest(tmp_path / "x", store=archive.store, home=opened)
    (tmp_path / "sub").mkdir()
    (tmp_path / "x").rename(tmp_path / "sub" / "x")
    assert ingest(tmp_path / "sub", store=archive.store, home=opened).conflicts == 1


def test_refused_goes_before_conflict() -> None:
    identity = Identity("", "", "1", "2", "3.4.5")
    outcomes = [Outcome("a", "conflict", "other", identity), Outcome("b", "refused", "empty")]
    with pytest.raises(InvalidInputError):
        IngestReport(outcomes).raise_for({"a", "b"})
    with pytest.raises(ConflictError, match=r"3\.4\.5"):
        IngestReport(outcomes).raise_for({"a"})
    IngestReport(outcomes).raise_for({"c"})


@pytest.mark.parametrize(("progress", "shown"), [("default", False), ("no", False), ("yes", True)])
def test_a_script_without_a_main_guard_ingests_in_parallel_and_shows_a_bar_only_if_asked(
    home: Path, tmp_path: Path, progress: str, shown: bool
) -> None:
    (tmp_path / "scans").mkdir()
    for number in range(60):
        small_ct(number).save_as(tmp_path / "scans" / f"Smith{number}", enforce_file_format=True)
    (tmp_path / "script.py").write_text(_SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", home, tmp_path / "scans", progress],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "60"), done.stderr
    assert ("60/60" in done.stderr) is shown
    assert "Smith" not in done.stderr
    assert shown or done.stderr == ""


def test_a_file_name_that_is_not_utf8_has_its_row():
    report = IngestReport([Outcome(os.fsdecode(b"scans/\xff.dcm"), "refused", "an empty file")])
    assert list(report.df()["path"]) == ["scans/\\xff.dcm"]
