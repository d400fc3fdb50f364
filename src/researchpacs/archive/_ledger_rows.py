"""What both kinds of ledger know alike: that of an archive that is here, and that of what was seen at a server.

Both have the tables ``patients``, ``studies``, ``series``, ``instances``, ``deletions`` and ``feed``, keyed alike.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence

from researchpacs.archive._levels import KEYS
from researchpacs.dicom.keywords import INDEXED
from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.model import Change, Changes, Identity, Issue, Level, Row

__all__ = [
    "SHARED_INSTANCE",
    "changes_after",
    "identity_of",
    "indexed_text",
    "issues_text",
    "known_keys",
    "last_change",
    "rows_below",
    "rows_by_key",
    "rows_named",
    "shared_instance",
    "shared_parents",
    "shared_uids",
]

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
select {columns}
from instances
where key in (select value from json_each(:names))
union all
select {columns}
from instances
where sop_uid in (select value from json_each(:names))
"""
_BELOW: Mapping[Level, str] = {
    "patient": "select * from instances where patient_key = :uid or patient_id = :uid",
    "study": "select * from instances where study_uid = :uid",
    "series": "select * from instances where series_uid = :uid",
    "instance": "select * from instances where key = :uid or sop_uid = :uid",
}
# The same UID under another patient or parent.
_SHARED = (
    (
        "StudyInstanceUID",
        "select 1 from studies where study_uid = :study_uid and patient_key <> :patient_key",
    ),
    (
        "SeriesInstanceUID",
        "select 1 from series "
        "where series_uid = :series_uid and (patient_key, study_uid) <> (:patient_key, :study_uid)",
    ),
)
_SHARED_INSTANCE = "select 1 from instances where sop_uid = ? and key <> ?"
_SHARED_UID = "the same UID is also in use under another patient, study or series"
SHARED_INSTANCE = Issue("SOPInstanceUID", _SHARED_UID)
_KNOWN = "select key, sop_uid from instances where sop_uid in (select value from json_each(?))"
_json = json.JSONEncoder(ensure_ascii=False).encode


# -- read -------------------------------------------------------------------------------------------------------------


def changes_after(con: sqlite3.Connection, since: int, limit: int) -> Changes:
    """What came and what went after sequence number `since`, oldest first."""
    if limit < 1:
        raise InvalidInputError("limit is the largest number of changes wanted, at least 1")
    feed_id, newest = last_change(con)
    rows = con.execute(_CHANGES, {"since": since, "limit": limit}).fetchall()
    items = tuple(Change(row["seq"], row["kind"], row["key"], identity_of(row)) for row in rows)
    last = items[-1].seq if items else since
    return Changes(feed_id=feed_id, items=items, last=last, done=last >= newest)


def last_change(con: sqlite3.Connection) -> tuple[str, int]:
    """The feed's id and its highest sequence number."""
    feed_id, last = con.execute("select feed_id, last from feed").fetchone()
    return feed_id, last


def rows_by_key(con: sqlite3.Connection, keys: Sequence[str]) -> list[sqlite3.Row]:
    """Instances by `Identity.key`; those that are not there are left out."""
    query = "select * from instances where key in (select value from json_each(?))"
    return con.execute(query, (json.dumps(list(keys)),)).fetchall()


def rows_named(con: sqlite3.Connection, names: Sequence[str], columns: Sequence[str] = ("*",)) -> list[sqlite3.Row]:
    """The instances of these UIDs or keys, in the same order.

    Parameters
    ----------
    columns
        Names of our own, ``key`` and ``sop_uid`` among them.

    Raises
    ------
    NotFoundError
        Nothing has one of the names.
    InvalidInputError
        More than one instance has a UID.
    """
    query = _BY_NAME.format(columns=", ".join(columns))
    by_name: dict[str, dict[str, sqlite3.Row]] = {}
    for row in con.execute(query, {"names": json.dumps(list(names))}).fetchall():
        by_name.setdefault(row["sop_uid"], {})[row["key"]] = row
        by_name.setdefault(row["key"], {})[row["key"]] = row
    return [_only(list(by_name.get(name, {}).values()), name) for name in names]


def rows_below(con: sqlite3.Connection, level: Level, uid: str) -> list[sqlite3.Row]:
    """All instances of one object.

    Raises
    ------
    NotFoundError
        Nothing has this identifier.
    InvalidInputError
        More than one object has it.
    """
    rows = con.execute(_BELOW[level], {"uid": uid}).fetchall()
    if not rows:
        raise NotFoundError(f"no {level} with this identifier is in the archive")
    # Lest deleting by a shared UID takes more than was meant.
    if len({tuple(row[column] for column in KEYS[level]) for row in rows}) > 1:
        raise InvalidInputError(
            f"more than one {level} here has this identifier; delete them at a lower level or by key"
        )
    return rows


def identity_of(row: sqlite3.Row) -> Identity:
    """Which instance a row is about."""
    return Identity(row["patient_id"], row["issuer"], row["study_uid"], row["series_uid"], row["sop_uid"])


def _only(found: Sequence[sqlite3.Row], name: str) -> sqlite3.Row:
    if not found:
        raise NotFoundError(f"no instance {name} is in the archive")
    if len(found) > 1:
        raise InvalidInputError(
            f"{len(found)} instances share the SOPInstanceUID {name}, under other patients, studies or series; "
            "name one of them by its key"
        )
    return found[0]


# -- write ------------------------------------------------------------------------------------------------------------


def shared_uids(con: sqlite3.Connection, identity: Identity) -> list[Issue]:
    """A UID met again under another parent is kept and reported: looking it up alone is ambiguous from now on."""
    return [*shared_parents(con, identity), *shared_instance(con, identity)]


def shared_parents(con: sqlite3.Connection, identity: Identity) -> list[Issue]:
    """What `shared_uids` says of study and series, which is the same for all their instances."""
    parents = {
        "patient_key": identity.patient_key,
        "study_uid": identity.study_uid,
        "series_uid": identity.series_uid,
    }
    return [Issue(keyword, _SHARED_UID) for keyword, query in _SHARED if con.execute(query, parents).fetchone()]


def shared_instance(con: sqlite3.Connection, identity: Identity) -> list[Issue]:
    """What `shared_uids` says of the instance itself."""
    found = con.execute(_SHARED_INSTANCE, (identity.sop_uid, identity.key)).fetchone()
    return [SHARED_INSTANCE] if found else []


def known_keys(con: sqlite3.Connection, identities: Sequence[Identity]) -> tuple[set[str], dict[str, list[str]]]:
    """Keys of the instances that have one of these SOPInstanceUIDs, as a set and by UID."""
    by_uid: dict[str, list[str]] = {}
    for key, uid in con.execute(_KNOWN, (_json([one.sop_uid for one in identities]),)):
        by_uid.setdefault(uid, []).append(key)
    return {key for keys in by_uid.values() for key in keys}, by_uid


def indexed_text(attributes: Row, level: str) -> str:
    """The column ``attributes`` of an object of a level: those of its own level, as JSON by keyword."""
    chosen = {keyword: attributes[keyword] for keyword in INDEXED[level] if keyword in attributes}
    return _json(chosen)


def issues_text(issues: Sequence[Issue]) -> str:
    """The column ``issues`` of an instance."""
    return json.dumps([[issue.keyword, issue.problem] for issue in issues]) if issues else "[]"
