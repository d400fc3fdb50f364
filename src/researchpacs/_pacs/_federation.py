"""Other archives and public indexes beside one's own, and whose data the series are: verbs of `Pacs`."""

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from researchpacs._pacs._handles import Handle, Series, as_handles
from researchpacs._pacs._indexed import AttachedIndex, IndexedSeries
from researchpacs._pacs._nodes import Nodes
from researchpacs.archive import Origin
from researchpacs.catalog import ForeignCatalog, Index
from researchpacs.config import Settings
from researchpacs.errors import InvalidInputError, NotFoundError, UnsupportedError
from researchpacs.storage.home import Home

if TYPE_CHECKING:
    from researchpacs._pacs._facade import Pacs
    from researchpacs.archive._peers import Peer
    from researchpacs.ingest import IngestReport
    from researchpacs.search import Search

__all__ = ["Federation"]


class Federation(Nodes):
    """What a `Pacs` can do with other archives."""

    @property
    def attached(self) -> "Mapping[str, Pacs | AttachedIndex]":
        """What is attached, by name."""
        return MappingProxyType(self._beside)

    @cached_property
    def _beside(self) -> "dict[str, Pacs | AttachedIndex]":
        return {}

    def attach(
        self, name: str, where: str | os.PathLike[str], *, endpoint: str | None = None
    ) -> "Pacs | AttachedIndex":
        """Put another archive, or a public index of series, beside this one.

        ``name.series`` and all other tables are then tables of `sql`, read-only and as they are when they are asked.

        Parameters
        ----------
        name
            Small letters, digits and ``_``.
        where
            The folder of another archive, the URL of a server as `connect` takes it, or the path or address of a
            Parquet file with one row a series, whose columns are named by DICOM keywords.
        endpoint
            Of the S3-compatible store that the index' s3 addresses mean; Amazon's unless given here or by
            ``AWS_ENDPOINT_URL``.

        Returns
        -------
        other
            What is attached: with `search` and `series`, whose hits open as one's own do.

        Raises
        ------
        NotFoundError
            There is no archive and no file; none is made.
        InvalidInputError
            The name is taken or means something else; or the file is no index.
        """
        pacs = _pacs(self)
        pacs.archive  # noqa: B018 - refuses a closed one
        if name in self._beside:
            raise InvalidInputError(f"something is attached as {name!r} already; detach() it, or use another name")
        other = _opened(pacs, name, os.fspath(where), endpoint)
        try:
            foreign = other.index if isinstance(other, AttachedIndex) else ForeignCatalog(other.catalog)
            pacs.catalog.attach(name, foreign)
        except BaseException:
            other.close()
            raise
        self._beside[name] = other
        return other

    def detach(self, name: str) -> None:
        """Take away what was attached; handles of it do not open any more."""
        other = self._other(name)
        _pacs(self).catalog.detach(name)
        del self._beside[name]
        other.close()

    def retrieve(self, peer: "Peer | str", target: Any) -> "IngestReport":
        """Fetch from a peer, by C-GET or, where the peer is configured so, by C-MOVE to our own SCP.

        Or from what is attached: then target is its series, and their licence and source come with them.

        Parameters
        ----------
        peer
            A DICOM node or its name; or the name of what is attached.
        target
            Hits of `find_remote`, one of them, or a StudyInstanceUID; or series of what is attached: a handle, a
            search, or a list of handles.

        Returns
        -------
        report
            One row an instance.

        Raises
        ------
        RemoteError
            The peer cannot be reached or refuses.
        """
        if isinstance(peer, str) and peer in self._beside:
            return _taken_in(_pacs(self), self._other(peer), target)
        return super().retrieve(peer, target)

    def _search_beside(
        self, name: str, level: str, options: Mapping[str, Any], filters: Mapping[str, Any]
    ) -> "Search[Any]":
        given = {word: value for word, value in options.items() if value is not None}
        other: Any = self._other(name)
        found: Search[Any] = other.search(level, **given, **filters)
        return found

    def _other(self, name: str) -> "Pacs | AttachedIndex":
        if name not in self._beside:
            there = ", ".join(self._beside) or "nothing"
            raise InvalidInputError(f"nothing is attached as {name!r}; attached: {there}")
        return self._beside[name]

    def credit(
        self,
        target: Handle | Iterable[Handle],
        *,
        licence: str | None = None,
        doi: str | None = None,
        collection: str | None = None,
        url: str | None = None,
    ) -> int:
        """Say whose data series are: what stands in the table ``origins``, and what an export has to name.

        Parameters
        ----------
        target
            Series, or what they belong to: a handle, a search, or a list of handles.
        licence
            Its short name, such as ``"CC BY 4.0"``.
        doi
            Under which the data are cited.
        collection
            In which they were published.
        url
            Where they were taken from.

        Returns
        -------
        count
            Series of which this was not known yet. What is left out stays as it is.

        Raises
        ------
        InvalidInputError
            Nothing is said, or an instance is given.
        UnsupportedError
            The archive is a server, which keeps nothing of the kind.
        """
        archive = _pacs(self).archive
        if "origins" not in archive.capabilities:
            raise UnsupportedError("a server keeps no licences and sources; retrieve the series into an archive here")
        origin = Origin(collection, licence, doi, url)
        if origin == Origin():
            raise InvalidInputError("nothing is said: give licence=, doi=, collection= or url=")
        return archive.origins.put({series.subject: origin for series in _series_of(target, of=_pacs(self).home)})


