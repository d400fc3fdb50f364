"""What the archive keeps of headers fills the catalog as their files do, and goes when the catalog has it."""

import pytest

from researchpacs.catalog import _committer
from researchpacs.testing import small_ct

from .conftest import REAL, contents

pytest.importorskip("researchpacs.dicom._quickwalk", reason="_quickwalk is not compiled: install a C compiler")


def kept(archive) -> int:
    with archive.ledger.reading() as con:
        return con.execute("select count(*) from facts").fetchone()[0]


def test_a_catalog_made_of_facts_equals_one_made_of_files(filled, real_data):
    filled.take([real_data / name for name in REAL])
    filled.take([path for path in sorted((real_data / "ct_head_phantom").rglob("*"))[::4] if path.is_file()])
    assert kept(filled.archive) > 40

    filled.catalog.sync()
    of_facts = contents(filled.catalog)
    assert kept(filled.archive) == 0
    filled.catalog.sync(rebuild=True)

    of_files = contents(filled.catalog)
    assert of_facts.keys() == of_files.keys()
    for table in of_files:
        assert of_facts[table] == of_files[table], table


def test_no_file_is_opened_again(filled, monkeypatch):
    filled.take([small_ct(number) for number in range(1, 5)])
    monkeypatch.setattr(filled.archive, "read", None)

    filled.catalog.sync()

    assert filled.catalog.sql("select count(*), count(tags), sum(frame_count) from instances").fetchall() == [(4, 4, 4)]
    assert filled.catalog.sql("select count(*) from issues where problem like '%file%'").fetchall() == [(0,)]


def test_what_is_deleted_before_the_catalog_knew_it_leaves_nothing(filled):
    filled.take([small_ct(1), small_ct(2)])
    filled.archive.delete("instance", small_ct(1).SOPInstanceUID)
    assert kept(filled.archive) == 1

    filled.catalog.sync()

    assert filled.catalog.sql("select InstanceNumber from instances").fetchall() == [(2,)]
    assert kept(filled.archive) == 0


def test_facts_that_are_not_the_instances_are_not_taken_for_it(filled):
    filled.take([small_ct(1), small_ct(2)])
    with filled.archive.ledger.writing() as con:
        con.execute("update facts set seq = seq + 1, own = '{\"InstanceNumber\":99}'")

    filled.catalog.sync()

    assert filled.catalog.sql("select InstanceNumber from instances order by all").fetchall() == [(1,), (2,)]
    assert _committer.BATCH_ROWS > 2
