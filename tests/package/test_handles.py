"""Handles know whom they belong to, also where two patients share a UID."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import researchpacs as rp
from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.testing import small_ct

UIDS = {"StudyInstanceUID": "1.2.1", "SeriesInstanceUID": "1.2.1.1", "SOPInstanceUID": "1.2.1.1.1"}


@pytest.fixture
def pacs(home: Path):
    with rp.connect(home) as pacs:
        yield pacs


def _ids(handles) -> list[str | None]:
    return sorted((one.PatientID for one in handles), key=str)


def test_handles_lead_only_to_their_own_where_a_uid_is_shared(pacs: rp.Pacs):
    pacs.ingest([small_ct(1, PatientID="A", **UIDS), small_ct(1, PatientID="B", **UIDS)])

    for study in pacs.search("study"):
        assert _ids(study.series) == [study.PatientID]
    for series in pacs.search("series"):
        assert _ids(series.instances) == [series.PatientID]
        assert series.study.PatientID == series.header().PatientID == series.PatientID
        assert pacs.delete(series, dry_run=True) == 1
    instance = pacs.search("instance", PatientID="A").one()
    assert instance.series.PatientID == "A"
    assert pacs.delete(instance) == 1
    assert _ids(pacs.search("series")) == ["B"]


def test_a_patient_without_an_identifier_has_its_study(pacs: rp.Pacs):
    pacs.ingest([small_ct(1, PatientID="", **UIDS), small_ct(1, PatientID="", StudyInstanceUID="1.2.2")])

    patients = list(pacs.search("patient"))
    assert [len(patient.studies) for patient in patients] == [1, 1]
    assert len(set(patients)) == 2
    assert pacs.delete(patients[0], dry_run=True) == pacs.delete(patients[0]) == 1
    assert len(pacs.search("patient")) == 1


def test_what_is_named_twice_is_deleted_once(pacs: rp.Pacs):
    pacs.ingest([small_ct(1, **UIDS), small_ct(2, **{**UIDS, "SOPInstanceUID": "1.2.1.1.2"})])

    series = pacs.search("series").one()
    targets = [series.instances[0], series, series, series.study]
    assert pacs.delete(targets, dry_run=True) == 2
    assert pacs.delete(targets) == 2
    with pytest.raises(NotFoundError):
        pacs.delete(series)


@pytest.mark.parametrize("target", [None, 1, "1.2.3", ["1.2.3"], [None]])
def test_only_handles_are_deleted(pacs: rp.Pacs, target: object):
    with pytest.raises(InvalidInputError, match="handles"):
        pacs.delete(target)  # type: ignore[arg-type]


def test_a_handle_stands_for_its_own_uids(pacs: rp.Pacs):
    pacs.ingest([small_ct(1, **UIDS), small_ct(2, StudyInstanceUID="1.2.2", SeriesInstanceUID="1.2.2.1")])

    series = pacs.series("1.2.2.1")
    assert pacs.search("study", StudyInstanceUID=series).one() == series.study
    with pytest.raises(InvalidInputError, match="SeriesInstanceUID"):
        pacs.search("series", SeriesInstanceUID=series.study)
    assert pacs.sql("select count(*) from series where SeriesInstanceUID = $query", query=series).fetchall() == [(1,)]


def test_past_the_last_hit_the_error_says_what_to_do(pacs: rp.Pacs):
    with pytest.raises(NotFoundError, match=r"first\(\)") as caught:
        pacs.search("series")[0]
    assert isinstance(caught.value, IndexError)


def test_a_closed_pacs_answers_nothing_more(pacs: rp.Pacs):
    pacs.ingest(small_ct(1, **UIDS))
    series = pacs.search("series").one()
    pacs.close()
    assert "closed" in repr(pacs)
    for ask in (
        lambda: len(pacs.search()),
        lambda: pacs.sql("select 1"),
        lambda: pacs.ingest(small_ct(2)),
        pacs.verify,
        pacs.sync,
        series.header,
        lambda: series.study,
        lambda: series.geometry,
        lambda: pacs.delete(series),
    ):
        with pytest.raises(InvalidInputError, match="closed"):
            ask()
    pacs.close()


def test_an_identifier_given_for_a_uid_is_not_repeated(pacs: rp.Pacs):
    with pytest.raises(NotFoundError) as caught:
        pacs.series("MRN4711")
    assert "4711" not in str(caught.value)
    with pytest.raises(NotFoundError, match=r"1\.2\.840"):
        pacs.series("1.2.840")


def test_a_uid_or_its_beginning_finds_what_is_stored_now(pacs: rp.Pacs):
    pacs.ingest([small_ct(number, **{**UIDS, "SOPInstanceUID": f"1.2.1.1.{number}"}) for number in (10, 2, 1)])
    series, study = pacs.series("1.2.1.1"), pacs.study("1.2")

    assert (series.uid, study.uid) == ("1.2.1.1", "1.2.1")
    assert series == pacs.search("series").one()
    assert study == pacs.search("study").one() == series.study
    assert [one.InstanceNumber for one in series.instances] == [1, 2, 10]
    assert series.instances == list(series.below("instance", order="InstanceNumber"))
    assert series.attributes() == pacs.search("series").one().attributes()

    with rp.connect(pacs.home) as another:  # as another process has it
        another.ingest(small_ct(3, **{**UIDS, "SOPInstanceUID": "1.2.1.1.3"}))
        another.ingest(small_ct(4, StudyInstanceUID="1.2.10", SeriesInstanceUID="1.2.10.1", SOPInstanceUID="1.2.9"))
        assert [one.InstanceNumber for one in series.instances] == [1, 2, 3, 10]
        assert pacs.study("1.2.1").uid == "1.2.1"
        with pytest.raises(InvalidInputError, match="more than one"):
            pacs.study("1.2.")
        later, gone = pacs.series("1.2.10.1"), pacs.series("1.2.10.1").instances
        another.delete(another.study("1.2.10"))

    assert later.instances == []
    for one in (later, *gone):
        with pytest.raises(NotFoundError, match="deleted"):
            _ = one.PatientSex
    with pytest.raises(NotFoundError):
        pacs.series("1.2.10.1")


def test_a_handle_travels_to_another_process_without_what_it_knows_of_a_person(pacs: rp.Pacs, tmp_path: Path):
    pacs.ingest([small_ct(number, **{**UIDS, "SOPInstanceUID": f"1.2.1.1.{number}"}) for number in (1, 2)])
    series = pacs.search("series").one()
    name = str(pacs.search("study", limit=1).df(columns=["PatientName"])["PatientName"][0])
    sent = pickle.dumps([series, series.study, series.instances[1]])
    assert name
    assert name.encode() not in sent

    back = pickle.loads(sent)
    assert back == [series, series.study, series.instances[1]]
    assert back[0].Modality == "CT"
    assert rp.open_volume(back[0]).compute().identical(rp.read_volume(series))

    (tmp_path / "sent").write_bytes(sent)
    there = (
        "import pathlib, pickle, sys, researchpacs as rp\n"
        "series, study, instance = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "print(series.uid, instance.InstanceNumber, rp.read_volume(series).sum().item())"
    )
    found = subprocess.run(
        [sys.executable, "-c", there, tmp_path / "sent"], capture_output=True, text=True, check=True, timeout=120
    )
    expected = [series.uid, "2", str(rp.read_volume(series).sum().item())]
    assert found.stdout.split() == expected


def test_a_handle_of_a_closed_archive_opens_it_where_it_arrives(home: Path):
    with rp.connect(home) as pacs:
        pacs.ingest(small_ct(1, **UIDS))
        sent = pickle.dumps(pacs.search("series").one())
    assert pickle.loads(sent).instance_count == 1
