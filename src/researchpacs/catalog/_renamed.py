"""Which names a query gives by itself: the name of such a column says nothing of what is in it."""

import json
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from typing import Any

import duckdb

__all__ = ["names_given"]


@lru_cache(maxsize=32)
def names_given(query: str, tables: frozenset[str]) -> frozenset[str] | None:
    """Names in a query, in lower case, that it does not use as columns that are there: aliases, however they are given.

    None where any name may be given: in other tables than those of the catalog, and where DuckDB does not tell, as of
    other statements than selects.
    """
    try:
        with closing(duckdb.connect(":memory:")) as con:
            (text,) = con.execute("select json_serialize_sql(?)", [query]).fetchone() or ("{}",)
        tree = json.loads(text)
    except (duckdb.Error, RuntimeError, ValueError, RecursionError):
        return None
    words = [] if tree.get("error", True) else list(_words(tree["statements"]))
    asked = {word for key, word in words if key == "table_name"}
    return frozenset(word.lower() for _, word in words) if words and asked <= tables else None


def _words(tree: Any) -> Iterator[tuple[str, str]]:
    """Every text in a tree but names of columns that are there, with the key that it stands under."""
    waiting: list[tuple[str, Any]] = [("", tree)]
    while waiting:
        key, part = waiting.pop()
        if isinstance(part, str):
            yield key, part
        elif isinstance(part, list):
            waiting += [(key, one) for one in part]
        elif isinstance(part, dict):
            waiting += [(name, one) for name, one in part.items() if name != "column_names"]
