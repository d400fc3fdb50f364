"""The cohorts of an archive: kept in its ledger, because no file has them."""

import getpass
import json
import re
from dataclasses import asdict
from typing import Any

from researchpacs.cohort._members import Member, Question, contents_of, digest_of, members_of, question_of
from researchpacs.cohort.attrition import Step, flow_of
from researchpacs.cohort.cohort import Cohort
from researchpacs.cohort.part import Source
from researchpacs.errors import ConflictError, InvalidInputError, NotFoundError
from researchpacs.storage.ledger import Ledger, scripts_of

__all__ = ["Cohorts"]

_NAME = re.compile(r"\w[\w .-]{0,79}")


class Cohorts:
    """Freeze cohorts and find them again.

    Parameters
    ----------
    ledger
        Where they are kept.
    source
        What their members are found in.
    """

    def __init__(self, ledger: Ledger, source: Source) -> None:
        self._ledger = ledger
        self._source = source
        ledger.migrate("cohort", scripts_of("researchpacs.cohort"))

    def freeze(self, source: object, *, name: str, description: str = "") -> Cohort:
        """Keep a list of series as it is now; freezing the same again gives what is there.

        Raises
        ------
        ConflictError
            Another cohort has this name.
        InvalidInputError, NotFoundError
            The source names no series, or some that are not here.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidInputError("a cohort's name has 1 to 80 letters, digits, spaces and . _ -")
        catalog = self._source.catalog
        snapshot = catalog.snapshot()
        members = contents_of(members_of(source, catalog), catalog, self._source.archive)
        made = {
            "name": name,
            "description": str(description),
            "question": question_of(source),
            "flow": flow_of(source, catalog, members),
            "snapshot": snapshot,
            "digest": digest_of(members),
            "author": getpass.getuser(),
        }
        with self._ledger.writing() as con:
            row = con.execute("select digest from cohorts where name = ?", (name,)).fetchone()
            if row is None:
                _insert(con, made, members)
            elif row["digest"] != made["digest"] or self._columns(con, name) != [one.columns for one in members]:
                raise ConflictError(
                    f"there is a cohort {name!r} already, with other members, files or columns, and it is frozen: "
                    "choose another name; pacs.cohort(name).diff() shows what changed"
                )
        return self.get(name)

    def names(self) -> list[str]:
        """The names of all cohorts, the oldest first."""
        with self._ledger.reading() as con:
            return [row["name"] for row in con.execute("select name from cohorts order by created_at, name")]

    def get(self, name: str) -> Cohort:
        """The cohort of this name.

        Raises
        ------
        NotFoundError
            There is none.
        """
        with self._ledger.reading() as con:
            row = con.execute("select * from cohorts where name = ?", (name,)).fetchone()
            rows = con.execute("select * from cohort_members where cohort = ? order by position", (name,)).fetchall()
        if row is None:
            raise NotFoundError(f"there is no cohort {name!r}; there are: {', '.join(self.names()) or 'none'}")
        return Cohort(
            row["name"],
            tuple(_member(one) for one in rows),
            self._source,
            description=row["description"],
            question=Question(row["query"], json.loads(row["params"])),
            snapshot=row["snapshot"],
            digest=row["digest"],
            author=row["author"],
            created_at=row["created_at"],
            flow=tuple(Step(**step) for step in json.loads(row["flow"])),
        )

    @staticmethod
    def _columns(con: Any, name: str) -> list[Any]:
        rows = con.execute("select columns from cohort_members where cohort = ? order by position", (name,))
        return [json.loads(row["columns"]) for row in rows]


def _insert(con: Any, made: dict[str, Any], members: list[Member]) -> None:
    question: Question = made["question"]
    con.execute(
        "insert into cohorts (name, description, query, params, snapshot, digest, author, flow) "
        "values (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            made["name"], made["description"], question.query, json.dumps(dict(question.params), default=str),
            made["snapshot"], made["digest"], made["author"],
            json.dumps([asdict(step) for step in made["flow"]]),
        ),
    )  # fmt: skip
    con.executemany(
        "insert into cohort_members values (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (made["name"], at, *one.identity, one.instance_count, one.digest, json.dumps(dict(one.columns)))
            for at, one in enumerate(members)
        ],
    )


def _member(row: Any) -> Member:
    return Member(
        row["patient_key"],
        row["study_uid"],
        row["series_uid"],
        row["instance_count"],
        row["digest"],
        json.loads(row["columns"]),
    )
