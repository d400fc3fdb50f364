"""The ledger of a remote archive: which instances were seen there, and a change feed made of the differences.

It holds nothing that the server does not: where it is lost it is made anew by asking again. Every batch is one
transaction, so that following a server goes on where it was killed.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from researchpacs.archive._feed import next_change
from researchpacs.archive._find import find_rows
from researchpacs.archive._ledger_rows import (
    changes_after,
    identity_of,
    indexed_text,
    issues_text,
    last_change,
    rows_below,
    rows_by_key,
    rows_named,
    shared_uids,
)
from researchpacs.archive._remote_address import Address
from researchpacs.archive._remote_instance import Seen
from researchpacs.archive._stored import Stored
from researchpacs.model import Changes, Find, Issue, Level, Location, Row
from researchpacs.storage.ledger import Ledger

__all__ = ["SeenLedger"]

_SCRIPTS = ("_remote_seen.sql", "_remote_labels.sql", "_remote_conflicts.sql")
_INSERT = """
insert or replace into instances (
    key, seq, name, version, patient_key, patient_id, issuer, study_uid, series_uid, sop_uid, sop_class_uid,
    transfer_syntax_uid, size, header_length, dataset_offset, attributes, issues
) values (
    :key, :seq, :name, :version, :patient_key, :patient_id, :issuer, :study_uid, :series_uid, :sop_uid, :sop_class_uid,
    :transfer_syntax_uid, :size, :header_length, :dataset_offset, :attributes, :issues
)
"""


class SeenLedger:
    """What was seen at one server.

    Parameters
    ----------
    path
        The database; made when it is not there.
    address
        The server.
    """

    def __init__(self, path: Path, address: Address) -> None:
        self._address = address
        self.ledger = Ledger(path)
        folder = resources.files("researchpacs.archive")
        scripts = [folder.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS]
        self.ledger.migrate("remote", scripts)

    # -- write --------------------------------------------------------------------------------------------------------

    def put(self, found: Sequence[Seen], refused: Mapping[str, tuple[str, str]], cursor: Mapping[str, Any]) -> int:
        """Take over what was fetched, in this order, and how far the server has been followed with it.

        Parameters
        ----------
        found
            Instances; one whose name and version are known already is left as it is.
        refused
            Version and reason by name of what the scan did not let in.
        cursor
            Any JSON.

        Returns
        -------
        count
            How many are new or changed.
        """
        with self.ledger.writing() as con:
            count = sum(_take(con, one) for one in found)
            for name, (version, reason) in refused.items():
                _remove(con, con.execute("select * from instances where name = ?", (name,)).fetchall())
                con.execute("insert or replace into refused values (?, ?, ?)", (name, version, reason))
            con.execute("update feed set cursor = ?", (json.dumps(dict(cursor)),))
        return count

    def remove(self, names: Collection[str]) -> int:
        """Forget instances by name, and announce it; how many there were."""
        wanted = json.dumps(list(names))
        with self.ledger.writing() as con:
            query = "select * from instances where name in (select value from json_each(?))"
            rows = con.execute(query, (wanted,)).fetchall()
            _remove(con, rows)
            con.execute("delete from refused where name in (select value from json_each(?))", (wanted,))
        return len(rows)

    # -- read ---------------------------------------------------------------------------------------------------------

    def cursor(self) -> dict[str, Any]:
        """How far the server has been followed."""
        with self.ledger.reading() as con:
            (text,) = con.execute("select cursor from feed").fetchone()
        found: dict[str, Any] = json.loads(text)
        return found

    def versions(self) -> dict[str, str]:
        """Version by name of everything seen, refused ones included."""
        with self.ledger.reading() as con:
            rows = con.execute("select name, version from instances union all select name, version from refused")
            return dict(rows.fetchall())

    def count(self) -> int:
        """How many instances were seen, refused ones included."""
        with self.ledger.reading() as con:
            query = "select (select count(*) from instances) + (select count(*) from refused)"
            (count,) = con.execute(query).fetchone()
        return int(count)

    def refused(self) -> dict[str, str]:
        """Reason by name of what the server holds and the guarded scan does not let in."""
        with self.ledger.reading() as con:
            return dict(con.execute("select name, reason from refused order by name").fetchall())

    def rows(self, keys: Sequence[str]) -> dict[str, Stored]:
        """What is known of instances, by key."""
        with self.ledger.reading() as con:
            found = rows_by_key(con, keys)
        return {row["key"]: _stored(row) for row in found}

    def locate(self, names: Sequence[str]) -> list[Location]:
        """Where the instances of these UIDs or keys are, in the same order."""
        with self.ledger.reading() as con:
            return [self._location(row) for row in rows_named(con, names)]

    def below(self, level: Level, uid: str) -> list[str]:
        """Server's names of all instances of one object.

        Raises
        ------
        NotFoundError
            Nothing has this identifier.
        InvalidInputError
            More than one object has it.
        """
        with self.ledger.reading() as con:
            return [row["name"] for row in rows_below(con, level, uid)]

    def find(self, query: Find) -> Iterator[Row]:
        """Main attributes of what matches."""
        with self.ledger.reading() as con:
            return iter(find_rows(con, query))

    def changes(self, since: int, limit: int) -> Changes:
        """What was seen and what was gone after sequence number `since`, oldest first."""
        with self.ledger.reading() as con:
            return changes_after(con, since, limit)

    def last_change(self) -> tuple[str, int]:
        """The feed's id and its highest sequence number."""
        with self.ledger.reading() as con:
            return last_change(con)

    def close(self) -> None:
        """Give back the ledger's files."""
        self.ledger.close()

    def _location(self, row: sqlite3.Row) -> Location:
        return Location(
            sop_uid=row["sop_uid"],
            path=f"{row['name']}#{row['version']}",
            size=row["size"],
            header_length=row["header_length"],
            url=self._address.url,
            series_uid=row["series_uid"],
        )


