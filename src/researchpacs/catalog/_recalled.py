"""The attributes of an instance from what the archive kept of its header, without a file; most are its neighbours'."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from researchpacs.archive import Kept
from researchpacs.catalog._alike import Alike
from researchpacs.catalog._columns import Column
from researchpacs.catalog._tables import keyword_columns, tables
from researchpacs.catalog._typed import typed, typed_columns
from researchpacs.dicom.references import ObjectReference, object_references

__all__ = ["Bases", "misfits_elsewhere"]

_LEVELS = ("patients", "studies", "series")
_GROUPS = "SharedFunctionalGroupsSequence"
_MOST = 1000
_POINTERS = frozenset({"ReferencedSOPInstanceUID", "ReferencedSOPClassUID"})


@dataclass(frozen=True, slots=True)
class _Base:
    tags: Mapping[str, Any]
    values: Mapping[str, Any] | None
    """Typed columns; None where a value does not fit, or stands in functional groups."""
    references: Sequence[ObjectReference]


class Bases:
    """What the first instances of each kind have, worked out once."""

    def __init__(self) -> None:
        self._known: dict[str, _Base] = {}
        self._of_tags: dict[int, _Base] = {}

    def recall(self, kept: Kept) -> tuple[Alike, dict[str, Any] | None]:
        """Give all attributes of an instance, and the columns of ``instances`` where all fit.

        Returns
        -------
        tags
            By keyword.
        values
            Of all columns, None in those that hold no attribute; None altogether where `typed_columns` has to say what
            does not fit.
        """
        base = self._base(kept)
        own = json.loads(kept.own)
        tags = Alike(base.tags, own)
        return tags, None if base.values is None or _GROUPS in own else _with_own(base.values, own)

    def references(self, tags: Alike) -> Sequence[ObjectReference]:
        """Find the objects that an instance points at, which are its base's where it has no items of its own."""
        base = self._of_tags.get(id(tags.base))
        return object_references(tags) if base is None or any(map(_points, tags.own.items())) else base.references

    def _base(self, kept: Kept) -> _Base:
        found = self._known.get(kept.digest)
        if found is None:
            if len(self._known) >= _MOST:
                self._known.clear()
                self._of_tags.clear()
            found = self._known[kept.digest] = _parsed(kept.base)
            self._of_tags[id(found.tags)] = found
        return found


def misfits_elsewhere(tags: Mapping[str, Any]) -> list[str]:
    """Keywords whose value does not fit its column in the tables above instances: the issue is the instance's."""
    return typed_columns(tags, _elsewhere())[1]


def _parsed(text: str) -> _Base:
    tags = json.loads(text)
    values, misfits = typed_columns(tags, tables()["instances"].columns)
    fits = not misfits and not misfits_elsewhere(tags) and _GROUPS not in tags
    return _Base(tags, _columns() | values if fits else None, object_references(tags))


def _points(attribute: tuple[str, Any]) -> bool:
    """Whether an attribute may point at an object."""
    keyword, value = attribute
    items = value.get("value") if isinstance(value, dict) else value  # private ones stand beside their creator
    return keyword in _POINTERS or (isinstance(items, list) and bool(items) and isinstance(items[0], dict))


def _with_own(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any] | None:
    values = dict(base)
    try:
        for keyword, value in own.items():
            if value is not None:
                for column in _by_keyword().get(keyword, ()):
                    fitting = typed(value, column.type)
                    if column.name in values:
                        values[column.name] = fitting
            elif keyword in values:
                values[keyword] = None
    except ValueError:
        return None
    return values


@cache
def _columns() -> dict[str, Any]:
    return dict.fromkeys(column.name for column in tables()["instances"].columns)


@cache
def _elsewhere() -> tuple[Column, ...]:
    return tuple(column for level in _LEVELS for column in keyword_columns(level))


@cache
def _by_keyword() -> Mapping[str, tuple[Column, ...]]:
    """The columns of any level that hold an attribute: what is no column of instances has to fit all the same."""
    found: dict[str, tuple[Column, ...]] = {}
    for level in ("instances", *_LEVELS):
        for column in keyword_columns(level):
            found[column.keyword or ""] = (*found.get(column.keyword or "", ()), column)
    return found
