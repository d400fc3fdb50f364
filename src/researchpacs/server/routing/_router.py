"""Turns series that have become stable into jobs, for each rule once, whatever is killed in between.

The ledger lists the series in the order in which they become stable. For each rule it keeps how far the list was looked
through, and notes that in the transaction that puts the jobs into the queue: none is missed, and none is made twice.
The list is of its own, because clients may empty the journal that they follow.
"""

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from researchpacs.catalog import decide, series_rows
from researchpacs.errors import ResearchPacsError
from researchpacs.server.jobs import where
from researchpacs.server.routing._rules import Action, Rule, Rules

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["KIND", "Router", "apply_rule"]

KIND = "Route"
"""Of the jobs."""

_MIGRATIONS = (
    """
    create table routes (
        rule text primary key,
        seq integer not null
    ) strict, without rowid;
    """,
    """
    create table stable_series (
        seq integer primary key autoincrement,
        orthanc_id text not null
    ) strict;

    create trigger series_became_stable after insert on journal when new.kind = 'stable' and new.level = 'series' begin
        insert into stable_series (orthanc_id) values (new.orthanc_id);
    end;

    delete from routes;
    """,
    # A line for each series, however often it comes, and none where there is no rule: nobody might ever read them.
    """
    delete from stable_series where seq not in (select max(seq) from stable_series group by orthanc_id);

    create unique index stable_series_by_id on stable_series (orthanc_id);

    drop trigger series_became_stable;

    create trigger series_became_stable after insert on journal
    when new.kind = 'stable' and new.level = 'series' and exists (select 1 from routes) begin
        delete from stable_series where orthanc_id = new.orthanc_id;
        insert into stable_series (orthanc_id) values (new.orthanc_id);
    end;
    """,
)
_END = "select coalesce((select seq from sqlite_sequence where name = 'stable_series'), 0)"
_LINES = "select seq, orthanc_id from stable_series where seq > ? order by seq limit ?"
_PAGE = 200
_POLL_S = 1.0
_log = logging.getLogger(__name__)

Series = Mapping[str, str]
"""Names of series in the ledger, with what the list calls each: patient_key/study_uid/series_uid to an ID."""


class Router:
    """A thread that looks for stable series every second; a context manager.

    A rule that was not there before begins with the series that become stable from now on; what is known of a rule that
    is there no more is forgotten.

    Parameters
    ----------
    pacs
        Whose series.
    rules
        Checked.
    """

    def __init__(self, pacs: "Pacs", rules: Rules) -> None:
        self._pacs = pacs
        self._rules = rules
        self._ledger = pacs.archive.ledger
        self._ledger.migrate("routing", _MIGRATIONS)
        self._reached = self._begin()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="researchpacs-router", daemon=True)

    def __enter__(self) -> "Router":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def look(self) -> bool:
        """Make the jobs of a page of the list; whether there may be more."""
        more = [self._look(rule) for rule in self._rules.rules]
        return any(more)

    def _watch(self) -> None:
        while not self._stopping.wait(_POLL_S):
            try:
                while self.look() and not self._stopping.is_set():
                    pass
            except Exception as error:  # such as a full disk: nothing is noted, the next look begins at the same place
                why = str(error) if isinstance(error, ResearchPacsError) else where(error)
                _log.error("stable series could not be routed yet: %s", why)

    def _begin(self) -> dict[str, int]:
        names = [rule.name for rule in self._rules.rules]
        with self._ledger.writing() as con:
            con.execute("delete from routes where rule not in (select value from json_each(?))", (json.dumps(names),))
            (end,) = con.execute(_END).fetchone()
            con.executemany("insert or ignore into routes values (?, ?)", [(name, end) for name in names])
            return dict(con.execute("select rule, seq from routes").fetchall())

    def _look(self, rule: Rule) -> bool:
        with self._ledger.reading() as con:
            lines = con.execute(_LINES, (self._reached[rule.name], _PAGE)).fetchall()
        if not lines:
            return False
        reached = int(lines[-1]["seq"])

        def note(con: sqlite3.Connection) -> None:
            con.execute("update routes set seq = ? where rule = ?", (reached, rule.name))
            con.execute("delete from stable_series where seq <= (select min(seq) from routes)")

        found = _series_named(self._pacs, [line["orthanc_id"] for line in lines])
        _submit(self._pacs, rule, found, also=note)
        self._reached[rule.name] = reached
        return len(lines) == _PAGE


def apply_rule(pacs: "Pacs", rule: Rule, *, dry_run: bool = False) -> int:
    """Apply a rule to all series that are there now; how many it chooses.

    Parameters
    ----------
    dry_run
        Only count them.
    """
    chosen, after = 0, ("", "", "")
    query = """
        select patient_key, study_uid, series_uid, orthanc_id
        from series
        where (patient_key, study_uid, series_uid) > (?, ?, ?)
        order by patient_key, study_uid, series_uid
        limit ?
        """
    while True:
        with pacs.archive.ledger.reading() as con:
            rows = con.execute(query, (*after, _PAGE)).fetchall()
        if not rows:
            return chosen
        after = tuple(rows[-1])[:3]
        chosen += _submit(pacs, rule, {"/".join(row[:3]): row["orthanc_id"] for row in rows}, dry_run=dry_run)


def _series_named(pacs: "Pacs", names: Sequence[str]) -> Series:
    """Several series may have one name: those of patients of two issuers."""
    query = """
        select patient_key || '/' || study_uid || '/' || series_uid, orthanc_id
        from series
        where orthanc_id in (select value from json_each(?))
        """
    with pacs.archive.ledger.reading() as con:
        return dict(con.execute(query, (json.dumps(list(names)),)).fetchall())


def _submit(
    pacs: "Pacs",
    rule: Rule,
    found: Series,
    *,
    dry_run: bool = False,
    also: Callable[[sqlite3.Connection], None] = lambda _: None,
) -> int:
    uids = sorted({owner.rpartition("/")[2] for owner in found})
    verdict = decide(rule.when, series_rows(pacs.catalog, uids)) if found else None
    wanted = verdict.chosen | verdict.undecided if verdict else frozenset[str]()
    owners = [owner for owner in found if owner in wanted]
    undecided = verdict.undecided if verdict else frozenset[str]()
    work = [
        _job(rule, action, owner, found[owner], undecided=owner in undecided)
        for owner in owners
        for action in rule.actions
    ]
    if not dry_run:
        pacs.archive.jobs.submit_all(KIND, work, also=also)
    return len(owners)


def _job(
    rule: Rule, action: Action, owner: str, name: str, *, undecided: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a job has to know, and what is shown of it; whether to do it is then read from the rules again."""
    shown = {"Rule": rule.name, "Action": action.verb, "Target": action.target, "ParentResources": [name]}
    asked = {"Rule": rule.name, "Action": action.verb, "Target": action.target, "Series": owner}
    return {**asked, "Undecided": undecided}, {"Description": "Routing", **shown}
