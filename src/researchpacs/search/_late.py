"""``tags`` of hits, read when they are first asked for: a kilobyte a row, unpacked by the thousands to show a few."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from researchpacs.errors import NotFoundError
from researchpacs.search._compile import LEVELS

if TYPE_CHECKING:
    from researchpacs.catalog import Catalog

__all__ = ["Later", "comes_late", "rows_of_page"]

Row = dict[str, Any]
Later = Callable[[], Mapping[str, Any]]
"""Gives the whole row."""

_IDENTITY = {
    "patient": ("patient_key",),
    "study": ("patient_key", "StudyInstanceUID"),
    "series": ("patient_key", "StudyInstanceUID", "SeriesInstanceUID"),
}
"""What tells rows apart. Instances are not among them: their tags are put together in a view, so that all is read."""
_SORTED_BY = {"patient": (), "study": ("StudyDate",), "series": ("Modality", "BodyPartExamined", "StudyDate")}
"""Columns that lead to a few places in a large table, which the identity does not."""


def comes_late(level: str) -> bool:
    """Whether rows of a level are fetched without their ``tags``."""
    return level in _IDENTITY


def rows_of_page(
    catalog: "Catalog", level: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> list[tuple[Row, Later]]:
    """Give the rows of a page, each with what gives it whole; the second one to be asked reads the tags of all.

    Raises
    ------
    NotFoundError
        Of what gives a row whole: it is not in the catalog any more.
    """
    found = [dict(zip(names, row, strict=True)) for row in rows]
    tags: dict[tuple[Any, ...], str] = {}

    def later(row: Row) -> Later:
        key = _key(level, row)

        def whole() -> Row:
            if key not in tags:
                wanted = [one for one in found if _key(level, one) not in tags] if tags else [row]
                tags.update(_tags(catalog, level, wanted))
            if key not in tags:
                raise NotFoundError(f"the {level} is not in the archive any more; it was deleted")
            return {**row, "tags": tags[key]}

        return whole

    return [(row, later(row)) for row in found]


def _tags(catalog: "Catalog", level: str, rows: Sequence[Row]) -> Mapping[tuple[Any, ...], str]:
    """Tags by identity: looked for where the rows were, and those that have another place by now everywhere."""
    found: dict[tuple[Any, ...], str] = {}
    for places in (_SORTED_BY[level], ()):
        missing = [row for row in rows if _key(level, row) not in found]
        if missing:
            found |= _read(catalog, level, missing, places)
    return found


def _read(catalog: "Catalog", level: str, rows: Sequence[Row], places: Sequence[str]) -> Mapping[tuple[Any, ...], str]:
    identity = _IDENTITY[level]
    params: dict[str, Any] = {}
    conditions = [_among(name, {row[name] for row in rows}, params) for name in (identity[-1], *places)]
    chosen = ", ".join(f'"{name}"' for name in (*identity, "tags"))
    query = f"select {chosen} from {LEVELS[level]} where {' and '.join(conditions)}"  # noqa: S608 - our names
    return {tuple(row[:-1]): row[-1] for row in catalog.sql(query, **params).fetchall()}


def _among(name: str, values: Collection[Any], params: dict[str, Any]) -> str:
    """A condition by which DuckDB skips files and row groups; for more than it compares with, the ends are enough."""
    marks = []
    for value in values:
        if value is not None:
            marks.append(f"$v{len(params)}")
            params[f"v{len(params)}"] = value
    either = [f'"{name}" in ({", ".join(marks)})'] if marks else []
    either += [f'"{name}" is null'] if len(marks) < len(values) else []
    return f"({' or '.join(either)})"


def _key(level: str, row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in _IDENTITY[level])
