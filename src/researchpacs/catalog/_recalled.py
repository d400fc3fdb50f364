"""The attributes of an instance from what the archive kept of its header, without a file; most are its neighbours'."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from researchpacs.archive import Kept
from researchpacs.catalog._alike import Alike
from researchpacs.catalog._columns import Column
from researchpacs.catalog._tables import keyword_columns, tables
from researchpacs.catalog._typed import typed, typed_columns

__all__ = ["Bases", "misfits_elsewhere"]

_LEVELS = ("patients", "studies", "series")
_GROUPS = "SharedFunctionalGroupsSequence"
_MOST = 1000


@dataclass(frozen=True, slots=True)
class _Base:
    tags: Mapping[str, Any]
    values: Mapping[str, Any] | None
    """Typed columns; None where a value does not fit, or stands in functional groups."""


class Bases:
    """What the first instances of each kind have, worked out once."""

    def __init__(self) -> None:
        self._known: dict[str, _Base] = {}

    def recall(self, kept: Kept) -> tuple[Alike, dict[str, Any] | None]:
        """Give all attributes of an instance, and the columns of ``instances`` where all fit.

        Returns
        -------
        tags
            By keyword.
        values
            By column; None where `typed_columns` has to say what does not fit.
        """
        base = self._base(kept)
        own = json.loads(kept.own)
        tags = Alike(base.tags, own)
        return tags, None if base.values is None or _GROUPS in own else _with_own(base.values, own)

    def _base(self, kept: Kept) -> _Base:
        found = self._known.get(kept.digest)
        if found is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            found = self._known[kept.digest] = _parsed(kept.base)
        return found


def misfits_elsewhere(tags: Mapping[str, Any]) -> list[str]:
    """Keywords whose value does not fit its column in the tables above instances: the issue is the instance's."""
    return typed_columns(tags, _elsewhere())[1]


def _parsed(text: str) -> _Base:
    tags = json.loads(text)
    values, misfits = typed_columns(tags, tables()["instances"].columns)
    fits = not misfits and not misfits_elsewhere(tags) and _GROUPS not in tags
    return _Base(tags, values if fits else None)


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
