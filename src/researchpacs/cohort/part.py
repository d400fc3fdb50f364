"""`Part`: series in a fixed order, as a sequence of handles that a map-style torch `Dataset` can be made of."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, overload

from researchpacs.cohort._members import IDENTITY, Member
from researchpacs.errors import NotFoundError, UnsupportedError

if TYPE_CHECKING:
    import pandas as pd

    from researchpacs.archive import Archive
    from researchpacs.catalog import Catalog
    from researchpacs.cohort.export import ExportReport

__all__ = ["AsSeries", "Part", "Source"]

_ORIGINS = """
select patient_key, StudyInstanceUID, SeriesInstanceUID, collection_id, license_short_name, source_doi, source_url
from origins
where SeriesInstanceUID in (select unnest($uids))
"""

AsSeries = Callable[[Mapping[str, Any]], Any]


class Source:
    """Where the handles of members come from; in another process it opens the archive again.

    Parameters
    ----------
    catalog
        Has the rows of the series.
    archive
        Has their files.
    as_series
        Makes a handle of one.
    again
        A function and its arguments that give a `Source` in another process.
    """

    def __init__(
        self,
        catalog: "Catalog",
        archive: "Archive",
        as_series: AsSeries,
        again: tuple[Callable[..., "Source"], tuple[Any, ...]],
    ) -> None:
        self.catalog = catalog
        self.archive = archive
        self.as_series = as_series
        self._again = again
        self._process = os.getpid()

    def handle(self, member: Member) -> Any:
        """The series of a member.

        Raises
        ------
        NotFoundError
            It is not in the archive any more.
        UnsupportedError
            This process was forked from the one that opened the archive.
        """
        if os.getpid() != self._process:
            raise UnsupportedError(
                "this process was forked from one that has the archive open, and what it inherited is not safe to use: "
                "start workers with 'spawn' or 'forkserver', as in DataLoader(..., multiprocessing_context='spawn')"
            )
        result = self.catalog.sql(
            "select * from series where patient_key = $patient and StudyInstanceUID = $study "
            "and SeriesInstanceUID = $series",
            patient=member.patient_key, study=member.study_uid, series=member.series_uid,
        )  # fmt: skip
        rows = result.fetchall()
        if not rows:
            raise NotFoundError(
                f"series ...{member.series_uid[-8:]} is not in the archive any more; cohort.diff() lists what changed"
            )
        return self.as_series(dict(zip(result.columns, rows[0], strict=True)))

    def origins(self, members: Sequence[Member]) -> Mapping[tuple[str, str, str], Mapping[str, str]]:
        """Where series were published and under which licence, as far as it is known, by identity."""
        result = self.catalog.sql(_ORIGINS, uids=[one.series_uid for one in members])
        names = result.columns[len(IDENTITY) :]
        return {
            (row[0], row[1], row[2]): {name: one for name, one in zip(names, row[3:], strict=True) if one}
            for row in result.fetchall()
        }

    def patient_ids(self) -> Mapping[str, str]:
        """PatientIDs by patient_key."""
        return dict(self.catalog.sql("select patient_key, PatientID from patients").fetchall())

    def __reduce__(self) -> tuple[Callable[..., "Source"], tuple[Any, ...]]:
        return self._again


class Part(Sequence[Any]):
    """Some members of a cohort, in their order; picklable, the archive is opened again where it is needed.

    Parameters
    ----------
    name
        Of the part, such as ``"train"``.
    members
        Its series.
    source
        Where their handles come from.
    """

    def __init__(self, name: str, members: tuple[Member, ...], source: Source) -> None:
        self.name = name
        self.members = members
        self.source = source

    def __len__(self) -> int:
        return len(self.members)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return [self.source.handle(one) for one in self.members[at]]
        return self.source.handle(self.members[at])

    def __iter__(self) -> Iterator[Any]:
        return (self.source.handle(one) for one in self.members)

    def df(self) -> "pd.DataFrame":
        """One row per series: PatientID, UIDs of study and series, instance_count and the cohort's columns.

        Beside them stands what ``pacs.credit`` says of licence and source now, in columns of the table ``origins``.
        """
        import pandas as pd

        patients, origins = self.source.patient_ids(), self.source.origins(self.members)
        rows = [
            {
                "PatientID": patients.get(one.patient_key),
                "StudyInstanceUID": one.study_uid,
                "SeriesInstanceUID": one.series_uid,
                "instance_count": one.instance_count,
                **origins.get(one.identity, {}),
                **one.columns,
            }
            for one in self.members
        ]
        return pd.DataFrame(rows)

    def map(
        self,
        function: Callable[..., Mapping[str, Any]],
        *,
        segments: Sequence[str] | None = None,
        on_irregular: str = "raise",
        client: Any = None,
        save: str | None = None,
        workers: int | None = None,
        progress: bool | None = None,
    ) -> "pd.DataFrame":
        """Run a function on the volume of each series; a series that fails is a row with an error.

        Parameters
        ----------
        function
            Takes a volume in memory, as `read_volume` gives it, and returns a dict of numbers, texts, bools or None.
            With `segments` it takes their masks too: ``function(vol, masks)``.
        segments
            Labels of segments, such as ``["Lung"]``: masks by label, bool arrays on the volume's grid, from the
            segmentations (SEG) of the series that the archive has now. A series of which no segmentation, or more than
            one, has such a segment is a row with an error.
        on_irregular
            As in `read_volume`.
        client
            A ``distributed.Client``; its workers open the archive themselves. Threads of this process unless given.
        save
            Keep the results as they come, under this name (a-z, 0-9, _): a second run computes only what is missing,
            failed, or was computed by other code, and SQL has them as the table ``features_<save>``.
        workers
            How many volumes are read at once: at most 4 threads unless given, or all threads of the cluster.
        progress
            Show a bar; None shows it on a terminal and in a notebook.

        Returns
        -------
        table
            A row per series, in order: patient_key, the UIDs, the values, ``error`` and where the values come from:
            ``function``, ``code`` (a digest of it and of what it refers to), ``segmentations`` (their UIDs),
            ``versions``, ``computed_at``.

        Raises
        ------
        InvalidInputError
            A name that no table can have, or a function that cannot be told from others.
        MissingExtraError
            A client is given and distributed is not installed.
        """
        from researchpacs.cohort.mapping import mapped

        return mapped(
            self,
            function,
            segments=segments,
            on_irregular=on_irregular,
            client=client,
            save=save,
            workers=workers,
            progress=progress,
        )

    def export(
        self,
        folder: str | os.PathLike[str],
        *,
        format: str,  # noqa: A002 - as xarray's and pandas' writers call it
        licence: str | None = None,
        on_irregular: str = "raise",
        dry_run: bool = False,
        workers: int | None = None,
        progress: bool | None = None,
    ) -> "ExportReport":
        """Write the series into a folder; a run that was cut short goes on where it ended.

        Beside them are ``manifest.csv`` (a line per file) and ``ro-crate-metadata.json``. Files are named by numbers.

        Parameters
        ----------
        folder
            An empty one, one that does not exist, or that of the same export.
        format
            ``"dicom"``: the files bit for bit, with all that they say of the patients; ingested elsewhere they give
            the same digest. ``"nifti"`` and ``"zarr"``: volumes with their technical attributes, without names,
            identifiers, dates and free text. ``"bids"``: as NIfTI, series of MR that the cohort's column ``bids`` or
            their description names.
        licence
            Name or address of the licence of the whole; that of the series' origins unless given.
        on_irregular
            As in `read_volume`; of no matter for DICOM.
        dry_run
            Write nothing; say how many series and bytes it would be, and which series cannot be exported.
        workers, progress
            As in `map`.

        Returns
        -------
        report
            `df()` has a row per series; one that cannot be exported has an ``error``, and the others go on.

        Raises
        ------
        InvalidInputError
            Another format, or a folder that holds something else.
        ConflictError
            The folder holds another export.
        MissingExtraError
            Zarr is not installed.
        """
        from researchpacs.cohort.export import exported

        return exported(
            self,
            folder,
            written=format,
            licence=licence,
            on_irregular=on_irregular,
            dry_run=dry_run,
            workers=workers,
            progress=progress,
        )

    def part(self, name: str, members: tuple[Member, ...]) -> "Part":
        """Some of its members under a name of their own."""
        return Part(name, members, self.source)

    @property
    def counts(self) -> dict[str, int]:
        """How many patients, studies, series and instances."""
        return {
            "patients": len({one.patient_key for one in self.members}),
            "studies": len({(one.patient_key, one.study_uid) for one in self.members}),
            "series": len(self.members),
            "instances": sum(one.instance_count for one in self.members),
        }

    def __repr__(self) -> str:
        counted = ", ".join(f"{count} {noun}" for noun, count in self.counts.items())
        return f"<{type(self).__name__} {self.name!r}: {counted}>"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>"
