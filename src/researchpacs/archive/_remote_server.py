"""What a remote archive asks of its server: the joint between `RemoteArchive` and the protocols."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from researchpacs.archive._remote_address import Address
from researchpacs.archive._remote_http import Writable
from researchpacs.archive._remote_instance import Fetched
from researchpacs.model import Identity, Level

__all__ = ["Depth", "Feed", "FrameBytes", "Listing", "Sent", "Server"]

_NATIVE = frozenset(("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"))


@dataclass(frozen=True, slots=True)
class Feed:
    """A page of what came to a server."""

    names: tuple[str, ...]
    cursor: Mapping[str, Any]
    """Where the next page begins, once these names are taken over."""
    done: bool
    listing: bool = False
    """The server has to be asked for all it has: something was missed."""
    other: bool = False
    """It is not the database that was followed before: what is known may be something else."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All that a server has."""

    names: frozenset[str]
    suspects: frozenset[str]
    """Those among what is known that may have changed."""
    cursor: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FrameBytes:
    """One frame as a server sent it."""

    data: bytes = field(repr=False)
    """Native pixels, or one codestream."""
    transfer_syntax_uid: str
    """In which it was sent."""

    @property
    def is_native(self) -> bool:
        """Whether these are bare pixels."""
        return self.transfer_syntax_uid in _NATIVE


Depth = Literal["counted", "listed", "thorough"]
"""How far a comparison goes: lists where numbers differ; all lists; and what was modified in place, too."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a file that was sent."""

    refusal: str = ""
    """Why the server does not take it."""
    already: str | None = None
    """The name of an instance that the server has instead, and keeps."""


class Server(Protocol):
    """One protocol, spoken to one server; instances have names, paths below its address."""

    address: Address
    pause_s: float
    """How long what was asked counts as what is there."""
    batch: int
    """How many instances to fetch before they are committed."""

    def probe(self) -> frozenset[str]:
        """Check that it speaks the protocol; what it can do beside."""
        ...

    def feed(self, cursor: Mapping[str, Any], count: int) -> Feed:
        """What came since; `count` instances are known."""
        ...

    def count(self) -> int | None:
        """How many instances it has, where it says so."""
        ...

    def listing(self, known: Mapping[str, str], cursor: Mapping[str, Any], depth: Depth) -> Listing:
        """All it has; of the known ones those that may have changed, where `depth` is thorough."""
        ...

    def fetch(self, names: Iterable[str]) -> Iterator[tuple[str, Fetched | None]]:
        """Headers, in the order of the names; None for what is gone."""
        ...

    def read(self, name: str, offset: int, length: int | None) -> bytes:
        """Bytes of a file."""
        ...

    def retrieve(self, name: str, file: Writable) -> int:
        """Write a file as the server has it, as it comes; its size."""
        ...

    def frame(self, name: str, index: int, transfer_syntax_uid: str) -> FrameBytes | None:
        """One frame, zero-based; None where the server cannot take it out of its file."""
        ...

    def name_of(self, identity: Identity) -> str:
        """The name that an instance has, or would have."""
        ...

    def holds(self, name: str) -> bool:
        """Whether it has an instance."""
        ...

    def send(self, file: Path, identity: Identity) -> Sent:
        """Store a file that it does not have."""
        ...

    def delete(self, names: Collection[str]) -> None:
        """Delete instances."""
        ...

    def labels(self) -> Mapping[tuple[Level, str], set[str]]:
        """All labels by level and Orthanc's name; asked only of a server that can ``"labels"``."""
        ...

    def put_label(self, level: Level, name: str, label: str, *, present: bool) -> None:
        """Put a label on an object, or take it off; asked only of a server that can ``"labels"``."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
