"""Studies, series and their instances by UID, as the ledger's indexes find them."""

import sqlite3
from collections.abc import Sequence

from researchpacs.errors import InvalidInputError, NotFoundError

__all__ = ["only_owner", "series_query"]


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
