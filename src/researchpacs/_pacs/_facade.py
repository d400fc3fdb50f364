"""`Pacs`: the archive, its catalog and the rooms around them behind one object; composes, decides nothing."""

import itertools
import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, cast, overload

from researchpacs._pacs._handles import Handle, Instance, Patient, Series, Study, apart, as_handle, as_handles
from researchpacs._pacs._lookup import is_indexed, look_up
from researchpacs.archive import open_archive, open_remote
from researchpacs.catalog import Catalog
from researchpacs.config import Settings
from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.model import Find, Level
from researchpacs.search import Search

if TYPE_CHECKING:
    from pydicom import Dataset

    from researchpacs._pacs._network import RemoteHits, SendReport
    from researchpacs.annotation import Measurement
    from researchpacs.archive import BackupReport, EmbeddedArchive, VerifyReport
    from researchpacs.archive._peers import Peer, Peers
    from researchpacs.catalog import Result, Schema, SyncReport
    from researchpacs.ingest import IngestReport
    from researchpacs.search._filters import Filters
    from researchpacs.viewer import Viewer, Window

__all__ = ["Pacs", "connect", "opened", "view"]

_open: "weakref.WeakSet[Pacs]" = weakref.WeakSet()


def connect(where: str | os.PathLike[str] | None = None) -> "Pacs":
    """Open an archive, and make it where there is none yet.

    Parameters
    ----------
    where
        The folder of an embedded archive; by default ``$RESEARCHPACS_HOME``, else the platform's user data folder.
        Or the URL of a server that keeps the instances: ``orthanc+http://user:secret@host:8042/``,
        ``dicomweb+https://host/dicom-web``. Only the catalog is then here, in the default folder.

    Raises
    ------
    InvalidInputError
        The folder holds something else.
    UnsupportedError
        A newer version wrote the archive, or it lies where it cannot be safe; the message says what to do.
    RemoteError, AccessError
        The server does not answer, or not to this user.
    """
    if isinstance(where, str) and "://" in where:
        return Pacs(Settings.load(), url=where)
    return Pacs(Settings.load(where))


def opened() -> "list[Pacs]":
    """The archives that this process has open."""
    return [pacs for pacs in _open if not pacs.closed]


def view(target: Any, *, window: "Window | str | None" = None) -> "Viewer":
    """Show a volume or a series in the cell.

    Lengths drawn in it can be saved where the series is in an archive that this process has open.

    Parameters
    ----------
    target
        A DataArray from `open_volume`, `read_volume` or `reconstruct`, or a series.
    window
        A `Window` or the name of a preset such as ``"lung"``; by default what suits the modality.
    """
    from researchpacs import viewer

    uid = target.uid if isinstance(target, Series) else getattr(target, "attrs", {}).get("SeriesInstanceUID")
    owner = next((pacs for pacs in _open if uid and pacs.holds(uid)), None)
    return owner.view(target, window=window) if owner else viewer.view(target, window=window)


