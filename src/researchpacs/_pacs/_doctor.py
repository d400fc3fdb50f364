"""Whether a home is sound: the quick questions, where `verify` reads every file."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from researchpacs.errors import ResearchPacsError

if TYPE_CHECKING:
    from researchpacs.archive import EmbeddedArchive
    from researchpacs.catalog import Catalog

__all__ = ["DoctorReport", "Finding", "examine"]

_LEAST_FREE_BYTES = 1 << 30
_EXTRAS = {
    "server": "starlette",
    "dimse": "pynetdicom",
    "mesh": "vtkmodules",
    "pdf": "pypdf",
    "polars": "polars",
    "postgres": "duckdb_extension_postgres_scanner",
    "s3": "duckdb_extension_httpfs",
    "zarr": "zarr",
}
"""A module of each extra."""
_REBUILD = "make it anew with `researchpacs sync --rebuild`: it holds nothing that the archive does not"
_COUNTS = """
select
    (select count(*) from instances_own),
    (select coalesce(sum(instance_count), 0) from series),
    (select coalesce(sum(instance_count), 0) from studies),
    (select coalesce(sum(instance_count), 0) from patients),
    (select count(*) from series) - (select count(*) from series_common)
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question."""

    check: str
    ok: bool
    what: str
    """One sentence, with the next step where it is not well."""


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """What `examine` found."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing has to be done."""
        return all(one.ok for one in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"ok": self.ok, "findings": [asdict(one) for one in self.findings]}

    def __str__(self) -> str:
        return "\n".join(f"{'ok ' if one.ok else 'BAD'}  {one.check}: {one.what}" for one in self.findings)


def examine(catalog: "Catalog", archive: "EmbeddedArchive") -> DoctorReport:
    """Ask every question, whatever the others found; only the catalog is changed, which is brought up to date."""
    questions: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("disk", lambda: _disk(archive)),
        ("ledger", lambda: _ledger(archive)),
        ("catalog", lambda: _catalog(archive, catalog)),
        ("extras", _extras),
    )
    found: list[Finding] = []
    for check, ask in questions:
        try:
            found += ask()
        except ResearchPacsError as error:
            found.append(Finding(check, ok=False, what=str(error)))
    return DoctorReport(tuple(found))


def _disk(archive: "EmbeddedArchive") -> Iterator[Finding]:
    free = shutil.disk_usage(archive.home.path).free
    enough = free >= _LEAST_FREE_BYTES
    advice = "" if enough else "; ingest will stop soon: make room"
    yield Finding("disk", enough, f"{free / (1 << 30):.1f} GiB free{advice}")


def _ledger(archive: "EmbeddedArchive") -> Iterator[Finding]:
    with archive.ledger.reading() as con:
        (answer,) = con.execute("pragma quick_check(1)").fetchone()
        (count,) = con.execute("select count(*) from instances").fetchone()
    sound = answer == "ok"
    what = f"{count} instances" if sound else "the database is damaged; restore it from a backup"
    yield Finding("ledger", sound, what)


def _catalog(archive: "EmbeddedArchive", catalog: "Catalog") -> Iterator[Finding]:
    with archive.ledger.reading() as con:
        (stored,) = con.execute("select count(*) from instances").fetchone()
    lost = catalog.lost_files()
    if lost:
        yield Finding("catalog", ok=False, what=f"{lost} of its files are missing or cut off; {_REBUILD}")
        return
    ((own, series, studies, patients, unshared),) = catalog.sql(_COUNTS).fetchall()
    if {own, series, studies, patients} == {own} and not unshared and own >= stored:
        ((odd,),) = catalog.sql("select count(distinct instance_key) from issues").fetchall()
        made_anew = "; it was lost or damaged, and was made anew just now" if catalog.mended else ""
        what = f"{own} instances in {catalog.place}, of which {odd} have a row in issues{made_anew}"
        yield Finding("catalog", ok=True, what=what)
    else:
        found = f"the ledger has {stored} instances, its tables {own}, {series}, {studies} and {patients}"
        yield Finding("catalog", ok=False, what=f"{found}; {_REBUILD}")


def _extras() -> Iterator[Finding]:
    missing = [name for name, module in _EXTRAS.items() if find_spec(module) is None]
    advice = f"not installed: {', '.join(missing)}; pip install 'researchpacs[all]'" if missing else "all are installed"
    yield Finding("extras", ok=True, what=advice)
