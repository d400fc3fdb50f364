"""What an embedded archive holds below a study, a series or a UID: rows from the ledger, files from the disk."""

from typing import BinaryIO

from researchpacs.archive._content import open_checked
from researchpacs.archive._embedded import EmbeddedArchive
from researchpacs.archive._stored import Stored, stored_of

__all__ = ["instances_of", "open_instance"]

_CONDITIONS = {
    "study_uid": "studies.study_uid = :study_uid",
    "series_uid": "instances.series_uid = :series_uid",
    "sop_uid": "instances.sop_uid = :sop_uid",
}
_SELECT = """
select instances.*
from studies join instances using (patient_key, study_uid)
where {conditions}
order by
    instances.series_uid,
    cast(json_extract(instances.attributes, '$.InstanceNumber') as integer),
    instances.sop_uid
limit :limit
"""


def instances_of(
    archive: EmbeddedArchive,
    study_uid: str,
    series_uid: str | None = None,
    sop_uid: str | None = None,
    *,
    limit: int | None = None,
) -> list[Stored]:
    """The instances of a study, a series of it or one of its UIDs, by series and InstanceNumber; none is an empty list.

    Where patients share a UID the instances of all of them are given.
    """
    given = {"study_uid": study_uid, "series_uid": series_uid, "sop_uid": sop_uid}
    bound = {name: uid for name, uid in given.items() if uid is not None}
    query = _SELECT.format(conditions=" and ".join(_CONDITIONS[name] for name in bound))
    with archive.ledger.reading() as con:
        rows = con.execute(query, {**bound, "limit": -1 if limit is None else limit}).fetchall()
    return [stored_of(row, archive.home.archive) for row in rows]


def open_instance(stored: Stored) -> BinaryIO:
    """Open an instance's file, as it was stored.

    Raises
    ------
    ConflictError
        The file is not the one that was ingested.
    NotFoundError
        It is gone.
    """
    return open_checked(stored)
