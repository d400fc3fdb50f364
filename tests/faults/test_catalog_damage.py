"""A catalog that was taken away or damaged is found out by the next question, made anew, and that is said."""

import logging
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from researchpacs.archive import EmbeddedArchive
from researchpacs.catalog import Catalog
from researchpacs.errors import InvalidInputError, ResearchPacsError
from researchpacs.ingest import ingest
from researchpacs.storage.home import Home
from researchpacs.testing import small_ct

_COUNT = 14
_QUESTIONS = (
    "select count(*) from instances where tags is not null",
    "select count(position) from frames",
    "select sum(instance_count)::bigint from series",
)


@pytest.fixture
def archive(home: Path) -> Iterator[EmbeddedArchive]:
    """With a catalog that nobody has open."""
    made = EmbeddedArchive(Home.open(home))
    ingest([small_ct(number) for number in range(_COUNT)], store=made.store, home=made.home, progress=False)
    with_catalog = Catalog(made.home, made)
    with_catalog.sync()
    with_catalog.close()
    yield made
    made.close()


@pytest.fixture
def catalog(archive: EmbeddedArchive) -> Iterator[Catalog]:
    """Not opened yet."""
    made = Catalog(archive.home, archive)
    yield made
    made.close()


def _metadata(home: Home) -> list[Path]:
    return sorted(home.path.glob("catalog.sqlite*"))


def _files(home: Home) -> list[Path]:
    return sorted(home.catalog_data.rglob("*.parquet"))


def _no_database(home: Home) -> None:
    for path in _metadata(home):
        path.write_bytes(b"not a database, but long enough to be taken for one" * 100)


def _half_a_database(home: Home) -> None:
    path = home.catalog_metadata
    os.truncate(path, path.stat().st_size // 2)


def _noise_in_the_database(home: Home) -> None:
    _scratch(home.catalog_metadata, at_most=4096)


def _empty_database(home: Home) -> None:
    home.catalog_metadata.write_bytes(b"")


def _no_metadata(home: Home) -> None:
    for path in _metadata(home):
        path.unlink()


def _no_data_files(home: Home) -> None:
    for path in _files(home):
        path.unlink()


def _no_data_folder(home: Home) -> None:
    shutil.rmtree(home.catalog_data)


def _data_files_cut_off(home: Home) -> None:
    for path in _files(home):
        os.truncate(path, path.stat().st_size - 20)


def _noise_in_the_data_files(home: Home) -> None:
    for path in _files(home):
        _scratch(path, at_most=200)


def _snapshot(catalog: Catalog) -> int:
    ((number,),) = catalog.sql("select id from pacs.current_snapshot()").fetchall()
    return int(number)


def _scratch(path: Path, *, at_most: int) -> None:
    """Turn bytes over at every so many, from the fifth: what is there is not what was written."""
    data = bytearray(path.read_bytes())
    step = random.Random(5).randrange(at_most // 2, at_most)
    for at in range(4, len(data), step):
        data[at] ^= 0xFF
    path.write_bytes(bytes(data))


_DAMAGES = [
    _no_database, _half_a_database, _noise_in_the_database, _empty_database, _no_metadata, _no_data_files,
    _no_data_folder, _data_files_cut_off, _noise_in_the_data_files,
]  # fmt: skip


@pytest.mark.parametrize("damage", _DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
def test_it_is_detected_made_anew_and_said(
    archive: EmbeddedArchive, catalog: Catalog, damage: Callable[[Home], None], caplog: pytest.LogCaptureFixture
) -> None:
    assert len(_files(archive.home)) > 1
    damage(archive.home)
    with caplog.at_level(logging.WARNING, logger="researchpacs"):
        answers = [catalog.sql(question).fetchall() for question in _QUESTIONS]
    assert answers == [[(_COUNT,)]] * len(_QUESTIONS)
    assert catalog.mended
    assert ["is made anew" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("damage", [_no_metadata, _no_data_files], ids=lambda damage: damage.__name__.strip("_"))
def test_it_is_found_by_what_is_stored_next_while_it_is_open(
    archive: EmbeddedArchive, catalog: Catalog, damage: Callable[[Home], None]
) -> None:
    assert catalog.sql("select count(*) from instances").fetchall() == [(_COUNT,)]
    damage(archive.home)
    ingest(small_ct(_COUNT), store=archive.store, home=archive.home, progress=False)
    assert catalog.sql("select count(*) from instances where tags is not null").fetchall() == [(_COUNT + 1,)]
    assert catalog.mended


def test_a_sound_catalog_is_left_alone(
    archive: EmbeddedArchive, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    before = _snapshot(catalog)
    for question in _QUESTIONS:
        assert catalog.sql(question).fetchall() == [(_COUNT,)]
    assert (_snapshot(catalog), catalog.mended, caplog.records) == (before, False, [])


def test_temporary_tables_and_frames_of_the_caller_outlive_lost_files(
    archive: EmbeddedArchive, catalog: Catalog
) -> None:
    mine = pd.DataFrame({"InstanceNumber": [1, 2, 3]})
    catalog.sql("create temp table kept as from mine")
    _no_data_files(archive.home)
    query = "select count(*) from instances join kept using (InstanceNumber) join mine using (InstanceNumber)"
    assert catalog.sql(query).fetchall() == [(len(mine),)]


def test_frames_of_a_series_open_after_the_loss_of_files(archive: EmbeddedArchive, catalog: Catalog) -> None:
    _no_data_files(archive.home)
    assert len(catalog.frames(small_ct().SeriesInstanceUID)) == _COUNT


def test_what_asks_within_one_snapshot_is_told_and_the_next_question_finds_it_mended(
    archive: EmbeddedArchive, catalog: Catalog
) -> None:
    assert catalog.sql("select 1").fetchall()
    _no_data_files(archive.home)
    with pytest.raises(ResearchPacsError, match="ask again"), catalog.one_snapshot():
        catalog.sql(_QUESTIONS[0]).fetchall()
    assert catalog.sql(_QUESTIONS[0]).fetchall() == [(_COUNT,)]
    assert catalog.mended


def test_a_damaged_file_of_the_users_own_is_told_and_makes_nothing_anew(
    archive: EmbeddedArchive, catalog: Catalog, tmp_path: Path
) -> None:
    own = tmp_path / "own.parquet"
    catalog.sql(f"copy (select range i from range(100000)) to '{own}'")
    _scratch(own, at_most=200)
    before = _snapshot(catalog)
    with pytest.raises(InvalidInputError):
        catalog.sql(f"select sum(i) from '{own}'").fetchall()
    assert (_snapshot(catalog), catalog.mended) == (before, False)


def test_a_database_that_cannot_be_opened_for_another_reason_is_kept(
    archive: EmbeddedArchive, catalog: Catalog
) -> None:
    _no_metadata(archive.home)
    archive.home.catalog_metadata.mkdir()
    files = _files(archive.home)
    with pytest.raises(ResearchPacsError, match="cannot be opened"):
        catalog.sql("select 1")
    assert _files(archive.home) == files
    archive.home.catalog_metadata.rmdir()
    assert catalog.sql("select count(*) from instances").fetchall() == [(_COUNT,)]


def test_two_that_find_the_damage_together_both_get_their_answer(archive: EmbeddedArchive, catalog: Catalog) -> None:
    other = Catalog(archive.home, archive)
    question = _QUESTIONS[0]
    asked = [catalog.sql(question), other.sql(question)]
    _no_data_files(archive.home)
    assert [result.fetchall() for result in asked] == [[(_COUNT,)], [(_COUNT,)]]
    assert [catalog.mended, other.mended] == [True, False]
    other.close()
