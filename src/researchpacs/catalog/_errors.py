"""DuckDB's errors -> errors of the contract: what was wrong and the next step, without a value from the data."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from researchpacs.catalog._damage import DamagedError, may_be_damage
from researchpacs.catalog._outage import outage
from researchpacs.catalog._show import asks_who
from researchpacs.errors import InvalidInputError

__all__ = ["telling_sql_errors"]

_STATIC = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
_NEXT_STEP = {
    duckdb.CatalogException: "pacs.schema() lists the tables and columns",
    duckdb.BinderException: "pacs.schema() lists the tables and columns",
    duckdb.ParserException: "see https://duckdb.org/docs/sql/introduction",
    duckdb.ConversionException: "try_cast(...) gives NULL where a value does not convert",
}
_DAMAGED = (
    "a file that the query reads is missing or damaged. If it is none of your own: the catalog holds nothing that the "
    "archive does not; make it anew with sync(rebuild=True) or `researchpacs sync --rebuild`"
)
_READ_ONLY = re.compile(r"read-only mode|Can only (update|delete from) base table")
_INTERRUPTED = "Query interrupted"
_PARAMETERS = re.compile(r"prepared (statement )?parameters?|argument/count mismatch")


@contextmanager
def telling_sql_errors(query: str, con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Turn an error of the user's SQL into InvalidInputError, and what DuckDB makes of Ctrl+C back into that.

    Raises
    ------
    DamagedError
        A file cannot be read, which may be one of the lake's.
    RemoteError, AccessError
        What it reads does not answer, or not to this user.
    """
    try:
        yield
    except duckdb.Error as error:
        if isinstance(error, duckdb.IOException) and (gone := outage(error, "what the query reads")):
            raise gone from None
        if may_be_damage(error):
            raise DamagedError(_DAMAGED) from None
        raise InvalidInputError(_message(error, query)) from _without_values(error)
    except (RuntimeError, UnicodeError) as error:
        if isinstance(error, RuntimeError) and str(error) == _INTERRUPTED:
            # Its other threads go on with the query otherwise, and the next one waits for them.
            con.interrupt()
            raise KeyboardInterrupt from None
        # pybind11's word for text that is not UTF-8; it may quote the text.
        raise InvalidInputError(
            "a text bound to the query holds half of a surrogate pair; give whole Unicode"
        ) from None


def _message(error: duckdb.Error, query: str) -> str:
    text = str(error).split("\n\nLINE ")[0].strip()
    if _READ_ONLY.search(text):
        return (
            "the catalog is read-only: the archive's ingest() and delete() change it. "
            "Your own tables go into `create temp table ...`"
        )
    if _PARAMETERS.search(text):
        return f"{_first_line(text)}. Give every $name of the query as an argument: sql('... $uid', uid=...)"
    if isinstance(error, duckdb.InvalidInputException) and asks_who(query):
        return (
            "a function of the query refuses a value, which may say who a patient is and is left out; check the query"
        )
    step = next((step for kind, step in _NEXT_STEP.items() if isinstance(error, kind)), "check the query")
    return f"{_as_safe(error, text)}; {step}"


def _as_safe(error: duckdb.Error, text: str) -> str:
    """Errors found before the query ran name the query's own words; those found later may quote data."""
    if isinstance(error, _STATIC):
        return " ".join(text.split())
    return re.sub(r"'[^']*'?|\"[^\"]*\"?", "(value)", _first_line(text))


def _first_line(text: str) -> str:
    return text.splitlines()[0].rstrip(". ") if text else "the query failed"


def _without_values(error: duckdb.Error) -> duckdb.Error | None:
    """The cause is shown in notebooks too, so one that may quote data is left out."""
    return error if isinstance(error, _STATIC) else None
