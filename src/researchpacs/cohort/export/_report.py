"""`ExportReport`: what an export wrote, or would write."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from researchpacs.cohort.export._items import Item

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ExportReport", "Exported"]


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of one member."""

    item: Item
    path: str = ""
    """Of its file or folder, the first of several, from the folder of the export; empty where there is none."""
    files: tuple[tuple[str, int, str], ...] = ()
    """Path, bytes and SHA-256 of each file; empty in a dry run."""
    bytes: int = 0
    """Of all its files; in a dry run at most, for compression is not tried."""
    error: str | None = None
    cause: BaseException | None = field(default=None, repr=False)
    """What was raised, for whoever looks into it."""
    was_there: bool = False
    """Whether an earlier run wrote it."""

    def root_of(self, name: str) -> str:
        """The file or folder that one of its files belongs to, as deep as `path` is."""
        return "/".join(name.split("/")[: self.path.count("/") + 1])


class ExportReport:
    """What an export wrote, or in a dry run would write; `df()` has a row per series."""

    def __init__(self, folder: Path, written: str, rows: Sequence[Exported], *, dry_run: bool) -> None:
        self.folder = folder
        self.format = written
        self.dry_run = dry_run
        self.rows = tuple(rows)

    @property
    def ok(self) -> bool:
        """Whether all series are exported, or can be."""
        return all(one.error is None for one in self.rows)

    @property
    def series(self) -> int:
        """Series that are exported."""
        return sum(one.error is None for one in self.rows)

    @property
    def failed(self) -> int:
        """Series that are not; `df()` says why."""
        return len(self.rows) - self.series

    @property
    def was_there(self) -> int:
        """Series that an earlier run had written."""
        return sum(one.was_there for one in self.rows)

    @property
    def bytes(self) -> int:
        """Of all files of series; in a dry run of other formats than DICOM before compression."""
        return sum(one.bytes for one in self.rows)

    def df(self) -> "pd.DataFrame":
        """One row per series: its numbers in the export, UIDs, path, files, bytes, error."""
        import pandas as pd

        return pd.DataFrame([_row(one) for one in self.rows])

    def __repr__(self) -> str:
        done = "would export" if self.dry_run else "exported"
        more = f", {self.failed} failed" if self.failed else ""
        before = f" ({self.was_there} were there)" if self.was_there else ""
        return f"<ExportReport: {done} {self.series} series{before}, {self.bytes / 1e6:.1f} MB as {self.format}{more}>"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>"


def _row(one: Exported) -> dict[str, Any]:
    return {
        "patient": one.item.patient,
        "study": one.item.study,
        "series": one.item.series,
        "StudyInstanceUID": one.item.member.study_uid,
        "SeriesInstanceUID": one.item.member.series_uid,
        "path": one.path,
        "files": len(one.files),
        "bytes": one.bytes,
        "error": one.error,
    }