def _stored(row: sqlite3.Row) -> Stored:
    return Stored(
        key=row["key"],
        identity=identity_of(row),
        sop_class_uid=row["sop_class_uid"],
        transfer_syntax_uid=row["transfer_syntax_uid"],
        size=row["size"],
        header_length=row["header_length"],
        dataset_offset=row["dataset_offset"],
        sha256=None,
        dataset_sha256=None,
        reference=None,
        issues=tuple(Issue(keyword, problem) for keyword, problem in json.loads(row["issues"])),
        stored_at=row["stored_at"],
        path=Path(row["name"]),
    )


def _take(con: sqlite3.Connection, new: Seen) -> bool:
    key = new.identity.key
    old = con.execute("select * from instances where name = ?", (new.name,)).fetchone()
    if old is not None and old["key"] == key and old["version"] == new.version and new.version:
        return False
    con.execute("delete from refused where name = ?", (new.name,))
    if old is not None and old["key"] != key:
        _remove(con, [old])
    issues = [*new.issues, *shared_uids(con, new.identity)]
    _insert_parents(con, new)
    seq = next_change(con)
    identity = new.identity
    con.execute(
        _INSERT,
        {
            "key": key,
            "seq": seq,
            "name": new.name,
            "version": new.version,
            "patient_key": identity.patient_key,
            "patient_id": identity.patient_id,
            "issuer": identity.issuer,
            "study_uid": identity.study_uid,
            "series_uid": identity.series_uid,
            "sop_uid": identity.sop_uid,
            "sop_class_uid": new.sop_class_uid,
            "transfer_syntax_uid": new.transfer_syntax_uid,
            "size": new.size,
            "header_length": new.header_length,
            "dataset_offset": new.dataset_offset,
            "attributes": indexed_text(new.attributes, "instance"),
            "issues": issues_text(issues),
        },
    )
    return True


def _insert_parents(con: sqlite3.Connection, new: Seen) -> None:
    identity = new.identity
    patient = identity.patient_key
    con.execute(
        "insert or ignore into patients (patient_key, patient_id, issuer, attributes) values (?, ?, ?, ?)",
        (patient, identity.patient_id, identity.issuer, indexed_text(new.attributes, "patient")),
    )
    con.execute(
        "insert or ignore into studies (patient_key, study_uid, attributes) values (?, ?, ?)",
        (patient, identity.study_uid, indexed_text(new.attributes, "study")),
    )
    con.execute(
        "insert or ignore into series (patient_key, study_uid, series_uid, attributes) values (?, ?, ?, ?)",
        (patient, identity.study_uid, identity.series_uid, indexed_text(new.attributes, "series")),
    )


def _remove(con: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> None:
    """Delete instances and parents left empty, and announce it."""
    for row in rows:
        seq = next_change(con)
        con.execute("delete from instances where key = ?", (row["key"],))
        identity = [row[name] for name in ("patient_id", "issuer", "study_uid", "series_uid", "sop_uid")]
        con.execute("insert or replace into deletions values (?, ?, ?, ?, ?, ?, ?)", (row["key"], seq, *identity))
    for row in rows:
        patient, study, series = row["patient_key"], row["study_uid"], row["series_uid"]
        con.execute(
            "delete from series where (patient_key, study_uid, series_uid) = (?, ?, ?) and not exists "
            "(select 1 from instances where (patient_key, study_uid, series_uid) = (?, ?, ?))",
            (patient, study, series) * 2,
        )
        con.execute(
            "delete from studies where (patient_key, study_uid) = (?, ?) and not exists "
            "(select 1 from series where (patient_key, study_uid) = (?, ?))",
            (patient, study) * 2,
        )
        con.execute(
            "delete from patients where patient_key = ? and not exists (select 1 from studies where patient_key = ?)",
            (patient,) * 2,
        )
