"""One line of the table in docs/performance.md."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Row"]


@dataclass(frozen=True)
class Row:
    """Our fastest round against a peer's, measured in turn in one run."""

    name: str
    ours_s: float
    peer: str
    """What it is compared with; empty where nothing does the same."""
    peer_s: float | None
    target: str
    """What has to hold, in words, such as ``"ratio >= 5, peak <= 1.2 volumes"``."""
    met: bool | None
    """Whether it holds; None where the row is only reported."""
    peak_mb: float | None
    """Of our process above what it had before, in 10^6 bytes."""
    n: int
    """Rounds."""
    versions: Mapping[str, str] = field(default_factory=dict)
    slowest_s: tuple[float, float] | None = None
    """Our slowest round and the peer's."""

    @property
    def ratio(self) -> float | None:
        """How many times faster than the peer."""
        return None if self.peer_s is None else self.peer_s / self.ours_s
