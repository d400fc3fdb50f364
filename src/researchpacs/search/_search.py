"""`Search`: a question to the catalog as a lazy sequence of handles."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import TYPE_CHECKING, Any, overload

from researchpacs.catalog import as_html, as_text, column_types, is_identifying
from researchpacs.errors import InvalidInputError, NotFoundError, UnsupportedError
from researchpacs.search._compile import LEVELS, compile_query, expression_of

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from researchpacs.catalog import Catalog, Result

__all__ = ["Search"]

AsHandle = Callable[[Any, Mapping[str, Any]], Any]

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


class Search:
    """What matches some filters, found when it is first asked for.

    A sequence of handles; `df()`, `arrow()` and `pl()` give tables, `sql` the query behind it.

    Parameters
    ----------
    catalog
        Where to look.
    level
        What to find: ``"patient"``, ``"study"``, ``"series"`` or ``"instance"``.
    filters
        Values by DICOM keyword, of any level; all have to match. Person names match in any case, all else as written.
    text
        Words that must all be found in the descriptions of one series, in any case.
    labels
        Labels of the objects themselves, not of what they belong to; a list is any-of.
    where
        A condition in SQL over the level's columns.
    order
        Columns to sort by; with ``-`` in front it sorts down.
    limit
        At most so many.
    as_handle
        Makes a handle of a level and a row.

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
        as_handle: AsHandle,
    ) -> None:
        limit = _as_limit(limit)
        if labels is not None and not catalog.has_labels:
            raise UnsupportedError("this archive keeps no labels; leave out labels= and filter by attributes")
        self._catalog = catalog
        self._query = compile_query(level, filters, text=text, labels=labels, where=where, order=order)
        self._limit = limit
        self._as_handle = as_handle
        self._handles: list[Any] | None = None

    @property
    def level(self) -> str:
        """What is found."""
        return self._query.level

    @property
    def sql(self) -> str:
        """The query as text that runs in `Catalog.sql` and in other clients, values written out."""
        return self._query.literal_text(self._text(_every(self.level)))

    def __len__(self) -> int:
        if self._handles is not None:
            return len(self._handles)
        inner = self._text("1", ordered=False)
        ((count,),) = self._run(f"select count(*) from ({inner})").fetchall()  # noqa: S608
        return int(count)

    def __bool__(self) -> bool:
        return self.first() is not None

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        try:
            return self._all()[at]
        except IndexError:
            raise NoHitError(
                f"there is no hit {at}: {len(self)} match; first() gives None instead, print(hits.sql) shows the query"
            ) from None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._all())

    def first(self) -> Any | None:
        """The first hit; None where nothing matches."""
        if self._handles is None:
            found = self._fetch(self._text(_every(self.level), at_most=1))
            return found[0] if found else None
        return self._handles[0] if self._handles else None

    def one(self) -> Any:
        """The only hit.

        Raises
        ------
        NotFoundError
            Nothing matches.
        InvalidInputError
            Several match.
        """
        found = self._handles if self._handles is not None else self._fetch(self._text(_every(self.level), at_most=2))
        if not found:
            raise NotFoundError(f"no {self.level} matches; print(hits.sql) shows the query")
        if len(found) > 1:
            raise InvalidInputError(f"more than one {self.level} matches; add filters, or take first()")
        return found[0]

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

    def _all(self) -> list[Any]:
        if self._handles is None:
            self._handles = self._fetch(self._text(_every(self.level)))
        return self._handles

    def _fetch(self, text: str) -> list[Any]:
        result = self._run(text)
        names = result.columns
        return [self._as_handle(self.level, dict(zip(names, row, strict=True))) for row in result.fetchall()]

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

    def _text(self, chosen: str, *, ordered: bool = True, at_most: int | None = None) -> str:
        limits = [limit for limit in (self._limit, at_most) if limit is not None]
        # A limit without an order would count other rows than it shows.
        parts = [f"select {chosen}", self._query.body]
        parts += [self._query.order] if ordered else []
        parts += [f"limit {min(limits)}"] if limits else []
        return "\n".join(parts)

    def _run(self, text: str) -> "Result":
        return self._catalog.sql(text, **self._query.params)


class NoHitError(NotFoundError, IndexError):
    """Past the end: an error of the contract, and what Python expects of a sequence."""


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
