"""A catalog over a real archive, filled with real files or small made ones."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from researchpacs.archive import EmbeddedArchive
from researchpacs.catalog import Catalog
from researchpacs.ingest import ingest
from researchpacs.storage.home import Home

REAL = ("charset", "dicomdir", "mr_enhanced", "highdicom_seg_sr_sm_ann", "misc_pydicom", "transfer_syntaxes_ct")


class Filled:
    """An archive with its catalog."""

    def __init__(self, path: Path) -> None:
        self.home = Home.open(path)
        self.archive = EmbeddedArchive(self.home)
        self.catalog = Catalog(self.home, self.archive)

    def take(self, sources: Any) -> None:
        """Ingest what is there; what is refused is no concern here."""
        ingest(sources, store=self.archive.store, home=self.home, progress=False)

    def reopen(self) -> None:
        """As another process would find the catalog."""
        self.catalog.close()
        self.catalog = Catalog(self.home, self.archive)

    def close(self) -> None:
        self.catalog.close()
        self.archive.close()


@pytest.fixture
def filled(home: Path) -> Iterator[Filled]:
    """An empty archive and its catalog."""
    made = Filled(home)
    yield made
    made.close()


@pytest.fixture(scope="session")
def real(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A hundred real instances of all kinds; tests only read it."""
    made = Filled(tmp_path_factory.mktemp("catalog") / "home")
    made.take([real_data / name for name in REAL])
    yield made
    made.close()


def contents(catalog: Catalog, *, without: Iterable[str] = ()) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, in an order that does not depend on how they came there."""
    tables = [name for name in catalog.schema().tables if name not in without]
    return {
        name: sorted(catalog.sql(f"select columns(*)::varchar from {name}").fetchall(), key=repr) for name in tables
    }
