"""Labels of a server, followed and changed by its clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import researchpacs as rp
from researchpacs._pacs import Pacs
from researchpacs.errors import InvalidInputError, UnsupportedError
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access
from researchpacs.testing import small_ct

pytestmark = pytest.mark.server

OTHER = "1.2.3"


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Pacs]:
    with rp.connect(tmp_path / "served") as pacs:
        pacs.ingest([small_ct(1), small_ct(2), small_ct(3, SeriesInstanceUID=OTHER)])
        yield pacs


@pytest.fixture
def url(served, local: Pacs) -> Iterator[str]:
    with served(create_app(local, access=Access())) as url:
        yield url


@pytest.fixture
def remote(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pacs]:
    monkeypatch.setenv("RESEARCHPACS_HOME", str(tmp_path / "home"))
    with rp.connect(f"orthanc+{url}/") as pacs:
        yield pacs


def test_a_label_of_the_server_is_found_at_its_level_alone_and_goes_with_it(local: Pacs, remote: Pacs) -> None:
    levels = ("patient", "study", "series", "instance")
    for level in levels:
        local.label(local.search(level), level, "all")
    remote.sync()
    for level in levels:
        found = remote.search(level, labels=level)
        assert [one.uid for one in found] == [one.uid for one in local.search(level)]
        assert [one.labels for one in found] == [["all", level]] * len(found)
        assert [len(remote.search(other, labels=level)) for other in levels if other != level] == [0, 0, 0]
    local.unlabel(local.search("series"), "all")
    remote.sync()
    assert len(remote.search("series", labels="all")) == 0
    assert len(remote.search("study", labels="all")) == 1
    assert len(remote.search("series", labels="series")) == 2


def test_a_label_that_is_put_here_is_at_the_server(local: Pacs, remote: Pacs) -> None:
    series = remote.series(OTHER)
    assert remote.label(series, "mine", "yours") == 2
    assert remote.label(series, "mine") == 0
    assert list(remote.search("series", labels="mine")) == [series]
    assert local.series(OTHER).labels == ["mine", "yours"]
    assert remote.unlabel(remote.series(OTHER), "yours") == 1
    assert local.series(OTHER).labels == ["mine"]
    assert len(remote.search("series", labels="yours")) == 0
    with pytest.raises(InvalidInputError):
        remote.label(series, "no label")
    assert local.series(OTHER).labels == ["mine"]


def test_a_new_client_sees_the_labels_there_are_until_they_go_with_what_is_deleted(local: Pacs, remote: Pacs) -> None:
    local.label(local.search("series"), "all")
    assert len(remote.search("series", labels="never")) == 0
    assert len(remote.search("series", labels="all")) == 2
    local.delete(local.series(OTHER))
    assert len(remote.search("series", labels="all")) == 1
    assert remote.sql("select count(*) from labels").fetchall() == [(1,)]


def test_a_dicomweb_server_has_no_labels_and_says_so(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESEARCHPACS_HOME", str(tmp_path / "home"))
    with rp.connect(f"dicomweb+{url}/dicom-web") as pacs:
        with pytest.raises(UnsupportedError):
            len(pacs.search("series", labels="qc-ok"))
        with pytest.raises(UnsupportedError):
            pacs.label(pacs.search("series"), "qc-ok")
