"""Series of a public index: known by their row, fetched when their files are first needed.

What is fetched comes in by the one door, into an archive of its own below the home: a cache of whole series.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

import duckdb

from researchpacs._pacs._handles import Instance, Series, Study
from researchpacs.archive import Origin
from researchpacs.catalog import Index, web
from researchpacs.config import Settings
from researchpacs.errors import (
    AccessError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    RemoteError,
    UnsupportedError,
)
from researchpacs.model import Frame, Location
from researchpacs.search import Search

if TYPE_CHECKING:
    from pydicom import Dataset

    from researchpacs._pacs._facade import Pacs
    from researchpacs.dicom.geometry import Geometry
    from researchpacs.viewer import Viewer, Window

__all__ = ["AttachedIndex", "IndexedSeries", "origin_of"]

_PLACE = re.compile(r"(s3|https?)://[^\s?\[\]'\"*]+(/\*)?", re.IGNORECASE)
_MOST_FILES = 100_000


class IndexedSeries(Series):
    """A series of an index; what needs its files fetches them first, whole."""

    def __init__(self, index: "AttachedIndex", row: Mapping[str, Any]) -> None:
        super().__init__(cast("Pacs", index), row)
        self._index = index

    @cached_property
    def here(self) -> Series:
        """The same series in the archive of what was fetched."""
        return self._index.fetched(self)

    @property
    def study(self) -> Study:
        """The study it belongs to, as far as it was fetched."""
        return self.here.study

    @property
    def instances(self) -> list[Instance]:
        """Its instances by InstanceNumber."""
        return self.here.instances

    def frames(self) -> Sequence[Frame]:
        """All its frames."""
        return self.here.frames()

    def locate(self, sop_uids: Sequence[str]) -> Sequence[Location]:
        """Where the bytes of its instances are."""
        return self.here.locate(sop_uids)

    @property
    def geometry(self) -> "Geometry":
        """What it physically is."""
        return self.here.geometry

    def header(self) -> "Dataset":
        """Dataset of its first instance, without pixels."""
        return self.here.header()

    def view(self, *, window: "Window | str | None" = None, layout: str | None = None) -> "Viewer":
        """Show it in the cell; what is drawn is not saved: retrieve the series first to save it."""
        from researchpacs import viewer

        return viewer.view(self, window=window, layout=layout)

    @property
    def index(self) -> "AttachedIndex":
        """The index that knows it."""
        return self._index

    @property
    def labels(self) -> list[str]:
        """Nobody has put any on it."""
        return []

    @property
    def _identity(self) -> tuple[Any, ...]:
        return self._index.where, self.uid


class AttachedIndex:
    """An index beside an archive.

    Parameters
    ----------
    index
        The file.
    settings
        Of the archive; what is fetched lies below its home.
    name
        Under which it is attached.
    endpoint
        Of the store that s3 addresses mean.
    """

    def __init__(self, index: Index, settings: Settings, name: str, endpoint: str | None) -> None:
        self.index = index
        self._settings = settings
        self._name = name
        self._endpoint = endpoint

    @property
    def where(self) -> str:
        """Path or address of the file."""
        return self.index.where

    @cached_property
    def _cache(self) -> "Pacs":
        """The archive of what was fetched; made when the first series is."""
        from researchpacs._pacs._facade import OPEN, Pacs

        digits = sha256(f"index {self.where}".encode()).hexdigest()[:16]
        cache = Pacs(Settings(self._settings.home / "remotes" / digits, self._settings.workers))
        OPEN.discard(cache)  # it is nobody's to work in
        return cache

    def search(self, level: str = "series", /, **words: Any) -> Search[IndexedSeries]:
        """Search its series by DICOM keywords; lazy.

        Raises
        ------
        UnsupportedError
            Another level, or a filter on what the index does not have.
        """
        if level != "series" or "text" in words or "labels" in words:
            raise UnsupportedError(
                f"{self._name} is an index with one row a series: search('series', ...) by its columns, not by labels= "
                "nor text=; wildcards stand in for that: SeriesDescription='*chest*'"
            )
        options = {name: words.pop(name) for name in ("where", "order", "limit") if name in words}
        for name in words:
            if name not in self.index.columns:
                what = f"the index {self._name} has no column {name}, or one of another type"
                raise UnsupportedError(f"{what}; pacs.sql('from {self._name}.series') shows all it has")
        return Search(self.index, "series", words, **options, as_handle=lambda _, row: IndexedSeries(self, row))  # type: ignore[arg-type]

    def series(self, uid: str) -> IndexedSeries:
        """The series of this SeriesInstanceUID."""
        return self.search("series", SeriesInstanceUID=uid).one()

    def fetched(self, series: IndexedSeries) -> Series:
        """The series in the archive of what was fetched, fetched now unless it is there in full."""
        row = series.attributes()
        place = _place_of(row, self._name)
        cache = self._cache
        there = _find(cache, series.uid)
        if there is None or cache.archive.origins.of(there.subject).source_url != place:
            self._fetch(place)
            there = _find(cache, series.uid)
            _check(there, series.uid, row.get("instance_count"))
            assert there is not None
            # Said last: what has it was fetched in full.
            cache.archive.origins.put({there.subject: origin_of(row, place)})
        return there

    def close(self) -> None:
        """Close it and the archive of what was fetched."""
        self.index.close()
        if "_cache" in self.__dict__:
            self._cache.close()

    def __repr__(self) -> str:
        return f"<AttachedIndex {self._name!r} of {self.where!r}: {len(self.search('series'))} series>"

    def _fetch(self, place: str) -> None:
        cache = self._cache
        with cache.archive.home.workspace() as tmp, duckdb.connect(":memory:") as con:
            web(con, self._endpoint)
            try:
                files = [name for (name,) in con.execute("select file from glob(?)", [place]).fetchall()]
                for number, file in enumerate(files[:_MOST_FILES]):
                    (content,) = con.execute("select content from read_blob(?)", [file]).fetchone() or (b"",)
                    (tmp / f"{number:06}").write_bytes(content)
            except duckdb.Error as error:
                if "403" in str(error):
                    raise AccessError(
                        f"{place} is not open to all; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY may open it"
                    ) from None
                raise RemoteError(
                    f"{place} cannot be fetched ({type(error).__name__}); check the address, the network, and "
                    "endpoint= of attach() where it is not Amazon's"
                ) from None
            if not files:
                raise NotFoundError(f"there is nothing at {place}, where the index {self._name} says this series is")
            cache.ingest(tmp, progress=False)


def origin_of(row: Mapping[str, Any], place: str | None = None) -> Origin:
    """What an index, or an archive's table of origins, says of whose data a series are."""
    low = {name.lower(): value for name, value in row.items()}
    collection, licence, doi, url = (
        _text(low.get(name)) for name in ("collection_id", "license_short_name", "source_doi", "source_url")
    )
    return Origin(collection, licence, doi, place or url)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _place_of(row: Mapping[str, Any], name: str) -> str:
    low = {column.lower(): value for column, value in row.items()}
    place = _text(low.get("series_aws_url")) or _text(low.get("series_url"))
    bucket, folder = _text(low.get("aws_bucket")), _text(low.get("crdc_series_uuid"))
    if place is None and bucket and folder:
        place = f"s3://{bucket}/{folder}/*"
    if place is None:
        raise UnsupportedError(
            f"the index {name} does not say where this series is: it has no series_aws_url, series_url, or aws_bucket "
            "with crdc_series_uuid. Fetch the series by another way, and ingest it"
        )
    if not _PLACE.fullmatch(place):
        raise InvalidInputError(f"the index {name} says that this series is at what is no s3 or http(s) address")
    return f"{place}*" if place.endswith("/") else place


def _find(cache: "Pacs", uid: str) -> Series | None:
    return cache.search("series", SeriesInstanceUID=uid).first()


def _check(there: Series | None, uid: str, wanted: object) -> None:
    if there is None:
        raise ConflictError(f"what was fetched is not series ...{uid[-12:]}; the index is wrong, or its files changed")
    found = int(str(there.attributes()["instance_count"]))
    if isinstance(wanted, int) and found < wanted:
        raise ConflictError(f"{found} of {wanted} instances of series ...{uid[-12:]} came; the rest is no DICOM")
