"""Patients, studies, series and instances by the names that Orthanc's clients give them.

Patients of two issuers may share a name; they are one object here, with the attributes of one and the children of both.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

from researchpacs.archive._levels import SOURCE, TABLE
from researchpacs.archive._stored import Stored, stored_of
from researchpacs.archive.question import Question, names_of
from researchpacs.dicom.keywords import LEVELS
from researchpacs.model import Identity, Level, Row
from researchpacs.storage.ledger import Ledger

__all__ = ["Counts", "Entry", "Resource", "Resources"]

_LEVELS: tuple[Level, ...] = ("patient", "study", "series", "instance")
_UID: Mapping[Level, str] = {
    "patient": "patient_id",
    "study": "study_uid",
    "series": "series_uid",
    "instance": "sop_uid",
}
_COUNTS = """
select
    (select count(distinct orthanc_id) from patients),
    (select count(distinct orthanc_id) from studies),
    (select count(distinct orthanc_id) from series),
    (select count(distinct orthanc_id) from instances),
    (select coalesce(sum(size), 0) from instances)
"""
_SETTLING: tuple[Level, ...] = ("series", "study", "patient")


@dataclass(frozen=True, slots=True)
class Resource:
    """One object as the ledger knows it."""

    level: Level
    orthanc_id: str
    identity: Identity
    """Empty below the level."""
    attributes: Mapping[Level, Row] = field(repr=False)
    """Indexed attributes of its level and those above."""
    updated_at: str
    """UTC, ISO 8601: when an instance last came."""
    stable: bool
    children: tuple[str, ...] = ()
    stored: Stored | None = None
    """Of an instance."""

    @property
    def parent(self) -> str | None:
        """Orthanc's name of the object above."""
        depth = _LEVELS.index(self.level)
        return self.identity.orthanc_id(_LEVELS[depth - 1]) if depth else None


class Counts(NamedTuple):
    """How much there is."""

    patients: int
    studies: int
    series: int
    instances: int
    bytes: int


class Entry(NamedTuple):
    """A line of the journal that peers follow."""

    seq: int
    kind: Literal["new", "stable"]
    level: Level
    orthanc_id: str
    at: str
    """UTC, ISO 8601."""


