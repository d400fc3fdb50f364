"""`Result`: what a query answers, in the forms people know."""

import re
from collections.abc import Callable, Iterator, Mapping
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

from researchpacs.catalog._damage import DamagedError
from researchpacs.catalog._errors import telling_sql_errors
from researchpacs.catalog._renamed import names_given
from researchpacs.catalog._show import HIDDEN, ROWS, as_html, as_text, is_identifying
from researchpacs.errors import MissingExtraError

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ["Result"]

Answer = TypeVar("Answer")

# Types that cannot spell a name; text and dates of an unknown origin can.
_HARMLESS = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|BOOLEAN|DECIMAL\(.*\))(\[\])*")


class Result:
    """The answer to a query: taken when it is asked for, each time anew; `df()` and the others give all rows.

    The repr shows ten rows, and no value that may say who a patient is.
    """

    def __init__(
        self,
        relation: "duckdb.DuckDBPyRelation | None",
        con: "duckdb.DuckDBPyConnection",
        lock: RLock,
        *,
        query: str,
        touches_persons: bool,
        params: Mapping[str, Any] | None = None,
        rows: int = ROWS,
        ask_again: "Callable[[], duckdb.DuckDBPyRelation] | None" = None,
    ) -> None:
        self._relation = relation
        self._con = con
        self._lock = lock
        self._query = query
        self._params = dict(params or {})
        self._touches_persons = touches_persons
        self._rows = rows
        self._ask_again = ask_again

    def showing(self, rows: int) -> "Result":
        """The same answer with a repr of so many rows."""
        return Result(
            self._relation,
            self._con,
            self._lock,
            query=self._query,
            params=self._params,
            touches_persons=self._touches_persons,
            rows=rows,
            ask_again=self._ask_again,
        )

    @property
    def query(self) -> str:
        """The query as it was put."""
        return self._query

    @property
    def params(self) -> Mapping[str, Any]:
        """The values that were bound to it."""
        return self._params

    @property
    def columns(self) -> list[str]:
        """Names of the columns; empty for a statement that answers nothing."""
        return [] if self._relation is None else list(self._relation.columns)

    def df(self) -> "pd.DataFrame":
        """All rows as a pandas DataFrame."""
        if self._relation is None:
            import pandas as pd

            return pd.DataFrame()
        return self._taken(lambda relation: relation.df())

    def arrow(self) -> "pa.Table":
        """All rows as an Arrow table."""
        if self._relation is None:
            import pyarrow as pa

            return pa.table({})
        return self._taken(lambda relation: relation.to_arrow_table())

    def pl(self) -> "pl.DataFrame":
        """All rows as a polars DataFrame; needs the extra ``polars``."""
        try:
            import polars as pl
        except ImportError as error:
            raise MissingExtraError("pl()", "polars") from error
        return pl.DataFrame(self.arrow())

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows as tuples."""
        if self._relation is None:
            return []
        return self._taken(lambda relation: relation.fetchall())

    def batches(self, rows: int) -> Iterator[list[tuple[Any, ...]]]:
        """All rows as tuples, so many at a time, as they are when the first are asked for."""
        if self._relation is None:
            return
        self._taken(lambda relation: relation.execute())
        while True:
            with self._lock, telling_sql_errors(self._query, self._con):
                found = self._relation.fetchmany(rows)
            if not found:
                return
            yield found

    def __repr__(self) -> str:
        if self._relation is None:
            return "<Result: done>"
        return as_text(self.columns, *self._shown())

    def _repr_html_(self) -> str:
        return str(self._repr_mimebundle_()["text/html"])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Both pictures of a cell's answer from one run of the query."""
        if self._relation is None:
            return {"text/plain": repr(self), "text/html": "<p>done</p>"}
        shown = self._shown()
        return {"text/plain": as_text(self.columns, *shown), "text/html": as_html(self.columns, *shown)}

    def _shown(self) -> tuple[list[list[Any]], str]:
        """The first rows and a caption."""
        assert self._relation is not None
        rows, count = self._taken(self._first)
        hidden = [self._hides(name, str(kind)) for name, kind in zip(self.columns, self._relation.types, strict=True)]
        shown = [
            [HIDDEN if hide and value is not None else value for hide, value in zip(hidden, row, strict=True)]
            for row in rows
        ]
        return shown, _caption(count, len(rows), hides=any(hidden))

    def _first(self, relation: "duckdb.DuckDBPyRelation") -> tuple[list[Any], int]:
        rows = relation.limit(self._rows).fetchall()
        (count,) = relation.aggregate("count(*)").fetchall()[0] if len(rows) == self._rows else (len(rows),)
        return rows, count

    def _taken(self, take: "Callable[[duckdb.DuckDBPyRelation], Answer]") -> Answer:
        """What `take` makes of the relation; once more where the catalog had to be made anew for it."""
        assert self._relation is not None
        try:
            with self._lock, telling_sql_errors(self._query, self._con):
                return take(self._relation)
        except DamagedError:
            if self._ask_again is None:
                raise
        self._relation = self._ask_again()
        with self._lock, telling_sql_errors(self._query, self._con):
            return take(self._relation)

    def _hides(self, column: str, kind: str) -> bool:
        if is_identifying(column):
            return True
        return self._touches_persons and not _HARMLESS.fullmatch(kind) and not self._is_ours(column)

    def _is_ours(self, column: str) -> bool:
        """Whether a column is one of the catalog, under its own name, and holds what that says."""
        from researchpacs.catalog._tables import tables

        if not any(column == one.name for table in tables().values() for one in table.columns):
            return False
        given = names_given(self._query, frozenset(tables()))
        return given is not None and column.lower() not in given


def _caption(count: int, shown_rows: int, *, hides: bool) -> str:
    shown = f"{count} row{'' if count == 1 else 's'}" + (f", the first {shown_rows}" if count > shown_rows else "")
    return shown + (f"; {HIDDEN} stands for what may say who a patient is, df() has it" if hides else "")
