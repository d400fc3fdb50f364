"""PostgreSQL as the scaled-out lake needs it beside DuckLake: plain questions, and a lock for the one writer.

It is DuckDB's own client that asks, so no driver is needed.
"""

import threading
from typing import TYPE_CHECKING, Any

import duckdb

from researchpacs.catalog._lake import load, quoted

if TYPE_CHECKING:
    from researchpacs.config import CatalogPlace

__all__ = ["LIBPQ", "Database", "listed", "secret"]

LIBPQ = "connect_timeout=10 application_name=researchpacs"
"""What every connection is told beside the secret."""

_NAME = "alone"


class Database:
    """A connection of its own, opened when it is first needed and again after it broke.

    Parameters
    ----------
    place
        Whose database.
    """

    def __init__(self, place: "CatalogPlace") -> None:
        self._place = place
        self._opening = threading.Lock()
        self._con: duckdb.DuckDBPyConnection | None = None
        self._holding: duckdb.DuckDBPyConnection | None = None

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        """All rows of a question in PostgreSQL's SQL."""
        try:
            return self._asked(question)
        except duckdb.Error:
            self._drop()  # it may have been broken since the last question
            return self._asked(question)

    def run(self, statement: str) -> None:
        """Run a statement in PostgreSQL's SQL."""
        with self._cursor() as con:
            con.execute(f"call postgres_execute('{_NAME}', ?)", [statement])

    def try_lock(self, name: str) -> bool:
        """Take an advisory lock, held by a transaction: it ends with this process, however that ends.

        Parameters
        ----------
        name
            Who takes a lock of the same name has to wait.
        """
        con = self._cursor()
        try:
            con.execute("begin")
            ask = f"select pg_try_advisory_xact_lock(hashtextextended({quoted(name)}, 0))"
            (got,) = con.execute(f"from postgres_query('{_NAME}', ?)", [ask]).fetchone() or (False,)
        except duckdb.Error:
            con.close()
            self._drop()
            raise
        if got:
            self._holding = con
        else:
            con.close()
        return bool(got)

    def unlock(self) -> None:
        """Give the lock back."""
        if self._holding is not None:
            self._holding.close()  # which rolls back, wherever its connection has got to
            self._holding = None

    def close(self) -> None:
        """Close the connection."""
        self.unlock()
        self._drop()

    def _asked(self, question: str) -> list[tuple[Any, ...]]:
        with self._cursor() as con:
            return con.execute(f"from postgres_query('{_NAME}', ?)", [question]).fetchall()

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._opening:
            if self._con is None:
                self._con = self._connected()
            return self._con.cursor()

    def _drop(self) -> None:
        with self._opening:
            if self._con is not None:
                self._con.close()
                self._con = None

    def _connected(self) -> duckdb.DuckDBPyConnection:
        con = duckdb.connect(":memory:", config={"threads": "1"})
        try:
            load(con, "postgres_scanner")
            con.execute(secret("of_database", self._place))
            con.execute(f"attach {quoted(LIBPQ)} as {_NAME} (type postgres, secret of_database)")
        except BaseException:
            con.close()
            raise
        return con


def secret(name: str, place: "CatalogPlace") -> str:
    """Write the statement that tells a connection how to enter the database."""
    options = {"host": place.host, "port": str(place.port), "database": place.database}
    options |= {word: value for word, value in (("user", place.user), ("password", place.password)) if value}
    return f"create or replace temporary secret {name} (type postgres, {listed(options)})"


def listed(options: dict[str, str]) -> str:
    """Options as SQL writes them."""
    return ", ".join(f"{name} {quoted(value)}" for name, value in options.items())
