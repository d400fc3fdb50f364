"""Cohorts in SQL, and the catalog as it was when they were frozen."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from pydicom import Dataset

import researchpacs as rp
from researchpacs.catalog._lake import HomeLake, attach, engine
from researchpacs.catalog._pins import pinned_snapshots
from researchpacs.catalog._tidy import tidy
from researchpacs.cohort import Cohort
from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.testing import small_ct


def _instances(number: int, **attributes: object) -> list[Dataset]:
    """A series of two slices."""
    return [
        small_ct(at, PatientID=f"P{number}", PatientName="Name^Of", StudyInstanceUID=f"1.2.3.{number}",
                 SeriesInstanceUID=f"1.2.3.{number}.1", SOPInstanceUID=f"1.2.3.{number}.1.{at}", **attributes)
        for at in (1, 2)
    ]  # fmt: skip


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[rp.Pacs]:
    """Two series of two patients."""
    with rp.connect(tmp_path / "home") as made:
        made.ingest([*_instances(1), *_instances(2)])
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rp.Pacs]:
    """The same, for tests that only add cohorts."""
    with rp.connect(tmp_path_factory.mktemp("shared") / "home") as made:
        made.ingest([*_instances(1), *_instances(2)])
        yield made


def _labelled(pacs: rp.Pacs, name: str = "labelled") -> Cohort:
    table = pd.DataFrame({"SeriesInstanceUID": ["1.2.3.2.1", "1.2.3.1.1"], "label": ["sick", "well"]})
    return pacs.freeze(table, name=name, description="two of them")


def test_cohorts_are_tables_as_soon_as_they_are_frozen(shared):
    pacs = shared
    cohort = _labelled(pacs)
    found = pacs.sql(
        "select name, description, digest, patient_count, study_count, series_count, instance_count, snapshot, "
        "strftime(created_at, '%Y-%m-%dT%H:%M:%S.%gZ'), query_text from cohorts where name = 'labelled'"
    ).fetchall()
    assert found == [("labelled", "two of them", cohort.digest, 2, 2, 2, 4, cohort.snapshot, cohort.created_at, "")]
    members = pacs.sql(
        "select position, SeriesInstanceUID, member_columns ->> 'label', m.instance_count, digest, Modality "
        "from cohort_members m join series using (patient_key, StudyInstanceUID, SeriesInstanceUID) "
        "where cohort = 'labelled' order by position"
    ).fetchall()
    digests = [one.digest for one in cohort.members]
    assert members == [
        (0, "1.2.3.2.1", "sick", 2, digests[0], "CT"),
        (1, "1.2.3.1.1", "well", 2, digests[1], "CT"),
    ]
    asked = pacs.sql("select SeriesInstanceUID from series where Modality = $m", m="CT")
    assert len(pacs.freeze(asked, name="asked")) == 2
    found = pacs.sql("select query_text, query_params ->> 'm' from cohorts where name = 'asked'").fetchall()
    assert found == [(asked.query, "CT")]


def test_they_are_the_same_in_another_process_and_after_a_rebuild(pacs):
    _labelled(pacs)
    pacs.freeze(pacs.search("series"), name="all")
    both = "select columns(*)::varchar from cohorts join cohort_members on name = cohort order by all"
    expected = pacs.sql(both).fetchall()
    assert len(expected) == 4
    pacs.sync(rebuild=True)
    assert pacs.sql(both).fetchall() == expected
    code = "import researchpacs as rp, sys; print(len(rp.connect(sys.argv[1]).sql(sys.argv[2]).fetchall()))"
    done = subprocess.run([sys.executable, "-c", code, pacs.home, both], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "4"


def test_a_value_that_no_json_has_breaks_nothing(shared):
    asked = shared.sql("from series where KVP is distinct from $x", x=float("nan"))
    shared.freeze(asked, name="odd")
    assert shared.sql("select query_params ->> 'x' from cohorts where name = 'odd'").fetchall() == [("nan",)]


def test_what_a_query_may_say_of_a_person_is_not_shown(shared):
    shared.freeze(shared.sql("from series where PatientID = 'P1'"), name="one")
    assert "P1" not in repr(shared.sql("from cohorts where name = 'one'"))


def test_the_past_is_as_it_was_then(pacs):
    cohort = _labelled(pacs)
    assert cohort.as_of("select count(*) from instances").fetchall() == [(4,)]
    pacs.delete(pacs.series("1.2.3.1.1"))
    pacs.ingest(_instances(3, Modality="MR"))
    for asked in (cohort, pacs.cohort("labelled")):
        assert asked.as_of("select SeriesInstanceUID, Modality from series order by all").fetchall() == [
            ("1.2.3.1.1", "CT"),
            ("1.2.3.2.1", "CT"),
        ]
        joined = "select label, Modality from members join series using (SeriesInstanceUID) where label = $label"
        assert asked.as_of(joined, label="well").fetchall() == [("well", "CT")]
    assert pacs.sql("select SeriesInstanceUID from series order by all").fetchall() == [("1.2.3.2.1",), ("1.2.3.3.1",)]
    assert set(cohort.diff()["change"]) == {"removed"}


def test_nothing_can_be_changed_in_the_past(shared):
    cohort = _labelled(shared, "past")
    for query in ("delete from series", "use memory", "begin", "selec 1", "from nothing"):
        with pytest.raises(InvalidInputError):
            cohort.as_of(query)
    assert cohort.as_of("from series").df().shape[0] == 2


def test_pinned_snapshots_outlive_the_housekeeping(pacs):
    before = pacs.freeze(["1.2.3.1.1"], name="before")
    for number in (3, 4, 5):
        pacs.ingest(_instances(number))
        pacs.sync()
    after = pacs.freeze(pacs.search("series"), name="after")
    for number in (1, 3):
        pacs.delete(pacs.series(f"1.2.3.{number}.1"))
    pacs.ingest(_instances(6))
    now = pacs.sql("select SOPInstanceUID, tags from instances order by all").fetchall()
    home = pacs.archive.home
    pacs.catalog.close()
    con = engine(home.tmp / "spill", lake := HomeLake(home))
    attach(con, lake, read_only=False)
    held = con.execute("select count(*) from ducklake_snapshots('pacs')").fetchone()[0]
    tidy(con, keep_s=0)
    left = [row[0] for row in con.execute("select snapshot_id from ducklake_snapshots('pacs')").fetchall()]
    assert pinned_snapshots(con) == sorted({before.snapshot, after.snapshot})
    con.close()
    assert len(left) == 3 < held
    with rp.connect(pacs.home) as again:
        assert again.sql("select SOPInstanceUID, tags from instances order by all").fetchall() == now
        for name, series in (("before", 2), ("after", 5)):
            asked = again.cohort(name)
            assert asked.as_of("select count(*) from series").fetchall() == [(series,)]
            tags = asked.as_of("select SOPInstanceUID, tag(tags, 'Modality') from instances").fetchall()
            assert len(tags) == 2 * series
            assert {modality for _, modality in tags} == {"CT"}


def test_the_past_stands_after_a_rebuild_but_not_after_the_catalog_was_lost(pacs):
    cohort = _labelled(pacs)
    pacs.delete(pacs.series("1.2.3.1.1"))
    pacs.sync(rebuild=True)
    assert cohort.as_of("select count(*) from series").fetchall() == [(2,)]
    pacs.close()
    for path in pacs.home.glob("catalog.sqlite*"):
        path.unlink()
    with rp.connect(pacs.home) as again:
        # As many snapshots as there were: the number is there again, and is another's.
        for number in range(10, 10 + cohort.snapshot + 2):
            again.ingest(_instances(number))
            again.sync()
        kept = again.cohort("labelled")
        with pytest.raises(NotFoundError, match=r"made anew.*ledger"):
            kept.as_of("from series")
        assert kept.digest == cohort.digest
        assert kept.df()["label"].tolist() == ["sick", "well"]
        assert again.sql("select count(*) from cohort_members").fetchall() == [(2,)]


def test_a_cohort_is_frozen_from_one_state_while_others_write(pacs, monkeypatch):
    """Series come between the steps of freezing; members, files and counts are those of one snapshot."""
    from researchpacs.cohort import cohorts as module

    found = module.members_of

    def then_another_writes(source, catalog):
        members = found(source, catalog)
        other = threading.Thread(target=_write_elsewhere, args=(pacs.home,))
        other.start()
        other.join()
        return members

    monkeypatch.setattr(module, "members_of", then_another_writes)
    cohort = pacs.freeze(pacs.search("series"), name="all")
    assert len(cohort) == 2
    assert [step.series for step in cohort.attrition().steps] == [2, 2]
    assert cohort.as_of("select count(*) from series").fetchall() == [(2,)]
    assert pacs.sql("select count(*) from series").fetchall() == [(3,)]


def _write_elsewhere(home: Path) -> None:
    with rp.connect(home) as other:
        other.ingest(_instances(7))
        other.sync()
