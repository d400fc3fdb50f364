"""Make the lake's tables; only ever under the catalog's lock."""

from typing import NamedTuple

import duckdb

from researchpacs.catalog._lake import NAME, SCHEMA_VERSION
from researchpacs.catalog._tables import Table, tables
from researchpacs.errors import UnsupportedError

__all__ = ["State", "create_tables", "drop_tables", "found_state", "set_options"]

# In parentheses are private attributes, whose value lies beside their creator.
_VALUE = "case when keyword like '(%' then tags -> keyword -> 'value' else tags -> keyword end"
_MACROS = (
    f"tag(tags, keyword) as ({_VALUE}) ->> '$'",
    f"tag_num(tags, keyword) as try_cast(({_VALUE}) ->> '$' as double)",
    f"""tag_list(tags, keyword) as case json_type({_VALUE})
        when 'ARRAY' then ({_VALUE}) ->> '$[*]'
        when 'NULL' then null
        else [({_VALUE}) ->> '$']
    end""",
)

# To show a row, all of its group is unpacked, of tags alone a kilobyte a row. In version 2 texts stand with their
# lengths apart, and are read in half the time.
_OPTIONS = {"parquet_compression": "zstd", "parquet_row_group_size": "10240", "parquet_version": "2"}


class State(NamedTuple):
    """The row of ``sync_state``."""

    version: int
    """Of the tables."""
    feed_id: str
    last: int
    """The change of the feed that was reached."""


def set_options(con: duckdb.DuckDBPyConnection) -> None:
    """Tell a new lake how to write its files."""
    for name, value in _OPTIONS.items():
        con.execute(f"call {NAME}.set_option('{name}', '{value}')")


def found_state(con: duckdb.DuckDBPyConnection) -> State | None:
    """Read which version the tables have, and how far they have followed; None where there are none.

    Raises
    ------
    UnsupportedError
        A newer version of researchpacs made them.
    """
    try:
        row = con.execute(f"select schema_version, feed_id, last_seq from {NAME}.main.sync_state").fetchone()  # noqa: S608
    except duckdb.CatalogException:
        return None
    state = State(int(row[0]), str(row[1]), int(row[2])) if row else State(0, "", 0)
    if state.version > SCHEMA_VERSION:
        raise UnsupportedError(
            f"the catalog has version {state.version}, this version of researchpacs knows {SCHEMA_VERSION}. "
            "Upgrade with: pip install --upgrade researchpacs"
        )
    return state


def create_tables(con: duckdb.DuckDBPyConnection, feed_id: str) -> None:
    """Make all tables, empty, the views and the macros; to be called inside a transaction."""
    for table in tables().values():
        if not table.view:
            _create(con, table)
    for view in tables().values():
        if view.view:
            con.execute(f"create view {NAME}.main.{view.name} as {view.view}")
    for macro in _MACROS:
        con.execute(f"create macro {NAME}.main.{macro}")
    con.execute(f"insert into {NAME}.main.sync_state values (?, ?, 0)", [SCHEMA_VERSION, feed_id])  # noqa: S608


def drop_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Drop everything that this or an older version made."""
    views = con.execute("select view_name from duckdb_views() where database_name = ? and not internal", [NAME])
    for (name,) in views.fetchall():
        con.execute(f'drop view {NAME}.main."{name}"')
    names = con.execute("select table_name from duckdb_tables() where database_name = ?", [NAME]).fetchall()
    for (name,) in names:
        con.execute(f'drop table {NAME}.main."{name}"')
    macros = con.execute("select distinct function_name from duckdb_functions() where database_name = ?", [NAME])
    for (name,) in macros.fetchall():
        con.execute(f'drop macro {NAME}.main."{name}"')


def _create(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    full = f"{NAME}.main.{table.name}"
    columns = ", ".join(f'"{column.name}" {column.type}' for column in table.columns)
    con.execute(f"create table {full} ({columns})")
    con.execute(f"comment on table {full} is {_quoted(table.comment)}")
    for column in table.columns:
        con.execute(f'comment on column {full}."{column.name}" is {_quoted(column.comment)}')
    if table.sorted_by:
        con.execute(f"alter table {full} set sorted by ({', '.join(f'{name} asc' for name in table.sorted_by)})")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
