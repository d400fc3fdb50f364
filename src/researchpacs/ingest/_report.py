"""What became of an ingest: counts to look at, rows to work with; no name or path is shown unless asked for."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

from researchpacs.errors import ConflictError, InvalidInputError
from researchpacs.model import Outcome

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["IngestReport"]

_SHOWN = 10


class IngestReport:
    """The outcome of every input.

    Parameters
    ----------
    outcomes
        One an input.
    as_series
        Turns SeriesInstanceUIDs into handles.
    """

    def __init__(
        self, outcomes: Iterable[Outcome], as_series: Callable[[Sequence[str]], Sequence[Any]] | None = None
    ) -> None:
        self._outcomes = tuple(outcomes)
        self._as_series = as_series
        counts = Counter(outcome.kind for outcome in self._outcomes)
        self.stored: int = counts["stored"]
        self.duplicates: int = counts["duplicate"]
        self.conflicts: int = counts["conflict"]
        self.refused: int = counts["refused"]

    @cached_property
    def series(self) -> Sequence[Any]:
        """Handles of all series that were touched, duplicates included, in the order of their first instance."""
        uids = dict.fromkeys(one.identity.series_uid for one in self._outcomes if one.identity is not None)
        return self._as_series(list(uids)) if self._as_series and uids else []

    @property
    def reasons(self) -> Counter[str]:
        """How often each reason was given for what was not simply stored."""
        return Counter(outcome.reason for outcome in self._outcomes if outcome.reason)

    def df(self) -> "pd.DataFrame":
        """One row an input: path, outcome, reason, SOPInstanceUID (missing where the input has none)."""
        import pandas as pd

        columns = ["path", "outcome", "reason", "SOPInstanceUID"]
        rows = [
            (_printable(one.source), one.kind, one.reason, one.identity and one.identity.sop_uid)
            for one in self._outcomes
        ]
        return pd.DataFrame(rows, columns=columns)

    def raise_for(self, sources: Collection[str]) -> None:
        """Raise if an input named directly was refused or is in conflict; the others have been taken in by now.

        Parameters
        ----------
        sources
            The `Outcome.source` of what was named.

        Raises
        ------
        InvalidInputError, ConflictError
        """
        named = [outcome for outcome in self._outcomes if outcome.source in sources]
        refused = [outcome for outcome in named if outcome.kind == "refused"]
        conflicts = [outcome for outcome in named if outcome.kind == "conflict"]
        if refused:
            raise InvalidInputError(_sentence(refused, "refused", self))
        if conflicts:
            raise ConflictError(_sentence(conflicts, "in conflict", self))

    def __repr__(self) -> str:
        return f"<IngestReport: {self._counts()}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:right'>{count:,}</td><td style='text-align:left'>{escape(reason)}</td></tr>"
            for reason, count in self.reasons.most_common(_SHOWN)
        )
        more = len(self.reasons) - _SHOWN
        note = f"<p>and {more} other reasons; df() has them all</p>" if more > 0 else ""
        return f"<div><p>{self._counts()}</p>{f'<table>{rows}</table>' if rows else ''}{note}</div>"

    def _counts(self) -> str:
        return (
            f"{self.stored:,} stored, {self.duplicates:,} duplicates, {self.conflicts:,} conflicts, "
            f"{self.refused:,} refused"
        )


def _printable(path: str) -> str:
    """File names need not be UTF-8, but text in a table has to be: other bytes are spelt out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace") if not path.isascii() else path


def _sentence(outcomes: Sequence[Outcome], what: str, report: IngestReport) -> str:
    """Name no path: file names may hold the names of patients."""
    first = outcomes[0]
    uid = f" (instance ...{first.identity.sop_uid[-12:]})" if first.identity else ""
    count = "an input is" if len(outcomes) == 1 else f"{len(outcomes)} inputs are"
    return f"{count} {what}{uid}: {first.reason}. In all: {report._counts()}"
