"""`Subject`: a patient, study, series or instance as the ledger names it where something is kept beside it."""

import sqlite3
from dataclasses import dataclass

from researchpacs.archive._levels import KEYS, TABLE
from researchpacs.dicom.keywords import LEVELS
from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.model import Identity, Level

__all__ = ["Subject", "require"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What labels, metadata and attachments belong to."""

    level: Level
    owner: str
    """Names it at its level, unlike a UID also where several patients or studies share one."""

    @classmethod
    def of(cls, level: Level, identity: Identity) -> "Subject":
        """Name the instance of this identity, or what it belongs to at a higher level."""
        if level not in LEVELS:
            raise InvalidInputError(f"a level is one of {', '.join(LEVELS)}; found {level!r}")
        if level == "instance":
            return cls(level, identity.key)
        parts = (identity.patient_key, identity.study_uid, identity.series_uid)
        return cls(level, "/".join(parts[: LEVELS.index(level) + 1]))


def require(con: sqlite3.Connection, subject: Subject) -> None:
    """Refuse what is not in the archive; to be called in the transaction that writes.

    Raises
    ------
    NotFoundError
        No such object, or not any more.
    """
    table, columns = TABLE[subject.level], KEYS[subject.level]
    condition = " and ".join(f"{column} = ?" for column in columns)
    query = f"select 1 from {table} where {condition}"  # noqa: S608 - built from the constants above
    values = subject.owner.split("/", len(columns) - 1)
    if len(values) != len(columns) or con.execute(query, values).fetchone() is None:
        raise NotFoundError(f"no such {subject.level} is in the archive")
