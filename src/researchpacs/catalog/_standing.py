"""``series_keys``: which series each patient has, and where their rows stand in the order of the other tables.

To change a row of a large table, its place is worth more than its name: UIDs are scattered over all of a table that is
sorted by date, while the date leads to a few thousand rows. Who reads or removes by a place that turns out to be wrong
looks everywhere.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import duckdb

from researchpacs.catalog._rows import delete_rows, rows_where

__all__ = ["Known", "keys_row", "known_series", "near", "remove", "rows_of"]

Row = dict[str, Any]
Key = tuple[str, ...]
Known = Mapping[Key, Row]
"""Rows of ``series_keys`` by patient, study and series."""
Near = Mapping[str, Collection[Any]]
"""Values of the columns by which a table is sorted, that the rows wanted have."""

_SERIES = ("patient_key", "StudyInstanceUID", "SeriesInstanceUID")
_PLACE = ("StudyDate", "Modality", "BodyPartExamined")


def keys_row(series: Row) -> Row:
    """The row of a series."""
    return {name: series[name] for name in (*_SERIES, *_PLACE, "text_key")}


def known_series(con: duckdb.DuckDBPyConnection, patients: Collection[str]) -> Known:
    """Read which series patients have in the catalog."""
    return {
        tuple(row[name] for name in _SERIES): row for row in rows_where(con, "series_keys", "patient_key", patients)
    }


def near(rows: Iterable[Row], *names: str) -> Near:
    """Say where rows of other tables stand that belong to these series."""
    given = list(rows)
    return {name: {row[name] for row in given} for name in names or _PLACE}


def rows_of(con: duckdb.DuckDBPyConnection, table: str, names: tuple[str, ...], keys: set[Key], at: Near) -> list[Row]:
    """Read the rows of `keys`, each of which is there once."""
    uids = {key[-1] for key in keys}
    for place in (at, {}):
        found = [row for row in rows_where(con, table, names[-1], uids, near=place) if _key(row, names) in keys]
        if len(found) == len(keys):
            break
    return found


def remove(con: duckdb.DuckDBPyConnection, table: str, names: tuple[str, ...], keys: set[Key], at: Near) -> None:
    """Remove the rows of `keys`, each of which is there once."""
    if delete_rows(con, table, names, keys, near=at) < len(keys):
        delete_rows(con, table, names, keys)


def _key(row: Row, names: tuple[str, ...]) -> Key:
    return tuple(row[name] for name in names)
