"""Archives behind the API of a real Orthanc pass the suite that every archive passes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from researchpacs.archive import Archive, open_remote
from researchpacs.config import Settings
from researchpacs.testing import ArchiveConformance

pytestmark = pytest.mark.server


def opened(url: str, home: Path) -> Iterator[Archive]:
    archive = open_remote(replace(Settings.load(), home=home), url)
    yield archive
    archive.close()


class TestOrthancArchive(ArchiveConformance):
    @pytest.fixture
    def archive(self, home: Path, orthanc) -> Iterator[Archive]:
        yield from opened(orthanc.url, home)

    def test_it_can_do_what_the_conformance_statement_says(self, archive: Archive) -> None:
        assert archive.capabilities == {"delete", "original-headers", "shared-uids"}


class TestDicomwebArchive(ArchiveConformance):
    @pytest.fixture
    def archive(self, home: Path, orthanc) -> Iterator[Archive]:
        yield from opened(orthanc.dicomweb_url, home)

    def test_it_can_do_what_the_conformance_statement_says(self, archive: Archive) -> None:
        assert archive.capabilities == set()
