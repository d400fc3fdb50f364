"""Rows between Python and the lake: read as dicts, written through Arrow."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

import duckdb
import pyarrow as pa

from researchpacs.catalog._lake import NAME
from researchpacs.catalog._tables import NAME_PARTS, Table, tables

__all__ = ["Written", "as_json", "delete_rows", "insert_rows", "rows_where"]

Row = dict[str, Any]

_ARROW = {
    "BIGINT": pa.int64(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "DOUBLE": pa.float64(),
    "INTEGER": pa.int32(),
    "JSON": pa.string(),
    "TIME": pa.time64("us"),
    "TIMESTAMP": pa.timestamp("us"),
    "UBIGINT": pa.uint64(),
    "VARCHAR": pa.string(),
}

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


_MOST_NEAR = 500


class Written(dict[str, Any]):
    """An object of JSON whose text is known already; it is not altered any more."""

    __slots__ = ("text",)

    def __init__(self, values: Mapping[str, Any], text: str) -> None:
        super().__init__(values)
        self.text = text


def rows_where(
    con: duckdb.DuckDBPyConnection,
    table: str,
    column: str,
    values: Collection[str] | Collection[int],
    *,
    only: Sequence[str] = (),
    near: Mapping[str, Collection[Any]] | None = None,
) -> list[Row]:
    """Read the rows whose column has one of the values, and others those of `near`; JSON is parsed."""
    if not values:
        return []
    schema = tables()[table]
    names = list(only) or [one.name for one in schema.columns]
    parsed = {one.name for one in schema.columns if one.type == "JSON"}
    chosen = ", ".join(map(_name, names))
    beside, bound = _near(near or {})
    query = f"select {chosen} from {_full(table)} where {_name(column)} in ({_marks(values)}){beside}"  # noqa: S608
    found = con.execute(query, [*values, *bound]).fetchall()
    return [
        {name: _parse(value) if name in parsed else value for name, value in zip(names, line, strict=True)}
        for line in found
    ]


def insert_rows(con: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append rows."""
    if not rows:
        return
    con.register("incoming_rows", _arrow_table(tables()[table], rows))
    try:
        con.execute(f"insert into {_full(table)} by name select * from incoming_rows")  # noqa: S608
    finally:
        con.unregister("incoming_rows")


def delete_rows(
    con: duckdb.DuckDBPyConnection,
    table: str,
    names: Sequence[str],
    keys: Iterable[tuple[Any, ...]],
    *,
    near: Mapping[str, Collection[Any]] | None = None,
) -> int:
    """Remove the rows whose columns `names` have one of the combinations `keys`, and others the values of `near`.

    Returns
    -------
    count
        How many there were.
    """
    wanted = sorted(set(keys))
    if not wanted:
        return 0
    columns = [pa.array([key[at] for key in wanted]) for at in range(len(names))]
    con.register("outgoing_keys", pa.table(dict(zip(names, columns, strict=True))))
    # The plain list lets DuckDB skip data files by their minima and maxima; the combination decides.
    sorting = names.index("SeriesInstanceUID") if "SeriesInstanceUID" in names else len(names) - 1
    narrow = sorted({key[sorting] for key in wanted})
    same = " and ".join(f"k.{_name(name)} = {table}.{_name(name)}" for name in names)
    beside, bound = _near(near or {})
    try:
        row = con.execute(
            f"delete from {_full(table)} where {_name(names[sorting])} in ({_marks(narrow)}){beside} "  # noqa: S608
            f"and exists (select 1 from outgoing_keys k where {same})",
            [*narrow, *bound],
        ).fetchone()
    finally:
        con.unregister("outgoing_keys")
    return int(row[0]) if row else 0


def _near(values: Mapping[str, Collection[Any]]) -> tuple[str, list[Any]]:
    """Conditions by which DuckDB skips files and row groups, and what they bind."""
    conditions, bound = [], []
    for name, some in values.items():
        there = [value for value in some if value is not None]
        if len(some) <= _MOST_NEAR:
            either = [f"{_name(name)} in ({_marks(there)})"] if there else []
            either += [f"{_name(name)} is null"] if len(there) < len(some) else []
            conditions.append(f" and ({' or '.join(either)})")
            bound += there
    return "".join(conditions), bound


def _arrow_table(table: Table, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    columns = {}
    for column in table.columns:
        values = _column(rows, column.name)
        if values[0] is None and values.count(None) == len(values):
            columns[column.name] = pa.nulls(len(values), _arrow_type(column.type))
            continue
        if column.type == "JSON":
            values = [None if value is None else as_json(value) for value in values]
        columns[column.name] = pa.array(values, _arrow_type(column.type))
    return pa.table(columns)


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    try:
        return list(map(itemgetter(name), rows))
    except KeyError:
        return [row.get(name) for row in rows]


@cache
def _arrow_type(kind: str) -> pa.DataType:
    if kind.endswith("[]"):
        return pa.list_(_arrow_type(kind.removesuffix("[]")))
    if kind.startswith("STRUCT"):
        return pa.struct([(part, pa.string()) for part in NAME_PARTS])
    return _ARROW[kind]


def as_json(value: Any) -> str:
    """Write a value as the lake keeps it."""
    if isinstance(value, Written):
        return value.text
    return _encode(value)


def _parse(value: str | None) -> Any:
    return None if value is None else json.loads(value)


def _full(table: str) -> str:
    return f"{NAME}.main.{_name(table)}"


def _name(name: str) -> str:
    return f'"{name}"'


def _marks(values: Collection[Any]) -> str:
    return ", ".join("?" * len(values))
