"""Labels of a remote archive: the server keeps them, and what was seen of them is here."""

import sqlite3
from collections.abc import Iterable, Mapping

from researchpacs.archive._labels import Labels, check_label
from researchpacs.archive._levels import KEYS
from researchpacs.archive._remote_server import Server
from researchpacs.archive._subject import Subject
from researchpacs.errors import NotFoundError
from researchpacs.model import Identity, Level
from researchpacs.storage.ledger import Ledger

__all__ = ["RemoteLabels"]

_ONE = """
select name, patient_id, issuer, study_uid, series_uid, sop_uid
from instances
where {condition}
limit 1
"""
_PARENTS: tuple[Level, ...] = ("patient", "study", "series")


class RemoteLabels(Labels):
    """Labels that a server keeps; a change goes there first.

    Parameters
    ----------
    ledger
        Of what was seen.
    server
        An Orthanc with labels.
    """

    def __init__(self, ledger: Ledger, server: Server) -> None:
        super().__init__(ledger)
        self._server = server

    def add(self, subjects: Iterable[Subject], *labels: str) -> int:
        """Put labels on objects, at the server and here; errors as for an archive that is here."""
        return super().add(self._told(subjects, labels, present=True), *labels)

    def remove(self, subjects: Iterable[Subject], *labels: str) -> int:
        """Take labels off objects, at the server and here."""
        return super().remove(self._told(subjects, labels, present=False), *labels)

    def follow(self) -> None:
        """Take over the labels that the server has now."""
        there = self._server.labels()
        self.replace(self._by_subject(there) if there else {})

    def _told(self, subjects: Iterable[Subject], labels: Iterable[str], *, present: bool) -> list[Subject]:
        wanted = list(subjects)
        checked = [check_label(label) for label in labels]
        with self._ledger.reading() as con:
            names = {subject: _name(con, subject) for subject in wanted}
        for subject in wanted:
            for label in checked:
                self._server.put_label(subject.level, names[subject], label, present=present)
        return wanted

    def _by_subject(self, there: Mapping[tuple[Level, str], set[str]]) -> dict[Subject, set[str]]:
        """Labels by object as the ledger names it; one of Orthanc's patients may be several here."""
        found: dict[Subject, set[str]] = {}
        with self._ledger.reading() as con:
            for row in con.execute("select distinct patient_id, issuer, study_uid, series_uid from instances"):
                identity = Identity(row["patient_id"], row["issuer"], row["study_uid"], row["series_uid"], "")
                for level in _PARENTS:
                    if labels := there.get((level, identity.orthanc_id(level))):
                        found[Subject.of(level, identity)] = labels
            for (level, name), labels in there.items():
                if level == "instance":
                    query = "select key from instances where name = ?"
                    for (key,) in con.execute(query, (f"instances/{name}",)):
                        found[Subject("instance", key)] = labels
        return found


def _name(con: sqlite3.Connection, subject: Subject) -> str:
    """Orthanc's name of an object."""
    columns = KEYS[subject.level]
    query = _ONE.format(condition=" and ".join(f"{column} = ?" for column in columns))
    row = con.execute(query, subject.owner.split("/", len(columns) - 1)).fetchone()
    if row is None:
        raise NotFoundError(f"no such {subject.level} is in the archive")
    if subject.level == "instance":
        return str(row["name"]).rpartition("/")[2]
    identity = Identity(row["patient_id"], row["issuer"], row["study_uid"], row["series_uid"], row["sop_uid"])
    return identity.orthanc_id(subject.level)