class Resources:
    """Questions about objects by Orthanc's names.

    Parameters
    ----------
    ledger
        Of the archive.
    archive
        The folder of the blobs.
    """

    def __init__(self, ledger: Ledger, archive: Path) -> None:
        self._ledger = ledger
        self._archive = archive

    def names(self, question: Question) -> list[str]:
        """Names of the objects that match, in order."""
        with self._ledger.reading() as con:
            return names_of(con, question)

    def get(self, level: Level, names: Sequence[str]) -> list[Resource]:
        """Objects in the order of their names; those that are not there are left out."""
        with self._ledger.reading() as con:
            rows = {row["orthanc_id"]: row for row in con.execute(_objects(level), (json.dumps(list(names)),))}
            children = _children(con, level, names)
        return [self._resource(level, rows[name], tuple(children.get(name, ()))) for name in names if name in rows]

    def one(self, level: Level, name: str) -> Resource | None:
        """One object, None where it is not there."""
        return next(iter(self.get(level, [name])), None)

    def instances(self, level: Level, name: str, *, limit: int | None = None) -> list[Stored]:
        """All instances of an object, by their InstanceNumber."""
        query = f"""
            select instances.*
            from {SOURCE["instance"]}
            where {TABLE[level]}.orthanc_id = ?
            order by cast(json_extract(instances.attributes, '$.InstanceNumber') as integer), instances.key
            limit ?
            """  # noqa: S608 - built from constants
        with self._ledger.reading() as con:
            rows = con.execute(query, (name, -1 if limit is None else limit)).fetchall()
        return [stored_of(row, self._archive) for row in rows]

    def lookup(self, uid: str) -> list[tuple[Level, str]]:
        """Level and name of all objects with this PatientID or UID."""
        found: list[tuple[Level, str]] = []
        with self._ledger.reading() as con:
            for level in _LEVELS:
                query = f"select distinct orthanc_id from {TABLE[level]} where {_UID[level]} = ?"  # noqa: S608
                found += [(level, name) for (name,) in con.execute(query, (uid,))]
        return found

    def counts(self) -> Counts:
        """How much there is in all."""
        with self._ledger.reading() as con:
            return Counts(*con.execute(_COUNTS).fetchone())

    # -- what peers follow --------------------------------------------------------------------------------------------

    def journal(
        self,
        *,
        since: int,
        limit: int,
        until: int | None = None,
        descending: bool = False,
        names: Sequence[str] | None = None,
    ) -> list[Entry]:
        """Lines after `since`, up to `until`; descending gives the last ones of them, newest first.

        Parameters
        ----------
        names
            What is wanted, such as ``"new study"``; None for everything.
        """
        query = f"""
            select seq, kind, level, orthanc_id, at
            from journal
            where seq > ?1 and seq <= ?2
            and (?4 is null or kind || ' ' || level in (select value from json_each(?4)))
            order by seq {"desc" if descending else "asc"}
            limit ?3
            """  # noqa: S608 - one of two words
        with self._ledger.reading() as con:
            end = (1 << 62) if until is None else until
            wanted = None if names is None else json.dumps(list(names))
            return [Entry(*row) for row in con.execute(query, (since, end, limit, wanted))]

    def last_line(self) -> int:
        """Number of the newest line that ever was; lines go with their objects, numbers do not come back."""
        with self._ledger.reading() as con:
            row = con.execute("select seq from sqlite_sequence where name = 'journal'").fetchone()
        return int(row["seq"]) if row else 0

    def forget_journal(self) -> None:
        """Take all lines away; who follows goes on from the next."""
        with self._ledger.writing() as con:
            con.execute("delete from journal")

    def settle(self, age_s: float) -> int:
        """Announce objects below which no instance has come for `age_s` seconds; how many there were."""
        before = (datetime.now(UTC) - timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        with self._ledger.reading() as con:
            waiting = [
                level
                for level in _SETTLING
                if con.execute(
                    f"select 1 from {TABLE[level]} where not stable and updated_at <= ? limit 1",  # noqa: S608
                    (before,),
                ).fetchone()
            ]
        if not waiting:
            return 0
        with self._ledger.writing() as con:
            return sum(_settle(con, level, before) for level in waiting)

    # -- behind -------------------------------------------------------------------------------------------------------

    def _resource(self, level: Level, row: sqlite3.Row, children: tuple[str, ...]) -> Resource:
        above = _LEVELS[: _LEVELS.index(level) + 1]
        uids = [row[_UID[one]] if one in above else "" for one in _LEVELS[1:]]
        return Resource(
            level=level,
            orthanc_id=row["orthanc_id"],
            identity=Identity(row["patient_id"], row["issuer"], *uids),
            attributes={one: json.loads(row[f"{one}_attributes"]) for one in above},
            updated_at=row["updated_at"],
            stable=bool(row["stable"]),
            children=children,
            stored=stored_of(row, self._archive) if level == "instance" else None,
        )


def _objects(level: Level) -> str:
    """Select objects of these names with all that is said of their parents."""
    table = TABLE[level]
    attributes = ", ".join(f"{TABLE[one]}.attributes as {one}_attributes" for one in _LEVELS[: LEVELS.index(level) + 1])
    times = "stored_at as updated_at, 1 as stable" if level == "instance" else f"{table}.updated_at, {table}.stable"
    uids = {
        "patient": "",
        "study": "studies.study_uid,",
        "series": "series.study_uid, series.series_uid,",
        "instance": "instances.*,",
    }[level]
    own = "" if level == "instance" else f"{table}.orthanc_id, patients.patient_id, patients.issuer,"
    return f"""
        select {uids} {own} {attributes}, {times}
        from {SOURCE[level]}
        where {table}.orthanc_id in (select value from json_each(?))
        order by patients.patient_key desc
        """  # noqa: S608 - built from constants


def _children(con: sqlite3.Connection, level: Level, names: Sequence[str]) -> dict[str, list[str]]:
    if level == "instance":
        return {}
    below = _LEVELS[_LEVELS.index(level) + 1]
    query = f"""
        select distinct {TABLE[level]}.orthanc_id, {TABLE[below]}.orthanc_id
        from {SOURCE[below]}
        where {TABLE[level]}.orthanc_id in (select value from json_each(?))
        order by 2
        """  # noqa: S608 - built from constants
    children: dict[str, list[str]] = {}
    for name, child in con.execute(query, (json.dumps(list(names)),)):
        children.setdefault(name, []).append(child)
    return children


def _settle(con: sqlite3.Connection, level: Level, before: str) -> int:
    table = TABLE[level]
    query = f"update {table} set stable = 1 where not stable and updated_at <= ? returning orthanc_id"  # noqa: S608
    names = {name for (name,) in con.execute(query, (before,)).fetchall()}
    lines = [(level, name) for name in sorted(names)]
    con.executemany("insert into journal (kind, level, orthanc_id) values ('stable', ?, ?)", lines)
    return len(lines)
