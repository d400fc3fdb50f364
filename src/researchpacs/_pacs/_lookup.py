"""Handles by UID, from the archive itself; the catalog is asked when an attribute is first wanted."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from researchpacs.errors import NotFoundError

if TYPE_CHECKING:
    from researchpacs._pacs._facade import Pacs
    from researchpacs.model import Level

__all__ = ["Later", "instance_rows", "is_indexed", "look_up"]

Row = Mapping[str, Any]
Later = Callable[[], Row]
"""Gives the catalog's whole row."""


def is_indexed(pacs: "Pacs") -> bool:
    """Whether the archive finds objects by UID itself."""
    return "uid-index" in pacs.archive.capabilities


def look_up(pacs: "Pacs", level: "Level", uid: str) -> list[tuple[Row, Later]]:
    """Find the studies or series of a UID, else those whose UID begins so; two where there are more."""
    found = pacs.archive.look_up(level, uid)
    return [(row, _row_of(pacs, level, row)) for row in map(_columns, found)]


def instance_rows(pacs: "Pacs", series: Row) -> list[tuple[Row, Later]]:
    """Find the instances of a series by InstanceNumber; the rows of all come with one question."""
    owner = {name: series[name] for name in ("patient_key", "StudyInstanceUID", "SeriesInstanceUID")}

    @cache
    def rows() -> Mapping[str, Row]:
        return {one.key: one.attributes() for one in pacs.search("instance", **owner)}

    def later(key: str) -> Later:
        return lambda: _there(rows().get(key), "instance")

    found: Sequence[tuple[str, str]] = pacs.archive.instances_of(tuple(owner.values()))
    return [({**owner, "instance_key": key, "SOPInstanceUID": uid}, later(key)) for key, uid in found]


def _row_of(pacs: "Pacs", level: "Level", identity: Row) -> Later:
    def row() -> Row:
        found = pacs.search(level, **identity).first()
        return _there(None if found is None else found.attributes(), level)

    return row


def _there(row: Row | None, level: str) -> Row:
    if row is None:
        raise NotFoundError(f"the {level} is not in the archive any more; it was deleted")
    return row


def _columns(owner: Sequence[str]) -> Row:
    return dict(zip(("patient_key", "StudyInstanceUID", "SeriesInstanceUID"), owner, strict=False))
