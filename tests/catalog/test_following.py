"""The catalog follows the archive: step by step as well as in one go, through deletions, kills and rivals.

What is asked of `either` holds in the home as well as in PostgreSQL and S3.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from researchpacs.errors import UnsupportedError
from researchpacs.testing import small_ct

from .conftest import Filled, contents

CHILD = """
import sys
from researchpacs.archive import EmbeddedArchive
from researchpacs.catalog import Catalog
from researchpacs.config import Settings
from researchpacs.storage.home import Home
home = Home.open(sys.argv[1])
archive = EmbeddedArchive(home)
catalog = Catalog(home, archive, Settings.load(home.path).catalog)
{body}
"""


def child(home: Path, body: str) -> subprocess.Popen[str]:
    source = Path(__file__).parents[2] / "src"
    return subprocess.Popen(
        [sys.executable, "-c", CHILD.format(body=body), str(home)],
        env={**os.environ, "PYTHONPATH": str(source)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def slices(count: int, **attributes: object) -> list:
    return [small_ct(number, **attributes) for number in range(1, count + 1)]


def several(series: int, count: int) -> list:
    """Slices of several series in two studies of two patients, in no order."""
    made = [
        small_ct(
            number + 100 * one,
            SeriesInstanceUID=f"1.2.3.{one}",
            StudyInstanceUID=f"1.2.{one % 2}",
            PatientID=f"P{one % 2}",
            InstanceNumber=count - number,
            SliceThickness=str(1 + number % 2),
            Modality=("CT", "PT")[one % 2],
        )
        for one in range(series)
        for number in range(count)
    ]
    random.Random(7).shuffle(made)
    return made


def test_step_by_step_equals_made_anew(filled):
    for ds in several(3, 4):
        filled.take(ds)
        filled.catalog.sync()
    stepwise = contents(filled.catalog)

    filled.catalog.sync(rebuild=True)

    assert len(stepwise["instances"]) == 12
    assert contents(filled.catalog) == stepwise


def test_step_by_step_equals_made_anew_with_real_data_and_deletions(either, real_data):
    folders = ["dicomdir", "charset", "highdicom_seg_sr_sm_ann"]
    for folder in folders:
        either.take(real_data / folder)
        either.catalog.sync()
    instances = either.catalog.sql("select instance_key, SOPInstanceUID from instances order by 1").fetchall()
    for key, _ in instances[::3]:
        either.archive.delete("instance", key)
    either.catalog.sync()
    (series,) = either.catalog.sql("select SeriesInstanceUID from series where instance_count > 1").fetchall()[0]
    either.archive.delete("series", series)
    either.catalog.sync()
    stepwise = contents(either.catalog)

    either.catalog.sync(rebuild=True)

    assert contents(either.catalog) == stepwise
    assert len(stepwise["instances"]) < len(instances) * 2 / 3


def test_a_deleted_instance_leaves_every_table(either, real_data):
    either.take(real_data / "highdicom_seg_sr_sm_ann")
    assert len(either.catalog.sql("from measurements").fetchall()) > 0
    for (study,) in either.catalog.sql("select distinct StudyInstanceUID from studies").fetchall():
        either.archive.delete("study", study)

    left = contents(either.catalog, without=["sync_state"])

    assert {name: len(rows) for name, rows in left.items() if rows} == {}


def test_deleted_and_stored_again_is_there_once(either):
    either.take(slices(3))
    either.catalog.sync()
    either.archive.delete("series", small_ct().SeriesInstanceUID)
    either.take(slices(3))

    assert either.catalog.sql("select count(*), count(distinct SOPInstanceUID) from instances").fetchall() == [(3, 3)]
    assert either.catalog.sql("select instance_count, frame_count from series").fetchall() == [(3, 3)]


def test_a_question_sees_what_was_just_stored(either):
    for count in range(1, 4):
        either.take(small_ct(count))
        assert either.catalog.sql("select count(*) from instances").fetchall() == [(count,)]


def test_another_connection_is_read_only_and_sees_later_changes(either):
    either.take(small_ct(1))
    con = either.catalog.connect()
    either.take(small_ct(2))
    either.catalog.sync()

    assert con.execute("select count(*) from instances").fetchone() == (2,)
    with pytest.raises(Exception, match="read-only"):
        con.execute("delete from instances_own")
    con.close()


def test_two_processes_that_ingest_and_ask_at_once_both_succeed(either):
    body = """
from researchpacs.ingest import ingest
from researchpacs.testing import small_ct
for number in range(1, 6):
    made = small_ct(number, SeriesInstanceUID=f"1.2.{NAME}", SOPInstanceUID=f"1.2.{NAME}.{number}")
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    ingest(made, store=archive.store, home=home, progress=False)
    rows = catalog.sql("select instance_count from series where SeriesInstanceUID = $uid", uid="1.2.{NAME}").fetchall()
    assert rows == [(number,)], rows
