"""`Past`: the catalog as it was at a snapshot, in a DuckDB of its own."""

from collections.abc import Mapping
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from researchpacs.catalog._call import as_bindable, may_stray, refuse_transactions
from researchpacs.catalog._errors import telling_sql_errors
from researchpacs.catalog._lake import NAME, Lake, attach, engine
from researchpacs.catalog._pins import Pin, is_there
from researchpacs.catalog._result import Result
from researchpacs.catalog._show import asks_who
from researchpacs.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Past"]


class Past:
    """Ask the catalog as it was.

    Parameters
    ----------
    lake
        Where the catalog lies.
    pin
        The snapshot.
    spill
        A folder for what DuckDB cannot keep in memory.

    Raises
    ------
    NotFoundError
        The snapshot is not there any more: the catalog was lost and made anew.
    """

    def __init__(self, lake: Lake, pin: Pin, spill: Path) -> None:
        self._lock = RLock()
        self._con = engine(spill, lake)
        try:
            attach(self._con, lake, read_only=True)
            there = is_there(self._con, pin)
            self._con.execute(f"detach {NAME}")
            if not there:
                raise NotFoundError(
                    f"the catalog's snapshot {pin.snapshot} is not there any more: the catalog was made anew after it"
                )
            attach(self._con, lake, read_only=True, snapshot=pin.snapshot)
            self._con.execute(f"use {NAME}")
        except BaseException:
            self._con.close()
            raise

    def show(self, name: str, table: "pd.DataFrame") -> None:
        """Show a table beside those of the catalog, under a name of its own."""
        with self._lock:
            self._con.register(name, table)

    def sql(self, query: str, params: Mapping[str, Any]) -> Result:
        """Run SQL over the tables as they were; errors as `Catalog.sql` has them."""
        if not isinstance(query, str):
            raise InvalidInputError("a query is a text, as in as_of('select count(*) from series')")
        bound = {name: as_bindable(value) for name, value in params.items()}
        with self._lock, telling_sql_errors(query, self._con):
            refuse_transactions(query)
            if may_stray(query):
                raise InvalidInputError("use, detach and schema are not for the past, which is one database")
            relation = self._con.sql(query, params=bound) if bound else self._con.sql(query)
            touches_persons = asks_who(query)
            return Result(relation, self._con, self._lock, query=query, params=bound, touches_persons=touches_persons)
