"""The embedded archive passes the suite that every archive passes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from researchpacs.archive import EmbeddedArchive
from researchpacs.storage.home import Home
from researchpacs.testing import ArchiveConformance


class TestEmbeddedArchive(ArchiveConformance):
    @pytest.fixture
    def archive(self, home: Path) -> Iterator[EmbeddedArchive]:
        archive = EmbeddedArchive(Home.open(home))
        yield archive
        archive.close()
