"""What a user hands to `freeze` -> series with their digests and the columns beside them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from researchpacs.catalog import Result
from researchpacs.errors import InvalidInputError, NotFoundError, ResearchPacsError
from researchpacs.search import Search

if TYPE_CHECKING:
    import pandas as pd

    from researchpacs.archive import Archive
    from researchpacs.catalog import Catalog

__all__ = [
    "IDENTITY",
    "Member",
    "Question",
    "contents_of",
    "digest_of",
    "files_of",
    "members_of",
    "question_of",
    "refusal_of",
    "with_digests",
]

IDENTITY = ("patient_key", "StudyInstanceUID", "SeriesInstanceUID")
"""What tells a series from all others of an archive."""

_NAMING = ("SeriesInstanceUID", "StudyInstanceUID", "patient_key")
"""Columns that name series, the finest first."""

_SERIES = """
select series.patient_key, series.StudyInstanceUID, series.SeriesInstanceUID, series.PatientID, wanted.rp_at
from wanted join series using ({names})
order by wanted.rp_at, series.StudyInstanceUID, series.SeriesNumber nulls last, series.SeriesInstanceUID
"""

_CONTENTS = """
select patient_key, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, instance_key, sha256
from instances
where SeriesInstanceUID in (select unnest($uids))
order by all
"""


@dataclass(frozen=True, slots=True)
class Question:
    """What found the members, so that it can be asked again; empty where they were named one by one."""

    query: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Member:
    """One series of a cohort."""

    patient_key: str
    study_uid: str
    series_uid: str
    instance_count: int = 0
    digest: str = ""
    """Over the SOPInstanceUIDs and the SHA-256 of the files."""
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[str, str, str]:
        """In the order of `IDENTITY`."""
        return self.patient_key, self.study_uid, self.series_uid


def question_of(source: object) -> Question:
    """What can be asked again later: a search or a SQL query."""
    if isinstance(source, Search):
        return Question(source.sql)
    if isinstance(source, Result):
        return Question(source.query, source.params)
    return Question()


def members_of(source: object, catalog: "Catalog") -> list[Member]:
    """Find the series that a user means, each once, in the order given.

    Parameters
    ----------
    source
        A `Search`, a SQL result or a DataFrame with a column SeriesInstanceUID, StudyInstanceUID or patient_key, or an
        iterable of UIDs or handles. Studies and patients stand for all their series.

    Raises
    ------
    InvalidInputError
        There is no such column, nothing in it, or a series twice with different values beside it.
    NotFoundError
        A UID is not in the archive.
    """
    table = _as_table(source)
    names = [name for name in _NAMING if name in table.columns]
    if not names:
        raise InvalidInputError(
            "a cohort is made of series: the table needs a column SeriesInstanceUID, StudyInstanceUID or patient_key; "
            f"it has {', '.join(map(str, table.columns[:8])) or 'none'}"
        )
    own = [name for name in table.columns if name not in {*IDENTITY, "PatientID"}]
    wanted = table[names].astype(str).assign(rp_at=range(len(table)))
    found = catalog.sql_over({"wanted": wanted}, _SERIES.format(names=", ".join(f'"{name}"' for name in names)))
    beside = _columns_of(table, own)
    members: dict[tuple[str, str, str], Member] = {}
    named = set()
    for patient_key, study_uid, series_uid, _, at in found:
        named.add(at)
        member = Member(patient_key, study_uid, series_uid, columns=beside[at])
        if members.setdefault(member.identity, member).columns != member.columns:
            raise InvalidInputError(
                f"series ...{series_uid[-8:]} is there twice with different values beside it; a series is one member"
            )
    if len(named) < len(table):
        raise NotFoundError(
            f"{len(table) - len(named)} of {len(table)} are not in the archive; "
            f"the first is row {min(set(range(len(table))) - named)}"
        )
    if not members:
        raise InvalidInputError("there is nothing to freeze: no series matches")
    return list(members.values())


def contents_of(members: Sequence[Member], catalog: "Catalog", archive: "Archive") -> list[Member]:
    """Give the members the digests of what their series hold now; series that are gone are left out."""
    return with_digests(members, files_of(members, catalog), archive)


def files_of(members: Iterable[Member], catalog: "Catalog") -> list[tuple[Any, ...]]:
    """The files of the members: identity, SOPInstanceUID, key, and SHA-256 where it is known."""
    return catalog.sql(_CONTENTS, uids=[one.series_uid for one in members]).fetchall()


def with_digests(members: Iterable[Member], files: Iterable[tuple[Any, ...]], archive: "Archive") -> list[Member]:
    """Give the members the digests of their files, as `files_of` has them."""
    lines: dict[tuple[str, str, str], list[str]] = {}
    for *identity, sop_uid, key, digest in files:
        # A file that is only referenced may not have been read in full yet.
        known = digest or sha256(archive.read(key)).hexdigest()
        lines.setdefault((identity[0], identity[1], identity[2]), []).append(f"{sop_uid}\t{known}\n")
    return [
        Member(
            *one.identity,
            instance_count=len(lines[one.identity]),
            digest=sha256("".join(sorted(lines[one.identity])).encode()).hexdigest(),
            columns=one.columns,
        )
        for one in members
        if one.identity in lines
    ]


def refusal_of(member: Member, held: Member | None) -> ResearchPacsError | None:
    """Why a series cannot be read as it was frozen, given what the archive holds of it now."""
    if held is None:
        return NotFoundError("the series is not in the archive any more; cohort.diff() lists what changed")
    if held.digest != member.digest:
        return InvalidInputError("other instances or files than when the cohort was frozen; freeze it anew")
    return None


def digest_of(members: Sequence[Member]) -> str:
    """One SHA-256 over all members, whatever their order; it stays the same in another archive with the same files."""
    lines = sorted(f"{one.study_uid}\t{one.series_uid}\t{one.digest}\n" for one in members)
    return sha256("".join(lines).encode()).hexdigest()


def _as_table(source: object) -> "pd.DataFrame":
    import pandas as pd

    if isinstance(source, Search):
        return _of_search(source)
    if isinstance(source, Result):
        return source.df()
    if isinstance(source, pd.DataFrame):
        return source.reset_index(drop=True)
    if isinstance(source, str) or not isinstance(source, Iterable):
        raise InvalidInputError(
            "a cohort is frozen from a search, a SQL result, a DataFrame, or a list of UIDs or handles"
        )
    return _of_uids(list(source))


def _of_search(search: Search[Any]) -> "pd.DataFrame":
    columns = {
        "patient": ["patient_key"],
        "study": ["patient_key", "StudyInstanceUID"],
        "series": list(IDENTITY),
    }.get(search.level)
    if columns is None:
        raise InvalidInputError("a cohort is made of series, not of instances: search for series")
    return search.df(columns=columns)


def _of_uids(items: list[Any]) -> "pd.DataFrame":
    import pandas as pd

    rows = []
    for item in items:
        if isinstance(item, str):
            rows.append({"SeriesInstanceUID": item})
        elif hasattr(item, "identity") and hasattr(item, "attributes"):
            attributes = item.attributes()
            rows.append({name: attributes[name] for name in item.identity})
        else:
            raise InvalidInputError(f"a list of UIDs or handles is expected; it holds a {type(item).__name__}")
    table = pd.DataFrame(rows)
    if table.isna().to_numpy().any():
        raise InvalidInputError("all of a list have to be of one level: series, studies or patients")
    return table


def _columns_of(table: "pd.DataFrame", own: Sequence[str]) -> list[dict[str, Any]]:
    """The values beside the UIDs as JSON has them; dates as text."""
    text = table[list(own)].to_json(orient="records", date_format="iso", default_handler=str)
    found: list[dict[str, Any]] = json.loads(text) if own else [{} for _ in range(len(table))]
    return found
