"""Cohorts as the ledger keeps them, since no file has them; what they mean is decided in the room above.

A cohort is announced in the archive's feed, so that whoever follows it finds itself behind. It never changes.
"""

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from researchpacs.archive._feed import next_change
from researchpacs.errors import NotFoundError
from researchpacs.storage.ledger import Ledger, scripts_of

__all__ = ["CohortLedger"]

_INSERT = """
insert into cohorts (name, description, query, params, snapshot, snapshot_at, digest, author, flow, seq)
values (:name, :description, :query, :params, :snapshot, :snapshot_at, :digest, :author, :flow, :seq)
"""
_INSERT_MEMBER = """
insert into cohort_members
values (:cohort, :position, :patient_key, :study_uid, :series_uid, :instance_count, :digest, :columns)
"""
_JSON = ("params", "flow", "columns")
"""Columns that hold JSON."""


class CohortLedger:
    """The cohorts of an archive.

    Parameters
    ----------
    ledger
        The home's ledger, with the archive's tables.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        ledger.migrate("cohort", scripts_of(__name__))

    def add(self, cohort: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> bool:
        """Keep a cohort with its members, in their order; False where one of this name is there already."""
        with self._ledger.writing() as con:
            if con.execute("select 1 from cohorts where name = ?", (cohort["name"],)).fetchone():
                return False
            seq = next_change(con)
            con.execute(_INSERT, {**_as_text(cohort), "seq": seq})
            con.executemany(
                _INSERT_MEMBER,
                ({**_as_text(one), "cohort": cohort["name"], "position": at} for at, one in enumerate(members)),
            )
        return True

    def names(self) -> list[str]:
        """The names of all cohorts, the oldest first."""
        with self._ledger.reading() as con:
            return [row["name"] for row in con.execute("select name from cohorts order by created_at, name")]

    def get(self, name: str) -> dict[str, Any]:
        """The columns of a cohort, with its ``members`` in order.

        Raises
        ------
        NotFoundError
            There is none of this name.
        """
        with self._ledger.reading() as con:
            row = con.execute("select * from cohorts where name = ?", (name,)).fetchone()
            found = None if row is None else _with_members(con, row)
        if found is None:
            raise NotFoundError(f"there is no cohort {name!r}; there are: {', '.join(self.names()) or 'none'}")
        return found

    def announced(self, since: int, last: int) -> list[dict[str, Any]]:
        """The cohorts, as `get` gives them, that changes after `since` up to `last` of the feed announced."""
        query = "select * from cohorts where seq > ? and seq <= ? order by seq"
        with self._ledger.reading() as con:
            return [_with_members(con, row) for row in con.execute(query, (since, last)).fetchall()]


def _with_members(con: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    rows = con.execute("select * from cohort_members where cohort = ? order by position", (row["name"],))
    return {**_parsed(row), "members": [_parsed(one) for one in rows]}


def _as_text(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(_plain(value)) if name in _JSON else value for name, value in values.items()}


def _plain(value: Any) -> Any:
    """What JSON can hold; dates, and numbers that are none, as text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    is_json = isinstance(value, str | int | None) or (isinstance(value, float) and math.isfinite(value))
    return value if is_json else str(value)


def _parsed(row: Mapping[str, Any] | sqlite3.Row) -> dict[str, Any]:
    names: Iterable[str] = row.keys()
    return {name: json.loads(row[name]) if name in _JSON else row[name] for name in names}
