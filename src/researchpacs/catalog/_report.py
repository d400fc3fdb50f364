"""`SyncReport`: what a sync has done."""

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["SyncReport"]


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync has done."""

    instances: int
    """Instances read and written."""
    deleted: int
    """Instances removed."""
    rebuilt: bool
    """Whether the catalog was made anew."""
    last_change: int
    """The archive's change that the catalog has reached."""
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        done = "made anew" if self.rebuilt else "up to date"
        return (
            f"the catalog is {done}: {self.instances} instances written, {self.deleted} removed in {self.seconds:.1f} s"
        )
