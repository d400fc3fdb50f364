"""Labels: words that people and programs put on patients, studies, series and instances."""

import json
import re
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from researchpacs.archive._feed import next_change
from researchpacs.archive._subject import Subject, require
from researchpacs.errors import InvalidInputError
from researchpacs.model import Level
from researchpacs.storage.ledger import Ledger

__all__ = ["LabelChange", "Labels", "check_label"]

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,64}")

_CHANGED = """
select level, owner, seq, coalesce(
    (select json_group_array(label) from labels where labels.level = changed.level and labels.owner = changed.owner),
    '[]'
) as labels
from label_changes as changed
where seq > ?
order by seq, level, owner
"""


class LabelChange(NamedTuple):
    """The labels that an object has after they changed."""

    subject: Subject
    labels: tuple[str, ...]
    """In alphabetical order; empty where the last one went, or the object itself."""


class Labels:
    """The labels of an archive's objects; each change of them is a change of the archive's feed.

    Parameters
    ----------
    ledger
        The home's ledger, with the archive's tables.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def add(self, subjects: Iterable[Subject], *labels: str) -> int:
        """Put labels on objects; how many were new.

        Raises
        ------
        InvalidInputError
            A label is not made of 1 to 64 letters, digits, ``-`` and ``_`` of ASCII.
        NotFoundError
            An object is not in the archive; none has got a label then.
        """
        wanted = [(subject, check_label(label)) for subject in subjects for label in labels]
        if not wanted:
            return 0
        with self._ledger.writing() as con:
            for subject in {subject for subject, _ in wanted}:
                require(con, subject)
            new = [one for one in wanted if _insert(con, *one)]
            _announce(con, {subject for subject, _ in new})
        return len(new)

    def remove(self, subjects: Iterable[Subject], *labels: str) -> int:
        """Take labels off objects; how many there were."""
        wanted = [(subject, check_label(label)) for subject in subjects for label in labels]
        if not wanted:
            return 0
        delete = "delete from labels where level = ? and owner = ? and label = ?"
        with self._ledger.writing() as con:
            gone = [
                subject
                for subject, label in wanted
                if con.execute(delete, (subject.level, subject.owner, label)).rowcount
            ]
            _announce(con, set(gone))
        return len(gone)

    def replace(self, wanted: Mapping[Subject, Collection[str]]) -> None:
        """Give objects these labels, and take all others off the archive's objects."""
        with self._ledger.writing() as con:
            stands: dict[Subject, set[str]] = {}
            for row in con.execute("select level, owner, label from labels"):
                stands.setdefault(Subject(row["level"], row["owner"]), set()).add(row["label"])
            changed = {
                one for one in stands.keys() | wanted.keys() if stands.get(one, set()) != set(wanted.get(one, ()))
            }
            for subject in changed:
                con.execute("delete from labels where level = ? and owner = ?", (subject.level, subject.owner))
                for label in wanted.get(subject, ()):
                    _insert(con, subject, check_label(label))
            _announce(con, changed)

    def of(self, subject: Subject) -> list[str]:
        """The labels of one object, in alphabetical order."""
        return self.of_all([subject])[subject]

    def of_all(self, subjects: Collection[Subject]) -> Mapping[Subject, list[str]]:
        """The labels of several objects."""
        query = "select label from labels where level = ? and owner = ? order by label"
        with self._ledger.reading() as con:
            return {
                subject: [row["label"] for row in con.execute(query, (subject.level, subject.owner))]
                for subject in subjects
            }

    def known(self) -> list[str]:
        """Every label in use."""
        with self._ledger.reading() as con:
            return [row["label"] for row in con.execute("select distinct label from labels order by label")]

    def labelled(self, level: Level, label: str) -> set[Subject]:
        """The objects of a level that have a label."""
        query = "select owner from labels where label = ? and level = ?"
        with self._ledger.reading() as con:
            return {Subject(level, row["owner"]) for row in con.execute(query, (label, level))}

    def changed_since(self, seq: int) -> list[LabelChange]:
        """The objects whose labels changed after this change of the feed, with those they have now."""
        with self._ledger.reading() as con:
            rows = con.execute(_CHANGED, (seq,)).fetchall()
        return [
            LabelChange(Subject(row["level"], row["owner"]), tuple(sorted(json.loads(row["labels"])))) for row in rows
        ]


def check_label(label: str) -> str:
    """Refuse what is no label."""
    if not isinstance(label, str) or not _LABEL.fullmatch(label):
        raise InvalidInputError("a label is made of 1 to 64 letters, digits, '-' and '_' without accents or spaces")
    return label


def _insert(con: sqlite3.Connection, subject: Subject, label: str) -> bool:
    row = (subject.level, subject.owner, label)
    return con.execute("insert or ignore into labels values (?, ?, ?)", row).rowcount > 0


def _announce(con: sqlite3.Connection, subjects: Collection[Subject]) -> None:
    """Make the change one of the feed, so that whoever follows it finds itself behind."""
    if not subjects:
        return
    seq = next_change(con)
    con.executemany(
        "insert or replace into label_changes values (?, ?, ?)",
        [(subject.level, subject.owner, seq) for subject in sorted(subjects, key=lambda one: (one.level, one.owner))],
    )
