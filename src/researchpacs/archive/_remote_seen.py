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

from researchpacs.archive._find import find_rows
from researchpacs.archive._remote_address import Address
from researchpacs.archive._remote_instance import Seen
from researchpacs.archive._stored import Stored
from researchpacs.dicom.keywords import INDEXED
from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.model import Change, Changes, Find, Identity, Issue, Level, Location, Row
from researchpacs.storage.ledger import Ledger

__all__ = ["SeenLedger"]

_SCRIPTS = ("_remote_seen.sql", "_remote_labels.sql")
_CHANGES = """
select seq, 'stored' as kind, key, patient_id, issuer, study_uid, series_uid, sop_uid
from instances
where seq > :since
union all
select seq, 'deleted', key, patient_id, issuer, study_uid, series_uid, sop_uid
from deletions
where seq > :since
order by seq
limit :limit
"""
_BY_NAME = """
select *
from instances
where key in (select value from json_each(:names)) or sop_uid in (select value from json_each(:names))
"""
_BELOW: Mapping[Level, str] = {
    "patient": "select * from instances where patient_key = :uid or patient_id = :uid",
    "study": "select * from instances where study_uid = :uid",
    "series": "select * from instances where series_uid = :uid",
    "instance": "select * from instances where key = :uid or sop_uid = :uid",
}
# What has to be one, lest deleting by a shared UID takes more than was meant.
_OWNER: Mapping[Level, tuple[str, ...]] = {
    "patient": ("patient_key",),
    "study": ("patient_key", "study_uid"),
    "series": ("patient_key", "study_uid", "series_uid"),
    "instance": ("key",),
}
_INSERT = """
insert or replace into instances (
    key, seq, name, version, patient_key, patient_id, issuer, study_uid, series_uid, sop_uid, sop_class_uid,
    transfer_syntax_uid, size, header_length, dataset_offset, attributes, issues
) values (
    :key, :seq, :name, :version, :patient_key, :patient_id, :issuer, :study_uid, :series_uid, :sop_uid, :sop_class_uid,
    :transfer_syntax_uid, :size, :header_length, :dataset_offset, :attributes, :issues
)
"""
_SHARED = (
    ("StudyInstanceUID", "select 1 from studies where study_uid = ? and patient_key <> ?"),
    ("SeriesInstanceUID", "select 1 from instances where series_uid = ? and (patient_key, study_uid) <> (?, ?)"),
    ("SOPInstanceUID", "select 1 from instances where sop_uid = ? and key <> ?"),
)


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
            query = "select * from instances where key in (select value from json_each(?))"
            found = con.execute(query, (json.dumps(list(keys)),)).fetchall()
        return {row["key"]: _stored(row) for row in found}

    def locate(self, names: Sequence[str]) -> list[Location]:
        """Where the instances of these UIDs or keys are, in the same order."""
        with self.ledger.reading() as con:
            rows = con.execute(_BY_NAME, {"names": json.dumps(list(names))}).fetchall()
        by_name: dict[str, list[sqlite3.Row]] = {}
        for row in rows:
            by_name.setdefault(row["sop_uid"], []).append(row)
            by_name.setdefault(row["key"], []).append(row)
        return [self._location(_only(by_name.get(name, []), name)) for name in names]

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
            rows = con.execute(_BELOW[level], {"uid": uid}).fetchall()
        if not rows:
            raise NotFoundError(f"no {level} with this identifier is in the archive")
        if len({tuple(row[column] for column in _OWNER[level]) for row in rows}) > 1:
            raise InvalidInputError(
                f"more than one {level} here has this identifier; delete them at a lower level or by key"
            )
        return [row["name"] for row in rows]

    def find(self, query: Find) -> Iterator[Row]:
        """Main attributes of what matches."""
        with self.ledger.reading() as con:
            return iter(find_rows(con, query))

    def changes(self, since: int, limit: int) -> Changes:
        """What was seen and what was gone after sequence number `since`, oldest first."""
        if limit < 1:
            raise InvalidInputError("limit is the largest number of changes wanted, at least 1")
        with self.ledger.reading() as con:
            feed_id, newest = con.execute("select feed_id, last from feed").fetchone()
            rows = con.execute(_CHANGES, {"since": since, "limit": limit}).fetchall()
        items = tuple(Change(row["seq"], row["kind"], row["key"], _identity(row)) for row in rows)
        last = items[-1].seq if items else since
        return Changes(feed_id=feed_id, items=items, last=last, done=last >= newest)

    def last_change(self) -> tuple[str, int]:
        """The feed's id and its highest sequence number."""
        with self.ledger.reading() as con:
            feed_id, last = con.execute("select feed_id, last from feed").fetchone()
        return feed_id, last

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
        identity=_identity(row),
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
    issues = [*new.issues, *(Issue(keyword, _IN_USE) for keyword in _shared(con, new.identity))]
    _insert_parents(con, new)
    (seq,) = con.execute("update feed set last = last + 1 returning last").fetchone()
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
            "attributes": _attributes(new, "instance"),
            "issues": json.dumps([[issue.keyword, issue.problem] for issue in issues]),
        },
    )
    return True


_IN_USE = "the same UID is also in use under another patient, study or series"


def _shared(con: sqlite3.Connection, identity: Identity) -> list[str]:
    """Keywords of UIDs that are in use under another parent: looked up alone they are ambiguous."""
    patient, study = identity.patient_key, identity.study_uid
    values = ((study, patient), (identity.series_uid, patient, study), (identity.sop_uid, identity.key))
    return [
        keyword for (keyword, query), bound in zip(_SHARED, values, strict=True) if con.execute(query, bound).fetchone()
    ]


def _insert_parents(con: sqlite3.Connection, new: Seen) -> None:
    identity = new.identity
    patient = identity.patient_key
    con.execute(
        "insert or ignore into patients (patient_key, patient_id, issuer, attributes) values (?, ?, ?, ?)",
        (patient, identity.patient_id, identity.issuer, _attributes(new, "patient")),
    )
    con.execute(
        "insert or ignore into studies (patient_key, study_uid, attributes) values (?, ?, ?)",
        (patient, identity.study_uid, _attributes(new, "study")),
    )
    con.execute(
        "insert or ignore into series (patient_key, study_uid, series_uid, attributes) values (?, ?, ?, ?)",
        (patient, identity.study_uid, identity.series_uid, _attributes(new, "series")),
    )


def _attributes(new: Seen, level: str) -> str:
    chosen = {keyword: new.attributes[keyword] for keyword in INDEXED[level] if keyword in new.attributes}
    return json.dumps(chosen, ensure_ascii=False)


def _remove(con: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> None:
    """Delete instances and parents left empty, and announce it."""
    for row in rows:
        (seq,) = con.execute("update feed set last = last + 1 returning last").fetchone()
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


def _only(found: Sequence[sqlite3.Row], name: str) -> sqlite3.Row:
    if not found:
        raise NotFoundError(f"no instance {name} is in the archive")
    if len(found) > 1:
        raise InvalidInputError(
            f"{len(found)} instances share the SOPInstanceUID {name}, under other patients, studies or series; "
            "name one of them by its key"
        )
    return found[0]


def _identity(row: sqlite3.Row) -> Identity:
    return Identity(row["patient_id"], row["issuer"], row["study_uid"], row["series_uid"], row["sop_uid"])
