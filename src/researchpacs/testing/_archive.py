"""The suite that every archive passes.

Subclass it in a test module and give it the back end:

    class TestMyArchive(ArchiveConformance):
        @pytest.fixture
        def archive(self, tmp_path):
            yield MyArchive(...)
"""

from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from researchpacs.archive import Archive, Subject
from researchpacs.dicom.header import read_header
from researchpacs.errors import InvalidInputError, NotFoundError, UnsupportedError
from researchpacs.ingest import incoming
from researchpacs.model import Change, Find, Incoming, Outcome
from researchpacs.testing._instances import small_ct

__all__ = ["ArchiveConformance"]


class ArchiveConformance:
    """Claims about an archive; `archive` is a fixture that gives an empty one.

    Its `capabilities` decide what is claimed: ``"delete"``; ``"original-headers"``, headers are a file's own bytes;
    ``"shared-uids"``, one UID under two patients names two instances; ``"labels"``, objects have labels.
    """

    # -- in and back out --------------------------------------------------------------------------------------------

    def test_bytes_come_back_bit_for_bit(self, archive: Archive, tmp_path: Path) -> None:
        (item,) = _checked(tmp_path, small_ct())
        assert item.blob is not None
        content = item.blob.read_bytes()
        assert [outcome.kind for outcome in archive.store([item])] == ["stored"]
        assert archive.read(item.identity.sop_uid) == content
        assert archive.read(item.identity.key) == content
        assert archive.read(item.identity.key, 100, 50) == content[100:150]
        assert archive.read(item.identity.key, len(content) - 3, 50) == content[-3:]
        assert archive.read(item.identity.key, len(content) + 3) == b""
        if "original-headers" in archive.capabilities:
            (location,) = archive.locate([item.identity.sop_uid])
            assert (location.size, location.header_length) == (len(content), item.header_length)
            assert archive.header(item.identity.key) == content[: item.header_length]

    def test_a_header_holds_the_attributes_and_no_pixels(self, archive: Archive, tmp_path: Path) -> None:
        ds = small_ct(StudyDescription="\u00e4ther", SpecificCharacterSet="ISO_IR 100")
        (item,) = _checked(tmp_path, ds)
        list(archive.store([item]))
        row = archive.rows([item.identity.key])[item.identity.key]
        header = read_header(
            archive.header(item.identity.key),
            dataset_offset=row.dataset_offset,
            transfer_syntax_uid=row.transfer_syntax_uid,
        )
        del ds.PixelData, ds.SpecificCharacterSet
        assert {element.tag: element.value for element in ds} == {tag: header[tag].value for tag in ds.keys()}  # noqa: SIM118
        assert "PixelData" not in header

    def test_every_item_gets_one_outcome(self, archive: Archive, tmp_path: Path) -> None:
        items = _checked(tmp_path, *(small_ct(number) for number in range(1, 8)))
        outcomes = list(archive.store(iter(items)))
        assert {outcome.identity for outcome in outcomes} == {item.identity for item in items}
        assert len(outcomes) == len(items)

    def test_the_same_again_is_a_duplicate_and_changes_nothing(self, archive: Archive, tmp_path: Path) -> None:
        _store(archive, tmp_path, small_ct())
        before = archive.last_change()
        (outcome,) = _store(archive, tmp_path, small_ct())
        assert outcome.kind == "duplicate"
        assert archive.last_change() == before

    def test_the_same_twice_in_one_call_is_stored_once(self, archive: Archive, tmp_path: Path) -> None:
        kinds = [outcome.kind for outcome in _store(archive, tmp_path, small_ct(), small_ct())]
        assert sorted(kinds) == ["duplicate", "stored"]

    def test_other_content_of_the_same_identity_is_a_conflict_and_the_first_stays(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        first = small_ct(seed=1)
        _store(archive, tmp_path, first)
        before = archive.read(first.SOPInstanceUID)
        outcomes = _store(archive, tmp_path, small_ct(seed=2)) + _store(archive, tmp_path, small_ct(seed=2))
        assert [outcome.kind for outcome in outcomes] == ["conflict", "conflict"]
        assert all(outcome.reason for outcome in outcomes)
        assert archive.read(first.SOPInstanceUID) == before
        (kept,) = archive.conflicts()
        assert kept.key == outcomes[0].identity.key  # type: ignore[union-attr]
        assert dcmread(kept.path).PixelData == small_ct(seed=2).PixelData
        assert kept.size == kept.path.stat().st_size

    def test_what_is_known_of_an_instance_comes_back(self, archive: Archive, tmp_path: Path) -> None:
        (item,) = _checked(tmp_path, small_ct())
        list(archive.store([item]))
        row = archive.rows([item.identity.key, "0" * 40])[item.identity.key]
        for name in ("identity", "sop_class_uid", "issues"):
            assert getattr(row, name) == getattr(item, name)
        # What a server does not tell is left open; it is never something else.
        assert row.transfer_syntax_uid in ("", item.transfer_syntax_uid)
        assert row.sha256 in (None, item.sha256)
        assert row.dataset_sha256 in (None, item.dataset_sha256)
        if "original-headers" in archive.capabilities:
            for name in ("transfer_syntax_uid", "size", "header_length", "dataset_offset"):
                assert getattr(row, name) == getattr(item, name)

    # -- names ------------------------------------------------------------------------------------------------------

    def test_instances_are_located_in_the_order_asked_for(self, archive: Archive, tmp_path: Path) -> None:
        uids = [ds.SOPInstanceUID for ds in (small_ct(3), small_ct(1), small_ct(2))]
        _store(archive, tmp_path, *(small_ct(number) for number in (1, 2, 3)))
        assert [location.sop_uid for location in archive.locate(uids)] == uids

    def test_what_is_not_there_is_not_found(self, archive: Archive) -> None:
        with pytest.raises(NotFoundError):
            archive.read("1.2.3")
        with pytest.raises(NotFoundError):
            archive.locate(["1.2.3"])
        with pytest.raises(NotFoundError):
            archive.delete("study", "1.2.3")
        assert dict(archive.rows(["1.2.3"])) == {}

    def test_a_uid_under_two_patients_is_kept_with_an_issue_and_names_neither(
        self, archive: Archive, tmp_path: Path
    ) -> None:
        (first,) = _store(archive, tmp_path, small_ct())
        (second,) = _store(archive, tmp_path, small_ct(PatientID="B"))
        assert first.identity is not None
        assert second.identity is not None
        if "shared-uids" not in archive.capabilities:
            assert second.kind == "conflict"
            return
        assert second.kind == "stored"
        with pytest.raises(InvalidInputError):
            archive.read(second.identity.sop_uid)
        with pytest.raises(InvalidInputError):
            archive.delete("instance", second.identity.sop_uid)
        assert archive.read(first.identity.key) != archive.read(second.identity.key)
        issues = archive.rows([second.identity.key])[second.identity.key].issues
        assert {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"} <= {issue.keyword for issue in issues}

    def test_an_empty_patient_id_is_one_patient_a_study(self, archive: Archive, tmp_path: Path) -> None:
        _store(archive, tmp_path, small_ct(1, PatientID=""), small_ct(2, PatientID="", StudyInstanceUID="1.2.3"))
        assert len(list(archive.find(Find("patient")))) == 2

    # -- find -------------------------------------------------------------------------------------------------------

    def test_find_matches_exactly_by_wildcard_any_of_and_range(self, archive: Archive, tmp_path: Path) -> None:
        _store(archive, tmp_path, *(small_ct(number, StudyDescription="a [1] b") for number in (1, 2, 9, 10)))

        def numbers(**filters: object) -> set[str]:
            return {row["InstanceNumber"] for row in archive.find(Find("instance", filters))}  # type: ignore[arg-type]

        assert numbers(InstanceNumber="9") == {"9"}
        assert numbers(InstanceNumber="1*") == {"1", "10"}
        assert numbers(InstanceNumber="1?") == {"10"}
        assert numbers(InstanceNumber="2", StudyDescription="a [1]*") == {"2"}
        assert numbers(StudyDescription="a [12]*") == set()
        assert numbers(InstanceNumber=["1", "9", "11"]) == {"1", "9"}
        assert numbers(InstanceNumber=[]) == set()
        assert numbers(InstanceNumber=("2", "9")) == {"2", "9"}
        assert numbers(InstanceNumber=("9", None)) == {"9", "10"}
        assert numbers(StudyDate=("20240201", "20240301"), Modality="CT", PatientID="A") == {"1", "2", "9", "10"}
        assert numbers(StudyDate=(None, "20231231")) == set()
        assert numbers(PatientName="' or true --") == set()

    def test_find_gives_one_row_an_object_with_its_parents_attributes(self, archive: Archive, tmp_path: Path) -> None:
        _store(archive, tmp_path, small_ct(1), small_ct(2), small_ct(3, SeriesInstanceUID="1.2.3", Modality="PT"))
        rows = list(archive.find(Find("series")))
        assert sorted(row["Modality"] for row in rows) == ["CT", "PT"]
        assert {(row["PatientID"], row["StudyDate"]) for row in rows} == {("A", "20240229")}
        assert [len(list(archive.find(Find(level)))) for level in ("patient", "study", "instance")] == [1, 1, 3]

    def test_find_pages(self, archive: Archive, tmp_path: Path) -> None:
        _store(archive, tmp_path, *(small_ct(number) for number in range(1, 6)))
        pages = [list(archive.find(Find("instance", limit=2, offset=offset))) for offset in (0, 2, 4)]
        assert [len(page) for page in pages] == [2, 2, 1]
        assert len({row["SOPInstanceUID"] for page in pages for row in page}) == 5

    def test_an_unknown_keyword_is_refused_with_the_nearest_spelling(self, archive: Archive) -> None:
        with pytest.raises(InvalidInputError, match="Modality"):
            list(archive.find(Find("series", {"Modalty": "CT"})))
        with pytest.raises(InvalidInputError):
            list(archive.find(Find("series", {"Modality'; drop table series; --": "CT"})))

    # -- changes ----------------------------------------------------------------------------------------------------

    def test_changes_are_announced_in_order_and_in_pages(self, archive: Archive, tmp_path: Path) -> None:
        feed_id, start = archive.last_change()
        for number in range(1, 6):
            _store(archive, tmp_path, small_ct(number))
        items, since = list[Change](), start
        while True:
            page = archive.changes(since, 2)
            assert page.feed_id == feed_id
            assert len(page.items) <= 2
            items += page.items
            since = page.last
            if page.done:
                break
        uids = [small_ct(number).SOPInstanceUID for number in range(1, 6)]
        assert [change.identity.sop_uid for change in items] == uids
        assert [change.key for change in items] == [change.identity.key for change in items]
        assert [change.seq for change in items] == sorted(change.seq for change in items)
        assert {change.kind for change in items} == {"stored"}
        assert archive.last_change() == (feed_id, since)
        assert archive.changes(since, 10).items == ()

    def test_deleting_removes_all_below_nothing_else_and_is_announced(self, archive: Archive, tmp_path: Path) -> None:
        other = "1.2.3"
        _store(archive, tmp_path, small_ct(1), small_ct(2), small_ct(3, SeriesInstanceUID=other))
        _, before = archive.last_change()
        if "delete" not in archive.capabilities:
            with pytest.raises(UnsupportedError):
                archive.delete("series", small_ct().SeriesInstanceUID)
            assert len(list(archive.find(Find("series")))) == 2
            return
        assert archive.delete("series", small_ct().SeriesInstanceUID) == 2
        assert [row["SeriesInstanceUID"] for row in archive.find(Find("series"))] == [other]
        changes = archive.changes(before, 10)
        assert [change.kind for change in changes.items] == ["deleted", "deleted"]
        with pytest.raises(NotFoundError):
            archive.read(small_ct(1).SOPInstanceUID)
        assert archive.read(small_ct(3).SOPInstanceUID)
        assert archive.delete("patient", "A") == 1
        assert [list(archive.find(Find(level))) for level in ("patient", "study", "series", "instance")] == [[]] * 4

    def test_what_was_deleted_can_be_stored_again(self, archive: Archive, tmp_path: Path) -> None:
        _store(archive, tmp_path, small_ct())
        if "delete" not in archive.capabilities:
            with pytest.raises(UnsupportedError):
                archive.delete("study", small_ct().StudyInstanceUID)
            return
        archive.delete("study", small_ct().StudyInstanceUID)
        _, before = archive.last_change()
        (outcome,) = _store(archive, tmp_path, small_ct())
        assert outcome.kind == "stored"
        assert [change.kind for change in archive.changes(before, 10).items] == ["stored"]
        assert archive.read(small_ct().SOPInstanceUID)

    def test_labels_are_kept_announced_and_go_with_their_object(self, archive: Archive, tmp_path: Path) -> None:
        if "labels" not in archive.capabilities:
            return
        (item,) = _checked(tmp_path, small_ct())
        list(archive.store([item]))
        subject = Subject.of("series", item.identity)
        _, before = archive.last_change()
        labels = archive.labels  # type: ignore[attr-defined]  # what has labels has this
        assert labels.add([subject], "seen", "good") == 2
        assert labels.add([subject], "seen") == 0
        assert [(one.subject, one.labels) for one in archive.label_changes(before)] == [(subject, ("good", "seen"))]
        _, then = archive.last_change()
        assert then > before
        assert labels.remove([subject], "seen") == 1
        assert labels.of(subject) == ["good"]
        with pytest.raises(InvalidInputError):
            labels.add([subject], "no label")
        archive.delete("series", item.identity.series_uid)
        assert [(one.subject, one.labels) for one in archive.label_changes(then)] == [(subject, ())]
        with pytest.raises(NotFoundError):
            labels.add([subject], "late")


def _checked(tmp_path: Path, *datasets: Dataset) -> list[Incoming]:
    """Instances as ingest hands them to an archive."""
    checked = list(incoming(list(datasets), tmp=tmp_path))
    assert all(isinstance(one, Incoming) for one in checked), checked
    return [one for one in checked if isinstance(one, Incoming)]


def _store(archive: Archive, tmp_path: Path, *datasets: Dataset) -> list[Outcome]:
    return list(archive.store(_checked(tmp_path, *datasets)))
