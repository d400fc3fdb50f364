"""Attributes of instances, each kept once: in ``series_common`` what all instances of a series share, in
``instances_own`` the others. The view ``instances`` puts them together again.

What is common is a function of the instances that there are, so a series that grew or shrank step by step equals one
that was made anew. Where it changes, the rows of the series are written again; mostly it is settled after the second.
"""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import duckdb

from researchpacs.catalog._alike import Alike
from researchpacs.catalog._derive import common_of
from researchpacs.catalog._rows import delete_rows, insert_rows, rows_where

__all__ = ["Kept", "Key", "read_kept", "replace_kept"]

Row = dict[str, Any]
Key = tuple[str, ...]

SERIES = ("patient_key", "StudyInstanceUID", "SeriesInstanceUID")
_UID = "SOPInstanceUID"
_INSTANCE = (*SERIES, _UID)
_PLAIN = re.compile(r"[0-9.]+")
_IN_COLUMN = 0
"""Stands for the UID that is in the column beside, which is a fifth of all that an instance has of its own; no data set
has a number there."""


@dataclass(slots=True)
class Kept:
    """The instances of a series as they are in the catalog."""

    common: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    """With all their attributes."""


def read_kept(con: duckdb.DuckDBPyConnection, series: Iterable[Key]) -> dict[Key, Kept]:
    """Read series of instances; those that are not there are left out."""
    wanted = set(series)
    found: dict[Key, Kept] = {}
    for row in rows_where(con, "series_common", "SeriesInstanceUID", {key[2] for key in wanted}):
        if (key := _key(row, SERIES)) in wanted:
            found[key] = Kept(row["tags"])
    for row in rows_where(con, "instances_own", "SeriesInstanceUID", {key[2] for key in found}):
        if (key := _key(row, SERIES)) in found:
            tags = {**found[key].common, **row["tags"]}
            if tags.get(_UID) == _IN_COLUMN:
                tags[_UID] = row[_UID]
            found[key].rows.append({**row, "tags": tags})
    return found


def replace_kept(
    con: duckdb.DuckDBPyConnection, before: Mapping[Key, Kept], now: Mapping[Key, Sequence[Row]], new: set[str]
) -> None:
    """Bring series to the instances they have now; to be called inside a transaction.

    Parameters
    ----------
    con
        Attached for writing.
    before
        What `read_kept` gave.
    now
        All instances of each series with all their attributes; none for one that is gone.
    new
        Keys of the instances that are not in the catalog as they are now.
    """
    rewritten: list[Key] = []
    gone: list[Key] = []
    common_rows: list[Row] = []
    own_rows: list[Row] = []
    for key, rows in now.items():
        kept = before.get(key)
        common = _common(kept, rows, new)
        if kept is not None and rows and common == kept.common:
            stay = {row["instance_key"] for row in rows} - new
            gone += [_key(row, _INSTANCE) for row in kept.rows if row["instance_key"] not in stay]
            own_rows += _own([row for row in rows if row["instance_key"] in new], common)
            continue
        rewritten += [key] if kept is not None else []
        if rows:
            common_rows.append({**dict(zip(SERIES, key, strict=True)), "tags": common})
            own_rows += _own(rows, common)
    delete_rows(con, "instances_own", _INSTANCE, gone)
    delete_rows(con, "instances_own", SERIES, rewritten)
    delete_rows(con, "series_common", SERIES, rewritten)
    insert_rows(con, "series_common", common_rows)
    insert_rows(con, "instances_own", own_rows)


def _common(kept: Kept | None, rows: Sequence[Row], new: set[str]) -> dict[str, Any]:
    """What all rows share, in the order of the keywords."""
    if not rows:
        return {}
    stays = [row for row in rows if row["instance_key"] not in new]
    if kept is not None and stays and len(stays) == len(kept.rows):
        found = common_of([kept.common, *(row["tags"] for row in rows if row["instance_key"] in new)])
    else:
        found = common_of([row["tags"] for row in rows])
    return dict(sorted(found.items()))


def _own(rows: Iterable[Row], common: Mapping[str, Any]) -> list[Row]:
    """Leave out of rows what is common."""
    beside: dict[int, Set[str]] = {}  # by base: what it has that is not common
    found = []
    for row in rows:
        tags, uid = row["tags"], row[_UID]
        if isinstance(tags, Alike):
            base = tags.base
            if id(base) not in beside:
                beside[id(base)] = base.keys() - common.keys()
            names = beside[id(base)] | (tags.own.keys() - common.keys())
        else:
            names = tags.keys() - common.keys()
        own = {keyword: tags[keyword] for keyword in sorted(names)}
        if own.get(_UID) == uid and _PLAIN.fullmatch(uid):
            own[_UID] = _IN_COLUMN
        found.append({**row, "tags": own})
    return found


def _key(row: Row, names: Sequence[str]) -> Key:
    return tuple(row[name] for name in names)
