"""What was taken from headers when instances came: kept until the catalog has it, so that it opens no file again."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from researchpacs.dicom.facts import Facts
from researchpacs.dicom.frame_record import Record

__all__ = ["FactKeeper", "Kept", "facts_of", "forget_facts"]

_INSERT = "insert or replace into facts (key, seq, base, own, issues) values (?, ?, ?, ?, ?)"
_BASE = "insert or ignore into fact_bases (digest, attributes) values (?, ?)"
_FORM = "insert or ignore into frame_forms (form) values (?)"
_NUMBER = "select number from frame_forms where form = ?"
_FACTS = """
select
    f.key, f.base, f.own, f.issues, i.frame_form, i.frame_places,
    i.sop_class_uid, i.transfer_syntax_uid, i.size, i.sha256, i.stored_at, i.issues
from facts f
join instances i on i.key = f.key and i.seq = f.seq
where f.key in (select value from json_each(?)) and i.frame_form is not null
"""
_FORMS = "select number, form from frame_forms where number in (select value from json_each(?))"
_BASES = "select digest, attributes from fact_bases where digest in (select value from json_each(?))"


class Kept(NamedTuple):
    """What the catalog gets of an instance whose facts are kept, beside its identity."""

    digest: str
    """Names `base`."""
    base: str
    own: str
    problems: tuple[tuple[str, str], ...]
    """(keyword, problem) of its values and frames."""
    frames: Record
    sop_class_uid: str
    transfer_syntax_uid: str
    size: int
    sha256: str | None
    stored_at: str
    issues: tuple[tuple[str, str], ...]
    """(keyword, problem) that the archive noted."""


class FactKeeper:
    """Keeps the facts of the instances of one transaction."""

    def __init__(self) -> None:
        self._bases: set[str] = set()
        self._forms: dict[str, int] = {}
        self._rows: list[tuple[str, int, str, str, str]] = []

    def keep(
        self, con: sqlite3.Connection, key: str, seq: int, facts: Facts | None
    ) -> tuple[int, bytes] | tuple[None, None]:
        """Take the facts of an instance, to be kept by `write`; gives what its row has of its frames."""
        if facts is None:
            return None, None
        digest = _digest(facts.base)
        if digest not in self._bases:
            con.execute(_BASE, (digest, facts.base))
            self._bases.add(digest)
        issues = json.dumps(facts.issues) if facts.issues else "[]"
        self._rows.append((key, seq, digest, facts.own, issues))
        return self._form(con, facts.frames.form), facts.frames.places

    def write(self, con: sqlite3.Connection) -> None:
        """Keep what was taken, in the order in which it came."""
        con.executemany(_INSERT, self._rows)
        self._rows.clear()

    def _form(self, con: sqlite3.Connection, form: str) -> int:
        if form not in self._forms:
            con.execute(_FORM, (form,))
            (self._forms[form],) = con.execute(_NUMBER, (form,)).fetchone()
        return self._forms[form]


def facts_of(con: sqlite3.Connection, keys: Sequence[str]) -> Mapping[str, Kept]:
    """Give the facts of instances by `Identity.key`, as far as they are kept."""
    rows = con.execute(_FACTS, (json.dumps(list(keys)),)).fetchall()
    bases = dict(con.execute(_BASES, (json.dumps(sorted({row["base"] for row in rows})),)).fetchall())
    forms = dict(con.execute(_FORMS, (json.dumps(sorted({row["frame_form"] for row in rows})),)).fetchall())
    found = {}
    for key, base, own, problems, form, places, sop_class, syntax, size, sha256, stored_at, issues in rows:
        frames = Record(forms[form], places)
        told = (sop_class, syntax, size, sha256, stored_at)
        found[key] = Kept(base, bases[base], own, _pairs(problems), frames, *told, _pairs(issues))
    return found


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(map(tuple, json.loads(text))) if text != "[]" else ()


def forget_facts(con: sqlite3.Connection, last: int) -> None:
    """Drop the facts of what was stored up to a change of the feed; bases that nobody needs go with them."""
    con.execute("delete from facts where seq <= ?", (last,))
    con.execute("delete from fact_bases where digest not in (select base from facts)")


@lru_cache(maxsize=256)
def _digest(base: str) -> str:
    return hashlib.sha1(base.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
