"""What is kept beside instances: labels, metadata and attachments, gone with their objects and guarded by revisions."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from researchpacs.archive import EmbeddedArchive
from researchpacs.archive._attachments import Attachments
from researchpacs.archive._labels import Labels
from researchpacs.archive._metadata import Metadata
from researchpacs.archive._subject import Subject
from researchpacs.errors import ConflictError, InvalidInputError, NotFoundError
from researchpacs.ingest import ingest
from researchpacs.model import Identity, Level
from researchpacs.storage.home import Home
from researchpacs.testing import small_ct

LEVELS: tuple[Level, ...] = ("patient", "study", "series", "instance")


@pytest.fixture
def archive(home: Path) -> Iterator[EmbeddedArchive]:
    archive = EmbeddedArchive(Home.open(home))
    ingest([small_ct(1), small_ct(2)], store=archive.store, home=archive.home)
    yield archive
    archive.close()


def _subject(level: Level, number: int = 1) -> Subject:
    ds = small_ct(number)
    identity = Identity("A", "", ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    return Subject.of(level, identity)


# -- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_a_label_is_put_on_an_object_once_and_taken_off(archive: EmbeddedArchive, level: Level) -> None:
    labels = Labels(archive.ledger)
    assert labels.add([_subject(level)], "qc-ok", "b_2") == 2
    assert labels.add([_subject(level)], "qc-ok") == 0
    assert labels.of(_subject(level)) == ["b_2", "qc-ok"]
    assert [labels.of(_subject(other)) for other in LEVELS if other != level] == [[], [], []]
    assert labels.known() == ["b_2", "qc-ok"]
    assert labels.labelled(level, "qc-ok") == {_subject(level)}
    assert labels.remove([_subject(level)], "qc-ok", "never") == 1
    assert labels.of(_subject(level)) == ["b_2"]


@pytest.mark.parametrize("label", ["", "a b", "a/b", "\u00e4", "x" * 65, "a\n", "'--"])
def test_what_is_no_label_is_refused(archive: EmbeddedArchive, label: str) -> None:
    with pytest.raises(InvalidInputError):
        Labels(archive.ledger).add([_subject("study")], label)


def test_nothing_is_labelled_where_one_object_is_not_there(archive: EmbeddedArchive) -> None:
    labels = Labels(archive.ledger)
    with pytest.raises(NotFoundError):
        labels.add([_subject("instance"), _subject("instance", 9)], "a")
    assert labels.known() == []


def test_a_label_is_a_change_of_the_feed_and_its_end_too(archive: EmbeddedArchive) -> None:
    labels = Labels(archive.ledger)
    _, before = archive.last_change()
    labels.add([_subject("series"), _subject("study")], "b", "a")
    _, between = archive.last_change()
    assert between > before
    assert {change.subject: change.labels for change in labels.changed_since(before)} == {
        _subject("series"): ("a", "b"),
        _subject("study"): ("a", "b"),
    }
    labels.add([_subject("series")], "a")
    assert archive.last_change()[1] == between, "nothing changed"
    archive.delete("study", small_ct().StudyInstanceUID)
    gone = labels.changed_since(between)
    assert {(change.subject, change.labels) for change in gone} == {(_subject("series"), ()), (_subject("study"), ())}


# -- metadata ---------------------------------------------------------------------------------------------------------


def test_metadata_has_revisions_that_guard_against_lost_updates(archive: EmbeddedArchive) -> None:
    metadata = Metadata(archive.ledger)
    study = _subject("study")
    first = metadata.put(study, "1024", b"one")
    second = metadata.put(study, "1024", b"two", seen=first)
    assert (first.number, second.number, second.md5) == (0, 1, hashlib.md5(b"two").hexdigest())
    for stale in (first, second._replace(md5=first.md5)):
        with pytest.raises(ConflictError):
            metadata.put(study, "1024", b"three", seen=stale)
    assert metadata.get(study, "1024") == (b"two", second)
    assert metadata.names(study) == ["1024"]
    with pytest.raises(ConflictError):
        metadata.remove(study, "1024", seen=first)
    metadata.remove(study, "1024", seen=second)
    for call in (metadata.get, metadata.remove):
        with pytest.raises(NotFoundError):
            call(study, "1024")
    with pytest.raises(ConflictError):
        metadata.put(study, "1024", b"x", seen=second)
    with pytest.raises(InvalidInputError):
        metadata.put(study, "1024", bytes((1 << 20) + 1))


# -- attachments ------------------------------------------------------------------------------------------------------


def test_an_attachment_comes_back_bit_for_bit_and_is_replaced_by_revision(archive: EmbeddedArchive) -> None:
    attachments = Attachments(archive.home, archive.ledger)
    series = _subject("series")
    first = attachments.put(series, "1024", [b"abc", b"def"])
    assert (first.revision.number, first.size, first.path.read_bytes()) == (0, 6, b"abcdef")
    second = attachments.put(series, "1024", [b"xyz"], seen=first.revision)
    assert attachments.get(series, "1024") == second
    assert not first.path.exists(), "nobody needs the old content"
    with pytest.raises(ConflictError):
        attachments.put(series, "1024", [b"no"], seen=first.revision)
    assert attachments.get(series, "1024").path.read_bytes() == b"xyz"
    attachments.remove(series, "1024", seen=second.revision)
    assert attachments.of(series) == []
    assert not second.path.exists()


def test_content_attached_twice_is_kept_once_and_as_long_as_one_needs_it(archive: EmbeddedArchive) -> None:
    attachments = Attachments(archive.home, archive.ledger)
    one = attachments.put(_subject("instance", 1), "a", [b"same"])
    two = attachments.put(_subject("instance", 2), "b", [b"same"])
    assert one.path == two.path
    attachments.remove(_subject("instance", 1), "a")
    assert two.path.read_bytes() == b"same"
    archive.delete("instance", small_ct(2).SOPInstanceUID)
    attachments.put(_subject("instance", 1), "c", [b"other"])
    assert not two.path.exists(), "swept by the next that attaches"


def test_a_refused_attachment_leaves_nothing(archive: EmbeddedArchive) -> None:
    with pytest.raises(NotFoundError):
        Attachments(archive.home, archive.ledger).put(_subject("instance", 9), "a", [b"lost"])
    assert not archive.home.attachments.exists()
    assert [path.name for path in archive.home.tmp.iterdir()] == ["sweep.lock"]


def test_what_is_beside_an_object_goes_with_it_and_nothing_else(archive: EmbeddedArchive) -> None:
    metadata, attachments = Metadata(archive.ledger), Attachments(archive.home, archive.ledger)
    for subject in (*(_subject(level) for level in LEVELS), _subject("instance", 2)):
        metadata.put(subject, "n", b"v")
        attachments.put(subject, "n", [b"v"])
    archive.delete("instance", small_ct(1).SOPInstanceUID)
    left = [_subject("patient"), _subject("study"), _subject("series"), _subject("instance", 2)]
    assert all(metadata.names(subject) == ["n"] and attachments.of(subject) for subject in left)
    assert metadata.names(_subject("instance")) == []
    archive.delete("patient", "A")
    assert not any(metadata.names(subject) or attachments.of(subject) for subject in left)
