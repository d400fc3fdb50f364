"""Conditions over the row of a series, as a person writes them into a configuration, and a fence around them.

A condition is one SQL expression out of columns, constants, comparisons and functions of a list. It is asked of a
DuckDB of its own that holds nothing but the rows in question: no files, extensions, settings or other tables, not the
lake, little memory and little time.
"""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from researchpacs.catalog._ddl import _MACROS
from researchpacs.catalog._errors import telling_sql_errors
from researchpacs.catalog._series_geometry import SERIES_GEOMETRY
from researchpacs.catalog._tables import column_types
from researchpacs.errors import InvalidInputError

if TYPE_CHECKING:
    import pyarrow as pa

    from researchpacs.catalog._catalog import Catalog

__all__ = ["FUNCTIONS", "OWNER", "Verdict", "check_condition", "decide", "series_rows"]

OWNER = "series_key"
"""The column that names the series: patient_key/StudyInstanceUID/SeriesInstanceUID."""

_FUNCTIONS = """
    abs age array_contains array_has array_has_all array_has_any array_length ceil ceiling coalesce concat concat_ws
    contains date_diff date_part date_sub date_trunc datediff day dayofweek ends_with floor greatest hour ifnull
    isfinite isnan json_array_length json_contains json_exists json_extract json_extract_string json_type least left
    len length list_any_value list_avg list_contains list_distinct list_has list_has_all list_has_any list_max
    list_min list_sum list_unique list_value lower ltrim minute month now nullif prefix regexp_extract regexp_full_match
    regexp_matches right round row rtrim sign split_part sqrt starts_with strftime string_split strip_accents
    strlen strptime struct_extract substr substring suffix tag tag_list tag_num to_days to_hours to_minutes to_months
    to_seconds to_weeks to_years today trim trunc try_strptime upper week year
    like_escape not_like_escape ilike_escape not_ilike_escape
    + - * / // % ** ^ || -> ->> ~~ !~~ ~~* !~~* ~~~ ^@ && @> <@ @
"""
FUNCTIONS = frozenset(_FUNCTIONS.split())
"""What a condition may call; operators are functions, too."""

_EXPRESSIONS = "BETWEEN CASE CAST COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION OPERATOR"
_CLASSES = frozenset(_EXPRESSIONS.split())
# What the parser itself writes for [1, 2] and extract(year from x).
_ORIGINS = frozenset({("", ""), ("", "main"), ("", "pg_catalog")})
_NAMES = {"SUBQUERY": "query", "WINDOW": "window function"}
_LONGEST = 4_000
_SECONDS = 5.0
_ALONE_S = 10.0
"""For the rows that are asked one after the other, all together."""
_FENCE: dict[str, str | bool | int | float | list[str]] = {
    "allow_community_extensions": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
    "max_temp_directory_size": "0B",
    "memory_limit": "256MB",
    "python_enable_replacements": "false",
    "threads": "1",
}
_GEOMETRY = ("kind", "reasons", "is_volume", "shape", "spacing_z_mm", "spacing_y_mm", "spacing_x_mm")
_LABELS = "select {keys}, list(label order by label) as {name} from labels where level = '{level}' group by all"
_KEYS = ("patient_key", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True, slots=True)
class Verdict:
    """For which series a condition holds."""

    chosen: frozenset[str]
    """By `OWNER`."""
    undecided: frozenset[str]
    """It cannot be computed for these, such as a text that is no number, or not in the time there is for all."""


def check_condition(condition: str, rows: "pa.Table") -> None:
    """Refuse what is no condition.

    Parameters
    ----------
    condition
        SQL.
    rows
        Of `series_rows`; none are needed.

    Raises
    ------
    InvalidInputError
        It is no expression, calls what is not in `FUNCTIONS`, names a column that is not there, or is neither true nor
        false.
    """
    if len(condition) > _LONGEST:
        raise InvalidInputError(f"a condition has at most {_LONGEST} characters, this one {len(condition)}")
    for part in _parts(_tree(condition)):
        name = part.get("function_name")
        if part["class"] not in _CLASSES:
            what = _NAMES.get(part["class"], part["class"].lower())
            raise InvalidInputError(f"a {what} has no place in a condition, which is about one row of a series")
        if name is not None and (name.lower() not in FUNCTIONS or _origin(part) not in _ORIGINS):
            raise InvalidInputError(f"a condition cannot call {name}(); docs/routing.md lists what it may")
    with closing(_fenced(rows.slice(0, 0))) as con, telling_sql_errors(condition, con):
        (kind,) = {str(row[1]) for row in _ask(con, f"describe {_select(condition)}") if row[0] == "chosen"}
    if kind != "BOOLEAN":
        raise InvalidInputError(f"a condition is true or false, this one gives a {kind}")


