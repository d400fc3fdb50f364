"""`Cohort`: a frozen list of series, and what has changed since."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from researchpacs.cohort._members import IDENTITY, Member, Question, contents_of, members_of
from researchpacs.cohort.attrition import Attrition, Step
from researchpacs.cohort.part import Part, Source
from researchpacs.cohort.split import Splits, folds, split
from researchpacs.errors import NotFoundError

if TYPE_CHECKING:
    import pandas as pd

    from researchpacs.catalog import Past, Result

__all__ = ["Cohort"]


class Cohort(Part):
    """Series as they were when they were frozen: which, with which files, found by what, when and by whom.

    A sequence of handles; `df()` has the columns that came with the members. Made by ``pacs.freeze``.

    Parameters
    ----------
    description
        In the author's words.
    question
        What found the members.
    snapshot, snapshot_at
        The catalog's snapshot that the members were found in, and when that was made (UTC, ISO 8601); see `as_of`.
    digest
        SHA-256 over the sorted UIDs and file hashes; equal in every archive that holds the same files.
    author, created_at
        Who froze it, and when (UTC, ISO 8601).
    flow
        How many patients, studies and series each filter left then.
    """

    def __init__(
        self,
        name: str,
        members: tuple[Member, ...],
        source: Source,
        *,
        description: str,
        question: Question,
        snapshot: int,
        snapshot_at: str,
        digest: str,
        author: str,
        created_at: str,
        flow: tuple[Step, ...] = (),
    ) -> None:
        super().__init__(name, members, source)
        self.description = description
        self.question = question
        self.snapshot = snapshot
        self.snapshot_at = snapshot_at
        self._past: Past | None = None
        self.digest = digest
        self.author = author
        self.created_at = created_at
        self._flow = flow

    def diff(self) -> "pd.DataFrame":
        """What is different now: one row per series with ``change``: added, removed or changed.

        ``added``: the question finds it now and did not then; ``removed``: it is gone, or the question does not find it
        any more; ``changed``: other instances or other files. A cohort of named series has no question to ask again.
        """
        import pandas as pd

        catalog = self.source.catalog
        frozen = {one.identity: one for one in self.members}
        held = {one.identity: one.digest for one in contents_of(self.members, catalog, self.source.archive)}
        found = set(held) if not self.question.query else self._found_now()
        rows = [(identity, "added") for identity in sorted(found - set(frozen))]
        for identity, member in frozen.items():
            if identity not in held or identity not in found:
                rows.append((identity, "removed"))
            elif held[identity] != member.digest:
                rows.append((identity, "changed"))
        return pd.DataFrame([{**dict(zip(IDENTITY, one, strict=True)), "change": change} for one, change in rows],
                            columns=[*IDENTITY, "change"])  # fmt: skip

    def as_of(self, query: str, /, **params: Any) -> "Result":
        """Ask the catalog in SQL as it was when the cohort was frozen.

        Parameters
        ----------
        query
            Over all tables of the catalog as they were, and over ``members``: one row per member with its UIDs and
            the columns of the cohort.
        **params
            Values of ``$name`` in the query.

        Raises
        ------
        NotFoundError
            The catalog was lost and made anew since. Members, digest, question and attrition still stand.
        InvalidInputError
            DuckDB refuses the query, or it would write to the catalog.
        """
        if self._past is None:
            self._past = self._open_past()
        return self._past.sql(query, params)

    def attrition(self) -> Attrition:
        """How many patients, studies and series each filter left when it was frozen: a flow chart, and its table."""
        return Attrition(self._flow)

    def split(
        self, parts: Mapping[str, float], *, by: str = "PatientID", stratify: str | None = None, seed: int = 0
    ) -> Splits:
        """Part the cohort; all series of a group stay together.

        Parameters
        ----------
        parts
            Shares by name, such as ``{"train": 0.8, "test": 0.2}``; they add up to 1.
        by
            What makes a group: ``"PatientID"`` (the patient, with the issuer of the ID), ``"StudyInstanceUID"``,
            ``"SeriesInstanceUID"``, or a column of the cohort.
        stratify
            A column of the cohort whose values each part should hold in the same shares.
        seed
            The same seed gives the same parts, on every machine and whatever the order of the members.

        Returns
        -------
        splits
            Unpacks in the order of `parts`; ``splits["train"]``; ``splits.check()`` looks for leakage.

        Raises
        ------
        InvalidInputError
            Shares that are none, an unknown column, or fewer groups than parts.
        """
        return split(self, parts, by=by, stratify=stratify, seed=seed)

    def folds(self, count: int, *, by: str = "PatientID", stratify: str | None = None, seed: int = 0) -> list[Splits]:
        """Make folds for cross-validation: so many splits into ``train`` and ``test``, each group in one test part."""
        return folds(self, count, by=by, stratify=stratify, seed=seed)

    def _open_past(self) -> "Past":
        import pandas as pd

        from researchpacs.catalog import Pin

        try:
            past = self.source.catalog.as_of(Pin(self.snapshot, self.snapshot_at))
        except NotFoundError as error:
            raise NotFoundError(
                f"{error}. What was frozen still stands: df(), digest and attrition() are in the archive's ledger, and "
                "diff() compares with what is there now"
            ) from None
        rows = [
            {**dict(zip(IDENTITY, one.identity, strict=True)), "instance_count": one.instance_count, **one.columns}
            for one in self.members
        ]
        past.show("members", pd.DataFrame(rows))
        return past

    def _found_now(self) -> set[tuple[str, str, str]]:
        """What the question finds now."""
        result = self.source.catalog.sql(self.question.query, **self.question.params)
        if not result.fetchall():
            return set()
        return {one.identity for one in members_of(result, self.source.catalog)}

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _restored, (self.name, self.members, self.source, self._rest())

    def _rest(self) -> dict[str, Any]:
        names = ("description", "question", "snapshot", "snapshot_at", "digest", "author", "created_at")
        return {**{name: getattr(self, name) for name in names}, "flow": self._flow}


def _restored(name: str, members: tuple[Member, ...], source: Source, rest: dict[str, Any]) -> Cohort:
    return Cohort(name, members, source, **rest)
