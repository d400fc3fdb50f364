"""`Pacs`: the archive, its catalog and the rooms around them behind one object; composes, decides nothing."""

import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, cast, overload

from researchpacs._pacs._federation import Federation
from researchpacs._pacs._handles import Handle, Instance, Patient, Series, Study, apart, as_handle, as_handles
from researchpacs._pacs._one import one_of
from researchpacs.archive import open_archive, open_remote
from researchpacs.catalog import Catalog, filled_beside
from researchpacs.config import Settings
from researchpacs.errors import InvalidInputError
from researchpacs.model import Find, Level
from researchpacs.search import Search

if TYPE_CHECKING:
    from pydicom import Dataset

    from researchpacs.annotation import Annotation
    from researchpacs.archive import BackupReport, EmbeddedArchive, VerifyReport
    from researchpacs.catalog import Result, Schema, SyncReport
    from researchpacs.cohort import Cohort, Cohorts
    from researchpacs.ingest import IngestReport
    from researchpacs.search._filters import Filters
    from researchpacs.viewer import Viewer, Window

__all__ = ["OPEN", "Pacs"]

OPEN: "weakref.WeakSet[Pacs]" = weakref.WeakSet()
"""Those that this process has open."""


class Pacs(Federation):
    """An open archive; made by `connect`.

    Everything that needs the archive is a method here. Also a context manager.
    """

    def __init__(self, settings: Settings, *, url: str | None = None) -> None:
        self._settings = settings
        self._archive = open_archive(settings) if url is None else cast("EmbeddedArchive", open_remote(settings, url))
        self._closed = False
        self.catalog = Catalog(self._archive.home, self._archive, settings.catalog)
        OPEN.add(self)

    @property
    def archive(self) -> "EmbeddedArchive":
        """What keeps the instances.

        Behind a server's API a `RemoteArchive`, which has no ledger of labels, metadata, attachments and jobs.
        """
        if self._closed:
            raise InvalidInputError(f"the archive in {self.home} was closed; connect() opens it again")
        return self._archive

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def home(self) -> Path:
        """The folder of the archive."""
        return self._archive.home.path

    # -- in and out ----------------------------------------------------------------------------------------------------

    def ingest(
        self,
        sources: Any,
        *,
        copy: bool = True,
        convert: Mapping[str, Any] | None = None,
        progress: bool | None = None,
    ) -> "IngestReport":
        """Take instances in: the only door.

        Parameters
        ----------
        sources
            A file, folder, zip archive, pydicom Dataset, annotation, or a list of these. Folders are walked to the
            ground whatever the files are called.
        copy
            False leaves the files where they are and keeps references; they are never touched.
        convert
            Options of `researchpacs.to_dicom`, such as ``{"like": study, "modality": "MR"}``: makes instances of NIfTI,
            PNG, JPEG, PDF, STL and MP4 files among the sources. Without it these are refused.
        progress
            Show a bar; by default in a notebook and on a terminal.

        Returns
        -------
        report
            Counts, `df()` with one row per input, `series` with handles of all that was touched.

        Raises
        ------
        InvalidInputError
            An input named directly is refused; one found by walking is a row of the report.
        ConflictError
            An input named directly has the identity of a stored instance and other content; it is kept aside.
        """
        from researchpacs.convert import file_converter
        from researchpacs.ingest import ingest

        with filled_beside(self.archive, self._settings) as store:
            return ingest(
                sources,
                store=store,
                home=self.archive.home,
                copy=copy,
                workers=self._settings.workers,
                progress=progress,
                adapters=(self._annotation_datasets,),
                convert=file_converter(convert),
                as_series=self._series_of,
            )

    def delete(self, target: Handle | Iterable[Handle], *, dry_run: bool = False) -> int:
        """Remove objects and all below them; the number of instances removed, or that would be.

        Files that the archive only refers to (``copy=False``) stay where they are.
        """
        handles, count = apart(target, of=self.home)
        if dry_run:
            return count
        removed = sum(self.archive.delete(handle.level, handle.key) for handle in handles)
        self.catalog.sync()
        return removed

    def label(self, target: Handle | Iterable[Handle], *labels: str) -> int:
        """Put labels on objects; `search` finds them with ``labels=``.

        Parameters
        ----------
        target
            A handle, a search, or a list of handles.
        labels
            1 to 64 letters, digits, ``-`` and ``_``.

        Returns
        -------
        count
            How many labels were new.
        """
        return self.archive.labels.add([one.subject for one in as_handles(target, of=self.home)], *labels)

    def unlabel(self, target: Handle | Iterable[Handle], *labels: str) -> int:
        """Take labels off objects; how many there were."""
        return self.archive.labels.remove([one.subject for one in as_handles(target, of=self.home)], *labels)

    # -- ask -----------------------------------------------------------------------------------------------------------

    @overload
    def search(self, level: Literal["study"] = "study", /, **words: "Unpack[Filters]") -> Search[Study]: ...
    @overload
    def search(self, level: Literal["patient"], /, **words: "Unpack[Filters]") -> Search[Patient]: ...
    @overload
    def search(self, level: Literal["series"], /, **words: "Unpack[Filters]") -> Search[Series]: ...
    @overload
    def search(self, level: Literal["instance"], /, **words: "Unpack[Filters]") -> Search[Instance]: ...
    @overload
    def search(self, level: str, /, **words: "Unpack[Filters]") -> Search[Any]: ...
    def search(
        self,
        level: str = "study",
        /,
        *,
        text: str | None = None,
        labels: str | Sequence[str] | None = None,
        where: str | None = None,
        order: str | Sequence[str] | None = None,
        limit: int | None = None,
        archive: str | None = None,
        **filters: Any,
    ) -> Search[Any]:
        """Search by DICOM keywords; lazy.

        Parameters
        ----------
        level
            What to find: ``"patient"``, ``"study"``, ``"series"`` or ``"instance"``.
        text
            Words that must all be found in the descriptions.
        labels
            Labels of the objects themselves (`label`); a list is any-of.
        where
            A condition in SQL over the level's columns.
        order
            Columns to sort by; ``"-StudyDate"`` sorts down.
        archive
            Search what is attached under this name instead.
        **filters
            DICOM keywords of any level. A list is any-of, a tuple an inclusive range with None for an open end,
            ``*`` and ``?`` are wildcards, `researchpacs.MISSING` is absent.

        Raises
        ------
        InvalidInputError
            A keyword the data dictionary does not know (with the nearest spelling), or a value that does not fit it.
        """
        if archive is not None:
            words = {"text": text, "labels": labels, "where": where, "order": order, "limit": limit}
            return self._search_beside(archive, level, words, filters)
        return Search(
            self.catalog,
            level,
            filters,
            text=text,
            labels=labels,
            where=where,
            order=order,
            limit=limit,
            as_handle=lambda kind, row: as_handle(self, kind, row),
            as_late_handle=lambda kind, row, later: as_handle(self, kind, row, later=later),
        )

    def sql(self, query: str, /, **params: Any) -> "Result":
        """Ask the catalog in SQL; ``$name`` in the query is bound to the value of that argument.

        Returns
        -------
        result
            With ``.df()``, ``.arrow()``, ``.pl()``, ``.fetchall()``. The caller's DataFrames are tables too.
        """
        return self.catalog.sql(query, **params)

    def schema(self) -> "Schema":
        """The catalog's tables and columns with their comments."""
        return self.catalog.schema()

    def attach_sql(self) -> str:
        """The statements with which another DuckDB client opens the catalog, read-only."""
        return self.catalog.attach_sql()

    def study(self, uid: str) -> Study:
        """The study of this StudyInstanceUID, or of a unique beginning of it."""
        found: Study = one_of(self, "study", "StudyInstanceUID", uid)
        return found

    def series(self, uid: str) -> Series:
        """The series of this SeriesInstanceUID, or of a unique beginning of it."""
        found: Series = one_of(self, "series", "SeriesInstanceUID", uid)
        return found

    def annotations(self, series: Series | str) -> list["Annotation"]:
        """Read back the measurements, segmentations and contours made on a series."""
        from researchpacs._pacs._annotated import annotations_on

        return annotations_on(self, series.uid if isinstance(series, Series) else self.series(series).uid)

    # -- cohorts -------------------------------------------------------------------------------------------------------

    def freeze(self, source: Any, *, name: str, description: str = "") -> "Cohort":
        """Keep a list of series as it is now, with the question that found it and a digest of its files.

        Parameters
        ----------
        source
            A search, a SQL result or a DataFrame that names series, studies or patients (its other columns stay with
            the members), or a list of UIDs or handles.
        name
            To find it again. Freezing the same members under the same name again adds nothing.

        Raises
        ------
        ConflictError
            Another cohort has this name.
        InvalidInputError, NotFoundError
            The source names no series, or some that are not here.
        """
        return self._cohorts.freeze(source, name=name, description=description)

    def cohort(self, name: str) -> "Cohort":
        """The cohort of this name."""
        return self._cohorts.get(name)

    def cohorts(self) -> list["Cohort"]:
        """All cohorts, the oldest first."""
        return [self._cohorts.get(name) for name in self._cohorts.names()]

    @cached_property
    def _cohorts(self) -> "Cohorts":
        from researchpacs._pacs._members import member_source
        from researchpacs.archive import CohortLedger
        from researchpacs.cohort import Cohorts

        return Cohorts(CohortLedger(self.archive.ledger), member_source(self))

    # -- look ----------------------------------------------------------------------------------------------------------

    def view(self, target: Any, *, window: "Window | str | None" = None, layout: str | None = None) -> "Viewer":
        """Show a volume, a series or a study in the cell, with what is measured on it; what is drawn is saved here."""
        from researchpacs import viewer
        from researchpacs._pacs._measured import measurements_on

        known = partial(measurements_on, self)
        return viewer.view(target, window=window, layout=layout, save=self.ingest, known=known)

    # -- keep ----------------------------------------------------------------------------------------------------------

    def sync(self, *, rebuild: bool = False) -> "SyncReport":
        """Bring the catalog up to the archive, or make it anew."""
        self.archive.refresh()
        return self.catalog.sync(rebuild=rebuild)

    def verify(self) -> "VerifyReport":
        """Read every file again and compare it with its hash."""
        return self.archive.verify()

    def backup(
        self,
        folder: str | os.PathLike[str],
        *,
        prune: bool = False,
        recheck: bool = False,
        progress: bool | None = None,
    ) -> "BackupReport":
        """Bring the backup in a folder up to the archive, or make the first one there, while others go on writing.

        `researchpacs.archive.restore` makes a home from it. The catalog is left out, being made from the archive again.

        Parameters
        ----------
        prune
            Remove files of earlier backups that are not needed any more.
        recheck
            Read again what earlier backups brought, and copy anew what is damaged.
        progress
            Show a bar; by default in a notebook and on a terminal.

        Raises
        ------
        InvalidInputError
            The folder holds something else, or the backup of another archive.
        """
        from researchpacs.archive import back_up

        ledger = self.archive.ledger
        return back_up(self.archive.home, ledger, Path(folder), prune=prune, recheck=recheck, progress=progress)

    def holds(self, series_uid: str) -> bool:
        """Whether the archive has instances of the series."""
        query = Find("series", {"SeriesInstanceUID": series_uid}, limit=1)
        return next(iter(self.archive.find(query)), None) is not None

    def close(self) -> None:
        """Give back files and locks; a closed Pacs answers nothing more."""
        self._closed = True
        OPEN.discard(self)
        for other in self.attached.values():
            other.close()
        self.catalog.close()
        self._archive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._closed:
            return f"<Pacs {str(self.home)!r}: closed>"
        counts = ", ".join(f"{len(self.search(level))} {plural}" for level, plural in _PLURALS.items())
        return f"<Pacs {str(self.home)!r}: {counts}>"

    # -- behind --------------------------------------------------------------------------------------------------------

    def _series_of(self, uids: Sequence[str]) -> list[Series]:
        return list(self.search("series", SeriesInstanceUID=list(uids)))

    def _annotation_datasets(self, thing: object) -> "list[Dataset] | None":
        from researchpacs._pacs._annotated import adapted

        return adapted(self, thing)


_PLURALS: dict[Level, str] = {"patient": "patients", "study": "studies", "series": "series", "instance": "instances"}
