"""Studies, series and their instances by UID, as the ledger's indexes find them."""

import sqlite3
from collections.abc import Sequence

from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.model import Level

__all__ = ["instances_of", "look_up", "only_owner", "series_query"]

_LEVELS = {"study": ("studies", "study_uid", 2), "series": ("series", "series_uid", 3)}
_OWNER = ("patient_key", "study_uid", "series_uid")
_LAST = chr(0x10FFFF)
_INSTANCES = """
select key, sop_uid, json_extract(attributes, '$.InstanceNumber') as number
from instances
where (patient_key, study_uid, series_uid) = (?, ?, ?)
"""


def look_up(con: sqlite3.Connection, level: Level, uid: str) -> list[tuple[str, ...]]:
    """Find the studies or series of a UID, else those whose UID begins so: patient_key and UIDs of two at most."""
    if level not in _LEVELS:
        raise InvalidInputError(f"studies and series are looked up by UID, not objects of the level {level}")
    table, column, depth = _LEVELS[level]
    query = f"select {', '.join(_OWNER[:depth])} from {table} where {column} between ? and ? limit 2"  # noqa: S608
    found = con.execute(query, (uid, uid)).fetchall() or con.execute(query, (uid, uid + _LAST)).fetchall()
    return [tuple(row) for row in found]


def instances_of(con: sqlite3.Connection, owner: tuple[str, ...]) -> list[tuple[str, str]]:
    """Key and SOPInstanceUID of the instances of a series, named by patient_key and UIDs, by InstanceNumber."""
    rows = con.execute(_INSTANCES, owner).fetchall()
    rows.sort(key=lambda row: (*_number(row["number"]), row["sop_uid"], row["key"]))
    return [(row["key"], row["sop_uid"]) for row in rows]


def _number(text: str | None) -> tuple[bool, int]:
    """Sort instances without a number last, as the catalog does."""
    try:
        return False, int(text or "")
    except ValueError:
        return True, 0


def series_query(*columns: str, extra: str = "") -> str:
    """Write the query for the instances, as ``i``, of the series ``:uid``, with who owns each."""
    chosen = ", ".join((*columns, "i.patient_key", "i.study_uid"))
    return f"""
    select {chosen}
    from series s
    join instances i
        on i.patient_key = s.patient_key and i.study_uid = s.study_uid and i.series_uid = s.series_uid
    {extra}
    where s.series_uid = :uid
    """  # noqa: S608 - names of columns, from this package


def only_owner(rows: Sequence[sqlite3.Row], series_uid: str) -> Sequence[sqlite3.Row]:
    """Give back the instances of a series, which has to be one.

    Raises
    ------
    NotFoundError
        There is none.
    InvalidInputError
        Series of several patients or studies share the UID.
    """
    if not rows:
        raise NotFoundError(f"no series {series_uid} is in the archive")
    first = rows[0]["patient_key"], rows[0]["study_uid"]
    if any((row["patient_key"], row["study_uid"]) != first for row in rows):
        owners = {(row["patient_key"], row["study_uid"]) for row in rows}
        raise InvalidInputError(
            f"{len(owners)} series of other patients or studies share the SeriesInstanceUID {series_uid}; "
            "pacs.sql() tells them apart by patient_key and StudyInstanceUID"
        )
    return rows