def _pacs(federation: Federation) -> "Pacs":
    """Only a `Pacs` has these verbs."""
    return cast("Pacs", federation)


def _opened(pacs: "Pacs", name: str, where: str, endpoint: str | None) -> "Pacs | AttachedIndex":
    from researchpacs._pacs._facade import Pacs

    if where.lower().endswith(".parquet"):
        return AttachedIndex(Index(where, endpoint), Settings.load(pacs.home), name, endpoint)
    if "://" in where:
        return _unlisted(Pacs(Settings.load(pacs.home), url=where))
    settings = Settings.load(where)
    if not Home(settings.home).format_path.is_file():
        raise NotFoundError(f"{settings.home} is no archive and no Parquet file; attach() makes none")
    if settings.home.resolve() == pacs.home.resolve():
        raise InvalidInputError("that is this archive itself; its tables are there without a name")
    return _unlisted(Pacs(settings))


def _unlisted(other: "Pacs") -> "Pacs":
    """An archive that was attached, not connected: cells of SQL do not take it for the one that is meant."""
    from researchpacs._pacs._facade import OPEN

    OPEN.discard(other)
    return other


def _taken_in(pacs: "Pacs", other: "Pacs | AttachedIndex", target: Any) -> "IngestReport":
    """Fetch series of what is attached, as they are stored there, and remember whose they are."""
    wanted = list(_series_of(target))
    if any((one.index if isinstance(one, IndexedSeries) else one._pacs) is not other for one in wanted):
        raise InvalidInputError("these series are another archive's; search(..., archive=name) finds those of this one")
    here = [one.here if isinstance(one, IndexedSeries) else one for one in wanted]
    with pacs.archive.home.workspace() as tmp:
        for number, series in enumerate(here):
            for at, instance in enumerate(series.instances):
                (tmp / f"{number:06}-{at:06}").write_bytes(series._pacs.archive.read(instance.key))
        report = pacs.ingest(tmp, progress=False)
    if "origins" in pacs.archive.capabilities:
        known = {series.subject: _origin(series) for series in here}
        stored = pacs._series_of([series.uid for series in here])
        pacs.archive.origins.put({one.subject: known[one.subject] for one in stored if one.subject in known})
    return report


def _origin(series: Series) -> Origin:
    archive = series._pacs.archive
    return archive.origins.of(series.subject) if "origins" in archive.capabilities else Origin()


def _series_of(target: object, *, of: Path | None = None) -> Iterator[Series]:
    for handle in as_handles(target, of=of):
        if handle.level == "instance":
            raise InvalidInputError("licence and source belong to series; give the instance's series")
        yield from [handle] if isinstance(handle, Series) else handle.below("series")
