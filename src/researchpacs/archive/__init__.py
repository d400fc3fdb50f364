"""Keep and return instances: the `Archive` protocol and its back ends."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from researchpacs.model import Changes, Find, Incoming, Level, Location, Outcome, Row

__all__ = ["Archive"]


class Archive(Protocol):
    """The joint between the archive and everything else."""

    @property
    def capabilities(self) -> frozenset[str]:
        """What this back end can do beside the minimum, such as ``"delete"``, ``"change-feed"``, ``"verify"``."""
        ...

    def store(self, items: Iterable[Incoming]) -> Iterator[Outcome]:
        """Keep instances; an outcome is given out only when it is durable."""
        ...

    def read(self, uid: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an instance's file, by SOPInstanceUID or `Identity.key`."""
        ...

    def locate(self, uids: Sequence[str]) -> Sequence[Location]:
        """Where instances are, in the order asked for."""
        ...

    def find(self, query: Find) -> Iterator[Row]:
        """Main attributes of what matches, one row per object of the level."""
        ...

    def changes(self, since: int, limit: int) -> Changes:
        """What was stored and deleted after sequence number `since`."""
        ...

    def delete(self, level: Level, uid: str) -> int:
        """Remove an object and all below it; the number of instances removed."""
        ...
