"""An archive behind our own server passes, by Orthanc's API and by DICOMweb, the suite that every archive passes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import researchpacs as rp
from researchpacs.archive import Archive, open_remote
from researchpacs.config import Settings
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access
from researchpacs.testing import ArchiveConformance

pytestmark = pytest.mark.server


@pytest.fixture
def root(served, tmp_path: Path) -> Iterator[str]:
    with rp.connect(tmp_path / "served") as pacs, served(create_app(pacs, access=Access())) as url:
        yield url


def opened(url: str, home: Path) -> Iterator[Archive]:
    archive = open_remote(replace(Settings.load(), home=home), url)
    yield archive
    archive.close()


class TestOrthancDoor(ArchiveConformance):
    @pytest.fixture
    def archive(self, home: Path, root: str) -> Iterator[Archive]:
        yield from opened(f"orthanc+{root}/", home)

    def test_it_can_do_what_the_conformance_statement_says(self, archive: Archive) -> None:
        assert archive.capabilities == {"delete", "label-feed", "labels", "original-headers", "shared-uids"}


class TestDicomwebDoor(ArchiveConformance):
    @pytest.fixture
    def archive(self, home: Path, root: str) -> Iterator[Archive]:
        yield from opened(f"dicomweb+{root}/dicom-web", home)

    def test_it_can_do_what_the_conformance_statement_says(self, archive: Archive) -> None:
        assert archive.capabilities == {"delete"}


def test_a_volume_from_our_server_equals_that_of_the_folder_it_serves(
    served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RESEARCHPACS_HOME", str(tmp_path / "home"))
    with rp.connect(tmp_path / "served") as local, served(create_app(local, access=Access())) as url:
        local.ingest(rp.datasets.path("chest_ct"))
        expected = rp.read_volume(local.search("series").first())
        for remote in (f"orthanc+{url}/", f"dicomweb+{url}/dicom-web"):
            with rp.connect(remote) as pacs:
                assert rp.read_volume(pacs.search("series").first()).identical(expected)
