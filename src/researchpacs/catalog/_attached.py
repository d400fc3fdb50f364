"""Other catalogs and indexes beside one's own, under names of their own, in the connection that asks.

Each is a small database of views that is attached read-only. A lake's own views name the lake as its own connections
call it, so they are written anew here: taken over as they stand, they would answer from one's own archive.
"""

import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import duckdb

from researchpacs.catalog._following import Following
from researchpacs.catalog._lake import NAME, load, quoted
from researchpacs.catalog._tables import tables
from researchpacs.errors import InvalidInputError, NotFoundError

__all__ = ["Attached", "Foreign", "ForeignCatalog", "check_name"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TAKEN = frozenset({NAME, "information_schema", "main", "memory", "pg_catalog", "system", "temp"})
_WORD = re.compile(r"\w+")


class Foreign(Protocol):
    """What can be attached."""

    def catch_up(self) -> None:
        """See that it is there, and has all that it should have."""
        ...

    def stamp(self) -> object:
        """What tells it from another that was put in its place."""
        ...

    def prepare(self, con: duckdb.DuckDBPyConnection, alias: str) -> None:
        """Attach what its views read, under a name that nobody types."""
        ...

    def views(self, alias: str) -> Iterator[tuple[str, str]]:
        """Name and query of each view."""
        ...


class ForeignCatalog:
    """The catalog of another archive.

    Parameters
    ----------
    catalog
        Of the other archive, which is open.
    """

    def __init__(self, catalog: Following) -> None:
        self._catalog = catalog

    def catch_up(self) -> None:
        """Bring it up to its archive, so that what is stored there is in the next answer."""
        if not self._catalog.home.format_path.is_file():
            raise NotFoundError(f"the archive in {self._catalog.home.path} is not there any more; detach() it")
        if self._catalog.lake.stamp() is None:
            self._catalog.sync()  # it was taken away since
        self._catalog.catch_up()

    def stamp(self) -> object:
        """That of its metadata."""
        return self._catalog.lake.stamp()

    def prepare(self, con: duckdb.DuckDBPyConnection, alias: str) -> None:
        """Attach its lake, read-only."""
        lake = self._catalog.lake
        for extension in lake.extensions:
            load(con, extension)
        lake.prepare(con)
        con.execute(lake.statement(name=alias))

    def views(self, alias: str) -> Iterator[tuple[str, str]]:
        """All its tables."""
        for table in tables().values():
            yield table.name, table.view.replace(f"{NAME}.main.", f"{alias}.main.") or f"from {alias}.main.{table.name}"


class Attached:
    """What is attached now."""

    def __init__(self) -> None:
        self._known: dict[str, Foreign] = {}
        self._shown: dict[str, object] = {}
        self._con: duckdb.DuckDBPyConnection | None = None

    def add(self, name: str, foreign: Foreign) -> None:
        """Attach it from the next question on."""
        self._known[name] = foreign

    def remove(self, name: str) -> None:
        """Detach it."""
        self._known.pop(name)
        self._hide(name)

    def catch_up(self, query: str) -> None:
        """See that what a query names is there, and has all that it should have.

        Raises
        ------
        NotFoundError
            It is not there any more.
        """
        for name in self._named(query):
            self._known[name].catch_up()

    def show(self, con: duckdb.DuckDBPyConnection, query: str, spill: Path) -> None:
        """Attach to a connection what a query names, as it is now.

        Parameters
        ----------
        con
            That asks.
        query
            What it asks.
        spill
            Where the databases of views are made.
        """
        if con is not self._con:
            self._con, self._shown = con, {}
        for name in self._named(query):
            foreign = self._known[name]
            stamp = foreign.stamp()
            if self._shown.get(name) == stamp:
                continue
            self._hide(name)
            _show(con, name, foreign, spill)
            self._shown[name] = stamp

    def _named(self, query: str) -> set[str]:
        return {word.lower() for word in _WORD.findall(query)} & set(self._known) if self._known else set()

    def _hide(self, name: str) -> None:
        if self._shown.pop(name, None) is not None and self._con is not None:
            for database in (name, _alias(name)):
                self._con.execute(f'detach database if exists "{database}"')


def check_name(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Refuse a name that a query could not use, or not without meaning something else.

    Raises
    ------
    InvalidInputError
        It is none, is reserved, or is taken.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInputError(
            "a name to attach under is made of small letters, digits and '_', as in attach('idc', ...)"
        )
    reserved = "select 1 from duckdb_keywords() where keyword_name = $1 and keyword_category = 'reserved'"
    if name in _TAKEN or name in tables() or con.execute(reserved, [name]).fetchone():
        raise InvalidInputError(f"{name!r} means something else in SQL or in the catalog; attach under another name")
    if con.execute("select 1 from duckdb_databases() where lower(database_name) = $1", [name]).fetchone():
        raise InvalidInputError(f"something is attached as {name!r} already; detach() it, or use another name")


def _alias(name: str) -> str:
    return f"researchpacs_of_{name}"


def _show(con: duckdb.DuckDBPyConnection, name: str, foreign: Foreign, spill: Path) -> None:
    alias = _alias(name)
    foreign.prepare(con, alias)
    # In a file, because only a file can be attached read-only.
    spill.mkdir(parents=True, exist_ok=True)
    file = quoted(str(spill / f"{secrets.token_hex(8)}.duckdb"))
    con.execute(f'attach {file} as "{name}"')
    for view, query in foreign.views(alias):
        con.execute(f'create view "{name}".main."{view}" as {query}')
    con.execute(f'detach "{name}"')
    con.execute(f'attach {file} as "{name}" (read_only)')
