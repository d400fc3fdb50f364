"""Rows go: instances, the parents they leave empty, and what peers were told of them."""

import sqlite3
from collections.abc import Mapping, Sequence

__all__ = ["delete_rows"]


def delete_rows(con: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> None:
    """Delete instances and parents left empty, and announce it."""
    (last,) = con.execute("update feed set last = last + ? returning last", (len(rows),)).fetchone()
    deletion = "insert or replace into deletions values (?, ?, ?, ?, ?, ?, ?)"
    for seq, row in enumerate(rows, start=last - len(rows) + 1):
        con.execute("delete from instances where key = ?", (row["key"],))
        con.execute(_forget("instances"), (row["orthanc_id"],) * 2)
        identity = [row[name] for name in ("patient_id", "issuer", "study_uid", "series_uid", "sop_uid")]
        con.execute(deletion, (row["key"], seq, *identity))
    for patient, study, series in {(row["patient_key"], row["study_uid"], row["series_uid"]) for row in rows}:
        _delete_empty(con, "series", "instances", {"patient_key": patient, "study_uid": study, "series_uid": series})
    for patient, study in {(row["patient_key"], row["study_uid"]) for row in rows}:
        _delete_empty(con, "studies", "series", {"patient_key": patient, "study_uid": study})
    for patient in {row["patient_key"] for row in rows}:
        _delete_empty(con, "patients", "studies", {"patient_key": patient})


def _delete_empty(con: sqlite3.Connection, table: str, below: str, key: Mapping[str, str]) -> None:
    condition = " and ".join(f"{column} = :{column}" for column in key)
    gone = con.execute(
        f"delete from {table} where {condition} and not exists (select 1 from {below} where {condition})"  # noqa: S608
        " returning orthanc_id",
        key,
    ).fetchall()
    for (name,) in gone:
        con.execute(_forget(table), (name, name))


def _forget(table: str) -> str:
    """Peers hear no more of an object that is gone, unless another patient's has the same name."""
    return f"delete from journal where orthanc_id = ? and not exists (select 1 from {table} where orthanc_id = ?)"  # noqa: S608
