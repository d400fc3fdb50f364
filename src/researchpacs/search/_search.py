"""`Search`: a question to the catalog as a lazy sequence of handles."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from researchpacs.catalog import as_html, as_text, column_types, is_identifying
from researchpacs.errors import InvalidInputError, NotFoundError, UnsupportedError
from researchpacs.search._compile import LEVELS, compile_query, expression_of
from researchpacs.search._late import Later, comes_late, rows_of_page

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from researchpacs.catalog import Catalog, Result

__all__ = ["Search"]

Hit = TypeVar("Hit")

_KEPT_PAGES = 16

_SHOWN = {
    "patient": ("PatientSex", "study_count", "series_count", "instance_count"),
    "study": (
        "StudyInstanceUID", "StudyDate", "StudyDescription", "ModalitiesInStudy", "series_count", "instance_count",
    ),
    "series": (
        "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined", "StudyDate",
        "instance_count",
    ),
    "instance": ("SOPInstanceUID", "SeriesInstanceUID", "InstanceNumber", "Rows", "Columns", "frame_count"),
}  # fmt: skip
_MOST = 2**62
_KEPT_IDENTIFIERS = frozenset({"PatientID", "AccessionNumber", "StudyID", "OtherPatientIDs"})


class Search(Generic[Hit]):
    """What matches some filters, found when it is first asked for.

    A sequence of handles; `df()`, `arrow()` and `pl()` give tables, `sql` the query behind it. Up to a thousand hits
    stay as they were first found, but for attributes that are no column: these are read when the first is asked for,
    of all hits of a page together. More are fetched page by page, so what is stored meanwhile may be among them; one
    iteration gives what there was when it began.

    Parameters
    ----------
    catalog
        Where to look.
    level
        What to find: ``"patient"``, ``"study"``, ``"series"`` or ``"instance"``.
    filters
        Values by DICOM keyword, of any level; all have to match. Person names match in any case, all else as written.
    text
        Words that must all be found in one series, in any case: in its descriptions, the codes of its instances, or
        what its reports say.
    labels
        Labels of the objects themselves, not of what they belong to; a list is any-of.
    where
        A condition in SQL over the level's columns.
    order
        Columns to sort by; with ``-`` in front it sorts down.
    limit
        At most so many.
    page
        Hits that are fetched together.
    as_handle
        Makes a handle of a level and a row.
    as_late_handle
        Makes a handle of a level, a row without ``tags``, and a function that gives the whole row; where there is none,
        all rows are fetched whole.

    Raises
    ------
    InvalidInputError
        An unknown keyword, with the nearest spelling, or a value that does not fit its attribute.
    UnsupportedError
        `labels` are asked for of an archive that has none.
    """

    def __init__(
        self,
        catalog: "Catalog",
        level: str,
        filters: Mapping[str, Any],
        *,
        text: str | None = None,
        labels: str | Sequence[str] | None = None,
        where: str | None = None,
        order: str | Sequence[str] | None = None,
        limit: int | None = None,
        page: int = 1000,
        as_handle: Callable[[Any, Mapping[str, Any]], Hit],
        as_late_handle: Callable[[Any, Mapping[str, Any], Later], Hit] | None = None,
    ) -> None:
        limit = _as_limit(limit)
        if labels is not None and not catalog.has_labels:
            raise UnsupportedError("this archive keeps no labels; leave out labels= and filter by attributes")
        self._catalog = catalog
        self._query = compile_query(level, filters, text=text, labels=labels, where=where, order=order)
        self._limit = limit
        self._order = order
        self._as_handle = as_handle
        self._as_late_handle = as_late_handle if comes_late(level) else None
        self._filters = dict(filters)
        self._options = {"text": text, "labels": labels, "where": where}
        self._page_size = page
        self._pages: OrderedDict[int, list[Hit]] = OrderedDict()

    @property
    def level(self) -> str:
        """What is found."""
        return self._query.level

    @property
    def sql(self) -> str:
        """The query as text that runs in `Catalog.sql` and in other clients, values written out."""
        return self._query.literal_text(self._text(_every(self.level)))

    def __len__(self) -> int:
        if self._limit is not None and self._limit < self._page_size:
            self._page(0)  # which is all; Python asks for the length before it makes a list
        first = self._pages.get(0)
        if first is not None and len(first) < self._page_size:
            return len(first)
        inner = self._text("1", ordered=False)
        ((count,),) = self._run(f"select count(*) from ({inner})").fetchall()  # noqa: S608
        return int(count)

    def __bool__(self) -> bool:
        return self.first() is not None

    @overload
    def __getitem__(self, at: int) -> Hit: ...
    @overload
    def __getitem__(self, at: slice) -> list[Hit]: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            self._page(0)  # where this is all, its length is known, and stays
            return [self._at(number) for number in range(*at.indices(len(self)))]
        number = index(at)
        return self._at(number if number >= 0 else number + len(self))

    def __iter__(self) -> Iterator[Hit]:
        first = self._page(0)
        if len(first) < self._page_size:
            yield from first
            return
        result = self._run(self._text(_every(self.level)))
        names = result.columns
        for rows in result.batches(self._page_size):
            yield from self._as_handles(names, rows)

    def first(self) -> Hit | None:
        """The first hit; None where nothing matches."""
        found = self._pages[0] if 0 in self._pages else self._fetch(at_most=1)
        return found[0] if found else None

    def one(self) -> Hit:
        """The only hit.

        Raises
        ------
        NotFoundError
            Nothing matches.
        InvalidInputError
            Several match.
        """
        found = self._pages[0] if 0 in self._pages else self._fetch(at_most=2)
        if not found:
            raise NotFoundError(f"no {self.level} matches; print(hits.sql) shows the query")
        if len(found) > 1:
            raise InvalidInputError(f"more than one {self.level} matches; add filters, or take first()")
        return found[0]

    def narrowing(self) -> list[tuple[str, "Search[Hit]"]]:
        """The searches from no filter to all of them, one more at each step, each with a label that names no person."""
        steps: list[tuple[str, dict[str, Any]]] = [("in the archive", {})]
        given = {**self._filters, **{name: value for name, value in self._options.items() if value is not None}}
        for name, value in given.items():
            steps.append((_told(name, value), {**steps[-1][1], name: value}))
        if self._limit is not None:
            steps.append((f"the first {self._limit}", {**steps[-1][1], "limit": self._limit}))
        return [(label, self._with(words)) for label, words in steps]

    def _with(self, words: Mapping[str, Any]) -> "Search[Hit]":
        options = {name: words[name] for name in (*self._options, "limit") if name in words}
        filters = {name: value for name, value in words.items() if name not in options}
        return Search(
            self._catalog,
            self.level,
            filters,
            **options,
            order=self._order,
            as_handle=self._as_handle,
            as_late_handle=self._as_late_handle,
        )

    def df(self, *, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """All hits as a pandas DataFrame, by default without names, birth dates and ``tags``.

        Parameters
        ----------
        columns
            Columns of the level or of its parents, or any DICOM keyword.
        """
        return self._table(columns).df()

    def arrow(self, *, columns: Sequence[str] | None = None) -> "pa.Table":
        """All hits as an Arrow table; `columns` as in `df`."""
        return self._table(columns).arrow()

    def pl(self, *, columns: Sequence[str] | None = None) -> "pl.DataFrame":
        """All hits as a polars DataFrame; `columns` as in `df`."""
        return self._table(columns).pl()

    def __repr__(self) -> str:
        columns, rows, caption = self._shown()
        return as_text(columns, rows, caption)

    def _repr_html_(self) -> str:
        columns, rows, caption = self._shown()
        query = self._query.literal_text(self._text(_every(self.level)), hide_persons=True)
        return as_html(columns, rows, caption, footer=query)

    # -- behind --------------------------------------------------------------------------------------------------------

    def _at(self, number: int) -> Hit:
        page = self._page(number // self._page_size) if number >= 0 else []
        try:
            return page[number % self._page_size]
        except IndexError:
            raise NoHitError(
                f"there is no such hit: {len(self)} match; first() gives None instead, print(hits.sql) shows the query"
            ) from None

    def _page(self, number: int) -> list[Hit]:
        if number not in self._pages:
            self._pages[number] = self._fetch_page(number)
            while len(self._pages) > _KEPT_PAGES:
                self._pages.popitem(last=False)
        self._pages.move_to_end(number)
        return self._pages[number]

    def _fetch(self, *, at_most: int, skip: int = 0) -> list[Hit]:
        result = self._run(self._text(_every(self.level), at_most=at_most, skip=skip))
        return self._as_handles(result.columns, result.fetchall())

    def _fetch_page(self, number: int) -> list[Hit]:
        skip = number * self._page_size
        make = self._as_late_handle
        if make is None:
            return self._fetch(at_most=self._page_size, skip=skip)
        result = self._run(self._text(f"{_every(self.level)} exclude (tags)", at_most=self._page_size, skip=skip))
        rows = rows_of_page(self._catalog, self.level, result.columns, result.fetchall())
        return [make(self.level, row, later) for row, later in rows]

    def _as_handles(self, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[Hit]:
        return [self._as_handle(self.level, dict(zip(names, row, strict=True))) for row in rows]

    def _table(self, columns: Sequence[str] | None) -> "Result":
        if columns is not None and (isinstance(columns, str) or not isinstance(columns, Iterable) or not list(columns)):
            raise InvalidInputError("columns= is a list of names, at least one")
        names = list(columns) if columns is not None else _impersonal(self.level)
        chosen = ", ".join(f'{expression_of(self.level, name)} as "{name}"' for name in names)
        return self._run(self._text(chosen))

    def _shown(self) -> tuple[Sequence[str], list[tuple[Any, ...]], str]:
        columns = _SHOWN[self.level]
        count = len(self)
        chosen = ", ".join(f'{LEVELS[self.level]}."{name}"' for name in columns)
        rows = self._run(self._text(chosen, at_most=10)).fetchall()
        noun = self.level if count == 1 else LEVELS[self.level]
        return columns, rows, f"{count} {noun}" + (", the first 10" if count > 10 else "")

    def _text(self, chosen: str, *, ordered: bool = True, at_most: int | None = None, skip: int = 0) -> str:
        left = None if self._limit is None else max(0, self._limit - skip)
        limits = [limit for limit in (left, at_most) if limit is not None]
        cut = ([f"limit {min(limits)}"] if limits else []) + ([f"offset {skip}"] if skip else [])
        if ordered and limits and self._finds_places:
            # Only the rows that are wanted in the end are unpacked; by itself DuckDB does so where nothing is joined.
            table = LEVELS[self.level]
            place = ", ".join(f"{table}.{name}" for name in self._catalog.row_place)
            found = "\n".join([f"select {place}", self._query.body, self._query.order, *cut])
            return f"select {chosen}\nfrom {table}\nwhere ({place}) in (\n{found}\n)\n{self._query.order}"
        parts = [f"select {chosen}", self._query.body, *([self._query.order] if ordered else []), *cut]
        return "\n".join(parts)

    @property
    def _finds_places(self) -> bool:
        return comes_late(self.level) and bool(self._catalog.row_place) and self._query.looks_elsewhere

    def _run(self, text: str) -> "Result":
        return self._catalog.sql(text, **self._query.params)


class NoHitError(NotFoundError, IndexError):
    """Past the end: an error of the contract, and what Python expects of a sequence."""


def _told(name: str, value: object) -> str:
    """A filter in words; who a patient is stays out."""
    if is_identifying(name):
        return f"{name} as asked for"
    if isinstance(value, tuple) and len(value) == 2:
        low, high = value
        ends = [f"from {low}"] if low is not None else []
        ends += [f"to {high}"] if high is not None else []
        return f"{name} {' '.join(ends) or 'present'}"
    return f"{name}: {', '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}"


def _as_limit(limit: object) -> int | None:
    if limit is None:
        return None
    if isinstance(limit, bool) or not hasattr(limit, "__index__") or index(limit) < 0:
        raise InvalidInputError("limit= is a number of hits, zero or more")
    return min(index(limit), _MOST)


def _every(level: str) -> str:
    return f"{LEVELS[level]}.*"


def _impersonal(level: str) -> list[str]:
    return [
        name
        for name in column_types(LEVELS[level])
        if name in _KEPT_IDENTIFIERS or not (is_identifying(name) or name.endswith("_parts"))
    ]
