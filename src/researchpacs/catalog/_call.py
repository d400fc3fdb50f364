"""What a user hands to `Catalog.sql` -> what DuckDB binds and runs."""

import re
from typing import Any

import duckdb

from researchpacs.errors import InvalidInputError

__all__ = ["as_bindable", "may_stray", "refuse_transactions"]

_STRAYING = re.compile(r"\b(use|detach|schema|search_path)\b", re.IGNORECASE)
_MAY_BEGIN = re.compile(r"\b(begin|start|commit|end|rollback|abort)\b", re.IGNORECASE)


def as_bindable(value: Any) -> Any:
    """Give a handle's UID, numpy's scalars as Python's, arrays and columns as lists; all else as it is."""
    if hasattr(value, "uid") and hasattr(value, "attributes"):
        return value.uid
    if isinstance(value, list):
        return [as_bindable(one) for one in value]
    if hasattr(value, "tolist"):
        # In nanoseconds numpy's dates would become integers.
        kind = getattr(getattr(value, "dtype", None), "kind", "")
        return (value.astype("datetime64[us]") if kind == "M" and hasattr(value, "astype") else value).tolist()
    return value


def may_stray(query: str) -> bool:
    """Whether a query may leave the connection with another default than the catalog."""
    return _STRAYING.search(query) is not None


def refuse_transactions(query: str) -> None:
    """Refuse to begin a transaction: this connection would read its state for ever, whatever is stored."""
    if _MAY_BEGIN.search(query) and any(
        statement.type == duckdb.StatementType.TRANSACTION for statement in duckdb.extract_statements(query)
    ):
        raise InvalidInputError(
            "transactions are not for this connection, which reads what is newest; leave out begin, commit and "
            "rollback, or attach the catalog to a DuckDB of your own with pacs.attach_sql()"
        )
