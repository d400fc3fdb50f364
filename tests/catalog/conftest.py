"""A catalog over a real archive, filled with real files or small made ones."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from researchpacs.archive import EmbeddedArchive
from researchpacs.catalog import Catalog
from researchpacs.config import FILE, Settings
from researchpacs.ingest import ingest
from researchpacs.storage.home import Home

from .servers import BUCKET, Servers, running

REAL = ("charset", "dicomdir", "mr_enhanced", "highdicom_seg_sr_sm_ann", "misc_pydicom", "transfer_syntaxes_ct")


class Filled:
    """An archive with its catalog, which lies in the home or where servers are given."""

    def __init__(self, path: Path, servers: Servers | None = None) -> None:
        self.servers = servers
        self.home = Home.open(path)
        if servers:
            (path / FILE).touch(0o600)
            (path / FILE).write_text(servers.settings())
        self.archive = EmbeddedArchive(self.home)
        self.catalog = self._opened()

    def _opened(self) -> Catalog:
        return Catalog(self.home, self.archive, Settings.load(self.home.path).catalog)

    def take(self, sources: Any) -> None:
        """Ingest what is there; what is refused is no concern here."""
        ingest(sources, store=self.archive.store, home=self.home, progress=False)

    def reopen(self) -> None:
        """As another process would find the catalog."""
        self.catalog.close()
        self.catalog = self._opened()

    def close(self) -> None:
        self.catalog.close()
        self.archive.close()

    @property
    def rounds(self) -> int:
        """How often a test repeats what takes long; in the home the same is repeated anyway."""
        return 1 if self.servers and not os.environ.get("RESEARCHPACS_SOAK") else 3

    @property
    def schema(self) -> str:
        """Of the catalog in the database, and its folder in the store."""
        return self.catalog.place.rpartition("/")[2]

    def spoil(self) -> None:
        """Make of the metadata what no program can read."""
        if self.servers:
            self.servers.psql(f"drop table {self.schema}.ducklake_metadata, {self.schema}.ducklake_snapshot")
        else:
            for path in self.home.path.glob("catalog.sqlite*"):
                path.write_bytes(b"not a database, but long enough to be taken for one" * 100)

    def lose(self) -> None:
        """Remove the metadata."""
        if self.servers:
            self.servers.psql(f"drop schema {self.schema} cascade")
        else:
            for path in self.home.path.glob("catalog.sqlite*"):
                path.unlink()

    def files(self) -> list[str]:
        """The Parquet files."""
        if self.servers:
            return self.servers.files(f"catalogs/{self.schema}/")
        return [str(path) for path in self.home.catalog_data.rglob("*.parquet")]

    def lose_files(self) -> None:
        """Remove the Parquet files."""
        for name in self.files():
            if self.servers:
                self.servers.s3.delete_object(Bucket=BUCKET, Key=name)
            else:
                Path(name).unlink()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL and a store."""
    with running() as servers:
        yield servers


FORMS = ["in the home", "scaled out"]
"""Where a catalog may lie: what is claimed of it holds in both places."""


@pytest.fixture(params=FORMS)
def either(home: Path, request: pytest.FixtureRequest) -> Iterator[Filled]:
    """An empty archive and its catalog, in the home and once more in PostgreSQL and S3."""
    made = Filled(home, request.getfixturevalue("servers") if request.param == "scaled out" else None)
    yield made
    made.close()


@pytest.fixture
def elsewhere(home: Path, servers: Servers) -> Iterator[Filled]:
    """An empty archive and its catalog in PostgreSQL and S3."""
    made = Filled(home, servers)
    yield made
    made.close()


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