"""
    rivals = [child(either.home.path, body.replace("{NAME}", str(name))) for name in (5, 6)]
    for rival in rivals:
        _, errors = rival.communicate(timeout=120)
        assert rival.returncode == 0, errors

    assert either.catalog.sql("select instance_count from series").fetchall() == [(5,), (5,)]
    stepwise = contents(either.catalog)
    either.catalog.sync(rebuild=True)
    assert contents(either.catalog) == stepwise


def test_a_sync_that_is_killed_leaves_nothing_half_and_is_continued(either):
    either.take(several(4, 20))
    small_batches = "import researchpacs.catalog._committer as c; c.BATCH_ROWS = 5\ncatalog.sync()"
    chances = random.Random(11)
    for _ in range(either.rounds):
        rival = child(either.home.path, small_batches)
        time.sleep(chances.uniform(0.8, 2.2))
        rival.send_signal(signal.SIGKILL)
        rival.communicate(timeout=60)
        con = _reader_without_sync(either)
        if con is not None:
            counted = con.execute("select coalesce(sum(instance_count), 0) from series").fetchone()
            assert counted == con.execute("select count(*) from instances").fetchone()
            assert counted == con.execute("select count(*) from frames").fetchone()
            assert counted == con.execute("select count(*) from instances_own").fetchone()
            (apart,) = con.execute(
                "select count(*) from series anti join series_common using (SeriesInstanceUID)"
            ).fetchone()
            assert apart == 0
            con.close()

    assert either.catalog.sql("select count(*) from instances").fetchall() == [(80,)]
    stepwise = contents(either.catalog)
    either.catalog.sync(rebuild=True)
    assert contents(either.catalog) == stepwise


def _reader_without_sync(either):
    from researchpacs.catalog._lake import open_reader

    if either.catalog._state() is None:
        return None
    return open_reader(either.catalog._lake, either.catalog._spill())


def test_another_feed_makes_the_catalog_anew(either):
    either.take(slices(2))
    either.catalog.sync()
    with either.archive.ledger.writing() as con:
        con.execute("update feed set feed_id = 'restored'")

    report = either.catalog.sync()

    assert report.rebuilt
    assert either.catalog.sql("select feed_id from sync_state").fetchall() == [("restored",)]
    assert either.catalog.sql("select count(*) from instances").fetchall() == [(2,)]


@pytest.mark.parametrize(("version", "rebuilt"), [(0, True), (99, None)])
def test_an_older_catalog_is_made_anew_and_a_newer_one_refused(either, monkeypatch, version, rebuilt):
    from researchpacs.catalog import _ddl
    from researchpacs.catalog._lake import SCHEMA_VERSION

    either.take(slices(2))
    monkeypatch.setattr(_ddl, "SCHEMA_VERSION", version)
    either.catalog.sync()
    monkeypatch.undo()

    if rebuilt:
        assert either.catalog.sql("select schema_version, last_seq from sync_state").fetchall() == [(SCHEMA_VERSION, 2)]
    else:
        with pytest.raises(UnsupportedError, match="pip install --upgrade"):
            either.catalog.sql("select 1")


def test_a_file_that_is_gone_is_a_row_of_issues_and_stops_nothing(either, tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in (1, 2):
        small_ct(number).save_as(scans / f"{number}.dcm", enforce_file_format=True)
    from researchpacs.ingest import ingest

    ingest(scans, store=either.archive.store, home=either.home, copy=False, progress=False)
    (scans / "1.dcm").unlink()
    either.catalog.sync()
    either.catalog.sync(rebuild=True)  # what was kept of the header is gone by now

    assert either.catalog.sql("select instance_count, frame_count from series").fetchall() == [(2, 1)]
    ((problem,),) = either.catalog.sql("select problem from issues where keyword = ''").fetchall()
    assert "could not be read" in problem


def test_a_home_may_be_moved(either, tmp_path):
    from researchpacs.archive import EmbeddedArchive
    from researchpacs.catalog import Catalog
    from researchpacs.config import Settings
    from researchpacs.storage.home import Home

    either.take(slices(12))
    either.catalog.sync()
    either.close()
    moved = Home(either.home.path.rename(tmp_path / "moved"))
    catalog = Catalog(moved, EmbeddedArchive(moved), Settings.load(moved.path).catalog)

    assert catalog.sql("select count(*) from instances where tags is not null").fetchall() == [(12,)]
    catalog.close()


def test_housekeeping_changes_no_row_and_disturbs_no_reader(either, monkeypatch):
    from researchpacs.catalog import _committer, _housekeeping

    monkeypatch.setattr(_committer, "TIDY_COMMITS", 4)
    monkeypatch.setattr(_housekeeping, "QUIET_S", 0.0)
    monkeypatch.setattr(_housekeeping, "PATIENCE_S", 3600.0)
    either.take(small_ct(1))
    reader = either.catalog.connect()
    for ds in several(either.rounds, 4):
        either.take(ds)
        either.catalog.sync()
        assert reader.execute("select count(*) from instances").fetchone() is not None
    stepwise = contents(either.catalog)
    assert reader.execute("select count(*) from instances where tags is not null").fetchone() == (
        1 + 4 * either.rounds,
    )
    reader.close()

    either.reopen()  # once the house is kept
    assert either.files()
    assert contents(either.catalog) == stepwise
    either.catalog.sync(rebuild=True)
    assert contents(either.catalog) == stepwise


# In the home: tests/faults/test_catalog_damage.py.
@pytest.mark.parametrize("loss", [Filled.spoil, Filled.lose_files], ids=lambda loss: loss.__name__)
def test_a_lost_or_spoilt_catalog_is_made_anew_by_the_next_question(elsewhere, loss):
    elsewhere.take(slices(30))
    elsewhere.catalog.sync()
    elsewhere.reopen()
    loss(elsewhere)

    assert elsewhere.catalog.sql("select count(*) from instances where tags is not null").fetchall() == [(30,)]
    assert elsewhere.catalog.sql("select count(position) from frames").fetchall() == [(30,)]
    assert elsewhere.catalog.mended


@pytest.mark.parametrize("loss", [Filled.lose, Filled.lose_files], ids=lambda loss: loss.__name__)
def test_what_is_lost_while_it_is_open_is_found_by_what_is_stored_next(elsewhere, loss):
    elsewhere.take(slices(30))
    assert elsewhere.catalog.sql("select count(*) from instances").fetchall() == [(30,)]
    loss(elsewhere)
    elsewhere.take(small_ct(31))

    assert elsewhere.catalog.sql("select count(*) from instances where tags is not null").fetchall() == [(31,)]
    assert elsewhere.catalog.mended
