"""The cohorts of an archive: kept in its ledger, because no file has them."""

import getpass
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from researchpacs.cohort._members import (
    Member,
    Question,
    digest_of,
    files_of,
    members_of,
    question_of,
    with_digests,
)
from researchpacs.cohort.attrition import Step, flow_of
from researchpacs.cohort.cohort import Cohort
from researchpacs.cohort.part import Source
from researchpacs.errors import ConflictError, InvalidInputError

if TYPE_CHECKING:
    from researchpacs.archive import CohortLedger

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

    def __init__(self, ledger: "CohortLedger", source: Source) -> None:
        self._ledger = ledger
        self._source = source

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
        with catalog.one_snapshot() as pin:
            found = members_of(source, catalog)
            files = files_of(found, catalog)
            flow = flow_of(source, catalog, found)
        members = with_digests(found, files, self._source.archive)
        question, digest = question_of(source), digest_of(members)
        made = {
            "name": name,
            "description": str(description),
            "query": question.query,
            "params": question.params,
            "snapshot": pin.snapshot,
            "snapshot_at": pin.at,
            "digest": digest,
            "author": getpass.getuser(),
            "flow": [asdict(step) for step in flow],
        }
        is_new = self._ledger.add(made, [_row(one) for one in members])
        kept = self.get(name)
        if not is_new and (kept.digest, [one.columns for one in kept.members]) != (digest, _columns(members)):
            raise ConflictError(
                f"there is a cohort {name!r} already, with other members, files or columns, and it is frozen: "
                "choose another name; pacs.cohort(name).diff() shows what changed"
            )
        return kept

    def names(self) -> list[str]:
        """The names of all cohorts, the oldest first."""
        return self._ledger.names()

    def get(self, name: str) -> Cohort:
        """The cohort of this name.

        Raises
        ------
        NotFoundError
            There is none.
        """
        row = self._ledger.get(name)
        return Cohort(
            row["name"],
            tuple(_member(one) for one in row["members"]),
            self._source,
            description=row["description"],
            question=Question(row["query"], row["params"]),
            snapshot=row["snapshot"],
            snapshot_at=row["snapshot_at"],
            digest=row["digest"],
            author=row["author"],
            created_at=row["created_at"],
            flow=tuple(Step(**step) for step in row["flow"]),
        )


def _columns(members: list[Member]) -> list[Mapping[str, Any]]:
    return [one.columns for one in members]


def _row(member: Member) -> dict[str, Any]:
    return {
        "patient_key": member.patient_key,
        "study_uid": member.study_uid,
        "series_uid": member.series_uid,
        "instance_count": member.instance_count,
        "digest": member.digest,
        "columns": member.columns,
    }


def _member(row: Mapping[str, Any]) -> Member:
    return Member(**{name: row[name] for name in _row(Member("", "", ""))})
