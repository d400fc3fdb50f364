"""Attributes of instances that are mostly alike: what may differ is known, so that the rest is compared once."""

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

__all__ = ["Alike", "differences"]


class Alike(dict[str, Any]):
    """All attributes of an instance: those of its base, but for its own. It is not altered any more."""

    __slots__ = ("base", "own")

    def __init__(self, base: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        super().__init__(base)
        self.update(own)
        self.base = base
        self.own = own


def differences(all_tags: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Set[str] | None]]:
    """Give the attributes of each instance with the keywords under which it may differ from all before it.

    None where it may be any.
    """
    seen: dict[int, Alike] = {}
    for tags in all_tags:
        if not isinstance(tags, Alike):
            yield tags, None
            continue
        # What neither has of its own is the very object that their base has.
        like = seen.setdefault(id(tags.base), tags)
        yield tags, None if like is tags else tags.own.keys() | like.own.keys()