class Pacs:
    """An open archive; made by `connect`.

    Everything that needs the archive is a method here. Also a context manager.
    """

    def __init__(self, settings: Settings, *, url: str | None = None) -> None:
        self._settings = settings
        self._archive = open_archive(settings) if url is None else cast("EmbeddedArchive", open_remote(settings, url))
        self._closed = False
        self.catalog = Catalog(self._archive.home, self._archive)
        _open.add(self)

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
            A file, folder, zip archive, pydicom Dataset, `Measurement`, or a list of these. Folders are walked to the
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

        return ingest(
            sources,
            store=self.archive.store,
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
        handles, count = apart(target)
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
        return self.archive.labels.add([one.subject for one in as_handles(target)], *labels)

    def unlabel(self, target: Handle | Iterable[Handle], *labels: str) -> int:
        """Take labels off objects; how many there were."""
        return self.archive.labels.remove([one.subject for one in as_handles(target)], *labels)

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
        **filters
            DICOM keywords of any level. A list is any-of, a tuple an inclusive range with None for an open end,
            ``*`` and ``?`` are wildcards, `researchpacs.MISSING` is absent.

        Raises
        ------
        InvalidInputError
            A keyword the data dictionary does not know (with the nearest spelling), or a value that does not fit it.
        """
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
        found: Study = self._one("study", "StudyInstanceUID", uid)
        return found

    def series(self, uid: str) -> Series:
        """The series of this SeriesInstanceUID, or of a unique beginning of it."""
        found: Series = self._one("series", "SeriesInstanceUID", uid)
        return found

    def annotations(self, series: Series | str) -> list["Measurement"]:
        """Read back the measurements made on a series."""
        from researchpacs.annotation import from_datasets

        uid = series.uid if isinstance(series, Series) else self.series(series).uid
        objects = self.sql(
            "select distinct object_sop_instance_uid from measurements where SeriesInstanceUID = $uid order by all",
            uid=uid,
        ).fetchall()
        return [
            made for made in from_datasets(self._whole(sop_uid) for (sop_uid,) in objects) if made.series_uid == uid
        ]

    # -- other nodes ---------------------------------------------------------------------------------------------------

    @property
    def peers(self) -> "Peers":
        """The DICOM nodes that this archive knows, by name; ``pacs.peers.add(name, aet=..., host=..., port=...)``."""
        from researchpacs.archive._peers import Peers

        return Peers(self.archive.ledger)

    def find_remote(self, peer: "Peer | str", level: Level = "study", /, **filters: Any) -> "RemoteHits":
        """Ask a peer what it has (C-FIND).

        Parameters
        ----------
        peer
            A peer or its name.
        level
            What to find: ``"patient"``, ``"study"``, ``"series"`` or ``"instance"``.
        **filters
            DICOM keywords. A list is any-of, a tuple an inclusive range with None for an open end, ``*`` and ``?`` are
            wildcards. What the peer does not know it leaves out of account.

        Returns
        -------
        hits
            Data sets as the peer sent them, with ``.df()``.

        Raises
        ------
        RemoteError
            The peer cannot be reached or refuses; carries the DIMSE status.
        """
        from researchpacs._pacs._network import as_peer, find_remote

        return find_remote(as_peer(self.peers, peer), level, filters)

    def retrieve(self, peer: "Peer | str", target: "RemoteHits | Dataset | str") -> "IngestReport":
        """Fetch from a peer, by C-GET or, where the peer is configured so, by C-MOVE to our own SCP.

        Parameters
        ----------
        target
            Hits of `find_remote`, one of them, or a StudyInstanceUID.

        Returns
        -------
        report
            One row an instance that the peer listed.

        Raises
        ------
        RemoteError
            The peer cannot be reached or refuses; carries the DIMSE status.
        """
        from researchpacs._pacs._network import as_peer, retrieve

        return retrieve(self, as_peer(self.peers, peer), target)

    def send(self, target: Handle | Iterable[Handle], peer: "Peer | str") -> "SendReport":
        """Send objects and all below them to a peer (C-STORE), as they are stored where the peer takes that.

        Returns
        -------
        report
            ``.sent``, ``.failed`` and ``.df()`` with one row an instance.

        Raises
        ------
        RemoteError
            The peer cannot be reached or refuses, before anything was sent.
        """
        from researchpacs._pacs._network import as_peer, send

        return send(self, target, as_peer(self.peers, peer))

    # -- look ----------------------------------------------------------------------------------------------------------

    def view(self, target: Any, *, window: "Window | str | None" = None) -> "Viewer":
        """Show a volume or a series in the cell; what is drawn is saved here."""
        from researchpacs import viewer

        return viewer.view(target, window=window, save=self.ingest)

    # -- keep ----------------------------------------------------------------------------------------------------------

    def sync(self, *, rebuild: bool = False) -> "SyncReport":
        """Bring the catalog up to the archive, or make it anew."""
        self.archive.refresh()
        return self.catalog.sync(rebuild=rebuild)

    def verify(self) -> "VerifyReport":
        """Read every file again and compare it with its hash."""
        return self.archive.verify()

    def backup(
        self, folder: str | os.PathLike[str], *, prune: bool = False, progress: bool | None = None
    ) -> "BackupReport":
        """Bring the backup in a folder up to the archive, or make the first one there, while others go on writing.

        `researchpacs.archive.restore` makes a home from it. The catalog is left out, being made from the archive again.

        Parameters
        ----------
        prune
            Remove files of earlier backups that are not needed any more.
        progress
            Show a bar; by default in a notebook and on a terminal.

        Raises
        ------
        InvalidInputError
            The folder holds something else, or the backup of another archive.
        """
        from researchpacs.archive import back_up

        ledger = self.archive.ledger
        return back_up(self.archive.home, ledger, Path(folder), prune=prune, progress=progress)

    def holds(self, series_uid: str) -> bool:
        """Whether the archive has instances of the series."""
        query = Find("series", {"SeriesInstanceUID": series_uid}, limit=1)
        return next(iter(self.archive.find(query)), None) is not None

    def close(self) -> None:
        """Give back files and locks; a closed Pacs answers nothing more."""
        self._closed = True
        _open.discard(self)
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

    def _one(self, level: Level, keyword: str, uid: str) -> Any:
        if is_indexed(self):
            found = [as_handle(self, level, row, later=later) for row, later in look_up(self, level, _plain_uid(uid))]
        else:
            found = list(itertools.islice(self.search(level, limit=2, **{keyword: f"{_plain_uid(uid)}*"}), 2))
        exact = [handle for handle in found if handle.uid == uid]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if not found:
            raise NotFoundError(f"no {level} here has a {keyword} that begins with {_shown(uid)}; search() lists them")
        raise InvalidInputError(
            f"more than one {level} has a {keyword} that begins with {_shown(uid)}; give more of it"
        )

    def _series_of(self, uids: Sequence[str]) -> list[Series]:
        return list(self.search("series", SeriesInstanceUID=list(uids)))

    def _whole(self, sop_uid: str) -> "Dataset":
        from pydicom import dcmread

        return dcmread(BytesIO(self.archive.read(sop_uid)), force=True)

    def _annotation_datasets(self, thing: object) -> "list[Dataset] | None":
        from researchpacs.annotation import as_datasets

        return as_datasets(thing, evidence=lambda series_uid: [self.series(series_uid).header()])


_LONGEST_UID = 64
_PLURALS: dict[Level, str] = {
    "patient": "patients",
    "study": "studies",
    "series": "series",
    "instance": "instances",
}


def _shown(uid: str) -> str:
    """Repeat what is a UID; a patient's identifier given in its place stays out of the message."""
    return uid if "." in uid and uid.replace(".", "").isdecimal() else "that"


def _plain_uid(uid: str) -> str:
    """A UID is digits and dots; anything else, wildcards among them, names nothing."""
    plain = isinstance(uid, str) and uid.isascii() and all(c.isalnum() or c in ".-_" for c in uid)
    if not plain or not 0 < len(uid) <= _LONGEST_UID:
        raise InvalidInputError(
            f"a UID, or the beginning of one, is expected: digits and dots, {_LONGEST_UID} characters at most"
        )
    return uid
