"""`Schema`: the catalog's tables and columns with their comments."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from researchpacs.catalog._features import FEATURES
from researchpacs.catalog._lake import NAME
from researchpacs.catalog._tables import tables

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

__all__ = ["Schema", "read_schema"]

_COLUMNS = """
select table_name, column_name, data_type, comment
from duckdb_columns()
where database_name = ? and not internal
order by column_index
"""


def read_schema(con: "duckdb.DuckDBPyConnection", features: Sequence[tuple[str, str, str, str]]) -> "Schema":
    """Read what tables the lake has; `features` are the columns of the tables beside it."""
    found = con.execute(_COLUMNS, [NAME]).fetchall()
    # A lake has no place for comments on views: theirs stand where the views are made.
    known = {(table.name, one.name): one.comment for table in tables().values() for one in table.columns}
    order = {name: at for at, name in enumerate(tables())}
    found.sort(key=lambda row: order.get(row[0], len(order)))
    comments = {name: tables()[name].comment for name in dict.fromkeys(row[0] for row in found) if name in tables()}
    columns = [(table, name, kind, comment or known.get((table, name), "")) for table, name, kind, comment in found]
    return Schema(comments | {row[0]: FEATURES for row in features}, [*columns, *features])


class Schema:
    """Tables, columns, types and comments, as `duckdb_columns()` has them in the catalog.

    Parameters
    ----------
    tables
        Comment by table.
    columns
        ``(table, column, type, comment)``, in order.
    """

    def __init__(self, tables: Mapping[str, str], columns: Sequence[tuple[str, str, str, str]]) -> None:
        self._comments = dict(tables)
        self._columns = list(columns)

    @property
    def tables(self) -> list[str]:
        """Names of the tables."""
        return list(self._comments)

    def df(self) -> "pd.DataFrame":
        """One row per column: table, column, type, comment."""
        import pandas as pd

        return pd.DataFrame(self._columns, columns=["table", "column", "type", "comment"])

    def as_markdown(self) -> str:
        """The tables as sections of a page, a row per column."""
        parts = []
        for table, comment in self._comments.items():
            lines = [f"## {table}", "", _in_cell(comment), "", "| column | type | what it is |", "|---|---|---|"]
            own = [column for owner, *column in self._columns if owner == table]
            lines += [f"| `{name}` | {_in_cell(_short(kind))} | {_in_cell(text)} |" for name, kind, text in own]
            parts.append("\n".join(lines))
        return "\n\n".join(parts) + "\n"

    def __repr__(self) -> str:
        lines = []
        for table, comment in self._comments.items():
            lines += ["", f"{table}: {comment}"]
            lines += [f"  {name}  {kind}  {text}" for owner, name, kind, text in self._columns if owner == table]
        return "\n".join(lines).strip()

    def _repr_html_(self) -> str:
        return "".join(self._section(table, comment) for table, comment in self._comments.items())

    def _section(self, table: str, comment: str) -> str:
        left = "<td style='text-align:left'>"
        rows = "".join(
            f"<tr>{left}<code>{escape(name)}</code></td>{left}{escape(kind)}</td>{left}{escape(text)}</td></tr>"
            for owner, name, kind, text in self._columns
            if owner == table
        )
        return f"<details><summary><b>{escape(table)}</b> {escape(comment)}</summary><table>{rows}</table></details>"


def _in_cell(text: str) -> str:
    """Plain text for a table of Markdown."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def _short(kind: str) -> str:
    """A type as a page has room for it."""
    return "STRUCT" if kind.startswith("STRUCT") else kind