def decide(condition: str, rows: "pa.Table") -> Verdict:
    """Ask for which of the rows of series a checked condition holds."""
    try:
        fence = _fenced(rows)
    except duckdb.Error:
        return _halved(condition, rows)
    with closing(fence) as con:
        try:
            found, undecided = _chosen(con, condition), set[str]()
        except InvalidInputError:
            # One row may spoil it for all, so each is asked alone.
            found, undecided = set(), set()
            until = time.monotonic() + _ALONE_S
            for owner in rows.column(OWNER).to_pylist():
                if time.monotonic() >= until:  # the others are left to who has time for each
                    undecided.add(owner)
                    continue
                try:
                    found |= _chosen(con, condition, owner)
                except InvalidInputError:
                    undecided.add(owner)
    return Verdict(frozenset(found), frozenset(undecided))


def series_rows(catalog: "Catalog", uids: Sequence[str]) -> "pa.Table":
    """Give the rows of series with what is known of their study, patient and geometry, and their labels.

    Parameters
    ----------
    uids
        SeriesInstanceUIDs; several series may share one.
    """
    chosen = [f'series."{name}"' for name in column_types("series")]
    seen = set(column_types("series"))
    for table in ("studies", "patients"):
        new = [name for name in column_types(table) if name not in seen]
        chosen += [f'{table}."{name}"' for name in new]
        seen |= set(new)
    chosen += [f'geometry."{name}"' for name in _GEOMETRY if name not in seen]
    joins = [
        "join studies using (patient_key, StudyInstanceUID)",
        "join patients using (patient_key)",
        f"left join ({SERIES_GEOMETRY}) geometry using ({', '.join(_KEYS)})",
    ]
    for level, depth, name in (("series", 3, "labels"), ("study", 2, "study_labels"), ("patient", 1, "patient_labels")):
        keys = ", ".join(_KEYS[:depth])
        joins.append(f"left join ({_LABELS.format(keys=keys, name=name, level=level)}) {level}_l using ({keys})")
        chosen.append(f"coalesce({name}, []) as {name}")
    owner = " || '/' || ".join(f"series.{name}" for name in _KEYS)
    where = "where list_contains($uids, series.SeriesInstanceUID)"
    lines = [f"select {owner} as {OWNER}, {', '.join(chosen)}", "from series", *joins, where]
    return catalog.sql("\n".join(lines), uids=list(uids)).arrow()


def _halved(condition: str, rows: "pa.Table") -> Verdict:
    """Decide on rows that are too much together for what a fence may have: their attributes can be megabytes each."""
    if rows.num_rows < 2:
        return Verdict(frozenset(), frozenset(rows.column(OWNER).to_pylist()))
    half = rows.num_rows // 2
    one, two = decide(condition, rows.slice(0, half)), decide(condition, rows.slice(half))
    return Verdict(one.chosen | two.chosen, one.undecided | two.undecided)


def _tree(condition: str) -> dict[str, Any]:
    """What DuckDB reads in a condition: one expression over our table, and nothing around it."""
    try:
        with closing(duckdb.connect(":memory:", config=_FENCE)) as con:
            (text,) = con.execute("select json_serialize_sql(?)", [_select(condition)]).fetchone() or ("{}",)
        read = json.loads(text)
    except (duckdb.Error, RuntimeError, ValueError):
        raise InvalidInputError("the condition cannot be read as SQL; it is nested too deeply or no text") from None
    if read["error"]:
        raise InvalidInputError(f"the condition cannot be read as SQL: {read['error_message']}")
    node = read["statements"][0]["node"]
    around = (len(read["statements"]), node["type"], node.get("from_table", {}).get("table_name"))
    more = [
        node.get(name) for name in ("where_clause", "group_expressions", "having", "qualify", "sample", "modifiers")
    ]
    if around != (1, "SELECT_NODE", "series_index") or len(node["select_list"]) != 2 or any(more):
        raise InvalidInputError("a condition is one expression, such as Modality = 'CT' and instance_count > 20")
    tree: dict[str, Any] = node["select_list"][1]
    return tree


def _parts(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every expression within an expression, itself included; not by recursion, which could go too deep."""
    waiting: list[Any] = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "class" in part:
                yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _origin(part: dict[str, Any]) -> tuple[str, str]:
    return part.get("catalog") or "", part.get("schema") or ""


def _select(condition: str) -> str:
    # On lines of its own, so that a comment ends with it.
    return f"select {OWNER}, (\n{condition}\n) as chosen from series_index"  # noqa: S608 - fenced, from a configuration


def _fenced(rows: "pa.Table") -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(":memory:", config=_FENCE)
    con.register("given", rows)
    con.execute("create table series_index as from given")
    con.unregister("given")
    for macro in _MACROS:
        con.execute(f"create macro {macro}")
    con.execute("set lock_configuration = true")
    return con


def _chosen(con: duckdb.DuckDBPyConnection, condition: str, owner: str | None = None) -> set[str]:
    query = _select(condition) + ("" if owner is None else f"\nwhere {OWNER} = $1")
    with telling_sql_errors(condition, con):
        return {row[0] for row in _ask(con, query, *([owner] if owner else [])) if row[1]}


def _ask(con: duckdb.DuckDBPyConnection, query: str, *values: str) -> list[Any]:
    timer = threading.Timer(_SECONDS, con.interrupt)
    timer.start()
    try:
        return con.execute(query, list(values)).fetchall()
    finally:
        timer.cancel()
