"""Read again what the ledger says of objects, out of their files.

An object's attributes are those of the first instance that came. Where that one is gone, or an older version of this
package read them, they can be made anew.
"""

import sqlite3
from collections.abc import Sequence

from researchpacs.archive._content import open_checked
from researchpacs.archive._embedded import EmbeddedArchive
from researchpacs.archive._ledger_rows import indexed_text
from researchpacs.archive._levels import KEYS, TABLE
from researchpacs.archive._stored import Stored, stored_of
from researchpacs.dicom.scan import scan
from researchpacs.ingest.identified import identified

__all__ = ["reconstruct"]

_PARENTS = ("patient", "study", "series")


def reconstruct(archive: EmbeddedArchive, instances: Sequence[Stored]) -> None:
    """Read the attributes of instances, and of all that is above them, anew; nothing else changes.

    Raises
    ------
    NotFoundError, ConflictError
        A file is gone, or is not what was stored; the ledger stays as it was.
    """
    known = {stored.key: _attributes(stored) for stored in instances}
    with archive.ledger.reading() as con:
        parents = dict.fromkeys(key for stored in instances for key in _parents(stored))
        rows = {key: row for key in parents if (row := _first(con, *key)) is not None}
    first = {key: stored_of(row, archive.home.archive) for key, row in rows.items()}
    read = {key: known.get(stored.key) or _attributes(stored) for key, stored in first.items()}
    with archive.ledger.writing() as con:
        for key, attributes in known.items():
            con.execute(
                "update instances set attributes = ? where key = ?", (indexed_text(attributes, "instance"), key)
            )
        for (level, *values), attributes in read.items():
            condition = " and ".join(f"{column} = ?" for column in KEYS[level])
            update = f"update {TABLE[level]} set attributes = ? where {condition}"  # noqa: S608 - built from the constants
            con.execute(update, (indexed_text(attributes, level), *values))


def _attributes(stored: Stored) -> dict[str, str]:
    with open_checked(stored) as file:
        found = scan(file)
    _, attributes = identified(found)
    return {keyword: value for keyword, value in attributes.items() if value or found.has(keyword)}


def _parents(stored: Stored) -> list[tuple[str, ...]]:
    identity = stored.identity
    values = (identity.patient_key, identity.study_uid, identity.series_uid)
    return [(level, *values[: number + 1]) for number, level in enumerate(_PARENTS)]


def _first(con: sqlite3.Connection, level: str, *values: str) -> sqlite3.Row | None:
    """The instance below an object that came first; None where all are gone by now."""
    condition = " and ".join(f"{column} = ?" for column in KEYS[level])
    query = f"select * from instances where {condition} order by seq limit 1"  # noqa: S608 - built from the constants
    row: sqlite3.Row | None = con.execute(query, values).fetchone()
    return row
