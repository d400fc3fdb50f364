"""What the doctor finds: nothing in a sound home, and each of the things that can go wrong."""

from pathlib import Path

import pytest

from researchpacs._pacs import _doctor
from researchpacs._pacs._doctor import DoctorReport, examine
from researchpacs.archive import EmbeddedArchive
from researchpacs.catalog import Catalog
from researchpacs.ingest import ingest
from researchpacs.storage.home import Home
from researchpacs.testing import small_ct


@pytest.fixture
def archive(home: Path):
    made = EmbeddedArchive(Home.open(home))
    ingest([small_ct(number) for number in range(1, 31)], store=made.store, home=made.home, progress=False)
    yield made
    made.close()


def examined(archive: EmbeddedArchive) -> DoctorReport:
    catalog = Catalog(archive.home, archive)
    try:
        return examine(catalog, archive)
    finally:
        catalog.close()


def ill(report: DoctorReport) -> dict[str, str]:
    return {one.check: one.what for one in report.findings if not one.ok}


def test_a_sound_home_is_sound(archive: EmbeddedArchive) -> None:
    report = examined(archive)
    assert report.ok, str(report)
    assert "30 instances" in str(report)


def test_a_lost_file_of_the_catalog_is_found_without_reading_it(archive: EmbeddedArchive) -> None:
    assert examined(archive).ok
    next(archive.home.catalog_data.rglob("*.parquet")).unlink()
    assert "1 of its files are missing" in ill(examined(archive))["catalog"]


def test_counts_that_disagree_are_found(archive: EmbeddedArchive) -> None:
    assert examined(archive).ok
    with archive.ledger.writing() as con:  # a row that no change announces
        names = [row[1] for row in con.execute("pragma table_info(instances)") if row[1] != "id"]
        other = {"key": "'f' || substr(key, 2)", "seq": "-5"}
        assert set(other) <= set(names)
        chosen = ", ".join(other.get(name, name) for name in names)
        con.execute(f"insert into instances ({', '.join(names)}) select {chosen} from instances limit 1")
    assert "sync --rebuild" in ill(examined(archive))["catalog"]


def test_a_full_disk_is_told_before_it_hurts(archive: EmbeddedArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor, "_LEAST_FREE_BYTES", 1 << 60)
    assert "make room" in ill(examined(archive))["disk"]


def test_a_damaged_catalog_keeps_no_other_question_from_being_asked(archive: EmbeddedArchive) -> None:
    assert examined(archive).ok
    for path in archive.home.path.glob("catalog.sqlite*"):
        path.write_bytes(b"no database" * 1000)
    report = examined(archive)
    assert [one.check for one in report.findings] == ["disk", "ledger", "catalog", "extras"]
    assert report.ok
    assert "30 instances" in str(report)
    assert "was made anew" in str(report)
    assert "was made anew" not in str(examined(archive))


def test_a_catalog_that_cannot_be_read_keeps_no_other_question_from_being_asked(archive: EmbeddedArchive) -> None:
    for path in archive.home.path.glob("catalog.sqlite*"):
        path.unlink()
    archive.home.catalog_metadata.mkdir()
    report = examined(archive)
    assert [one.check for one in report.findings] == ["disk", "ledger", "catalog", "extras"]
    assert set(ill(report)) == {"catalog"}


def test_a_file_that_is_cut_off_is_found_without_reading_it(archive: EmbeddedArchive) -> None:
    assert examined(archive).ok
    path = next(archive.home.catalog_data.rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-1])
    assert "1 of its files are missing or cut off" in ill(examined(archive))["catalog"]
