"""Origins: whose data a series are and under which licence, as their publisher says."""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from researchpacs.archive._feed import next_change
from researchpacs.archive._subject import Subject, require
from researchpacs.errors import InvalidInputError
from researchpacs.storage.ledger import Ledger

__all__ = ["Origin", "OriginChange", "Origins"]

_LONGEST = 2000
_ASK = "select collection_id, license_short_name, source_doi, source_url from origins where owner = ?"
_CHANGED = """
select changed.owner, collection_id, license_short_name, source_doi, source_url
from origin_changes as changed
left join origins on origins.owner = changed.owner
where seq > ?
order by seq, changed.owner
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a series was published; the names are those of public indexes, None is unknown."""

    collection_id: str | None = None
    license_short_name: str | None = None
    """Such as ``CC BY 4.0``."""
    source_doi: str | None = None
    """Of the data, such as ``10.7937/tcia.2020.6c7y-gq39``."""
    source_url: str | None = None
    """Where the series was taken from."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            sound = value is None or (isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable())
            if not sound:
                raise InvalidInputError(f"{name} is a printable text of 1 to {_LONGEST} characters")


class OriginChange(NamedTuple):
    """The origin that a series has after it changed."""

    owner: str
    """patient_key/StudyInstanceUID/SeriesInstanceUID."""
    origin: Origin
    """With nothing in it where it went, or the series itself."""


class Origins:
    """The origins of an archive's series; each change of them is a change of the archive's feed.

    Parameters
    ----------
    ledger
        The home's ledger, with the archive's tables.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def put(self, wanted: Mapping[Subject, Origin]) -> int:
        """Say where series are from; what an origin leaves open stays as it is. How many changed.

        Raises
        ------
        NotFoundError
            A series is not in the archive; nothing is changed then.
        """
        if any(subject.level != "series" for subject in wanted):
            raise InvalidInputError("an origin belongs to a series")
        with self._ledger.writing() as con:
            changed = []
            for subject, origin in wanted.items():
                require(con, subject)
                stands = _find(con, subject.owner)
                new = replace(stands, **{name: value for name, value in asdict(origin).items() if value is not None})
                if new != stands:
                    row = (subject.owner, *asdict(new).values())
                    con.execute("insert or replace into origins values (?, ?, ?, ?, ?)", row)
                    changed.append(subject.owner)
            _announce(con, changed)
        return len(changed)

    def of(self, subject: Subject) -> Origin:
        """The origin of a series; with nothing in it where none is known."""
        with self._ledger.reading() as con:
            return _find(con, subject.owner)

    def changed_since(self, seq: int) -> list[OriginChange]:
        """The series whose origin changed after this change of the feed, with what it is now."""
        with self._ledger.reading() as con:
            return [OriginChange(row[0], Origin(*row[1:])) for row in con.execute(_CHANGED, (seq,))]


def _find(con: sqlite3.Connection, owner: str) -> Origin:
    row = con.execute(_ASK, (owner,)).fetchone()
    return Origin() if row is None else Origin(*row)


def _announce(con: sqlite3.Connection, owners: Iterable[str]) -> None:
    """Make the change one of the feed, so that whoever follows it finds itself behind."""
    owners = list(owners)
    if owners:
        seq = next_change(con)
        con.executemany("insert or replace into origin_changes values (?, ?)", [(owner, seq) for owner in owners])
