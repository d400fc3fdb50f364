"""One frozen `Settings`, read from arguments and the environment."""

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process was told; nothing here changes after `connect`."""

    home: Path
    """The folder of the embedded archive and the catalog."""
    workers: int
    """Processes that scan and hash while ingesting."""

    @classmethod
    def load(cls, home: str | os.PathLike[str] | None = None) -> "Settings":
        """Read the settings: the argument, else ``RESEARCHPACS_HOME``, else the platform's user data folder."""
        chosen = home or os.environ.get("RESEARCHPACS_HOME")
        if not chosen:
            import platformdirs

            chosen = platformdirs.user_data_path("researchpacs")
        workers = os.environ.get("RESEARCHPACS_WORKERS")
        return cls(
            home=Path(chosen).expanduser().absolute(),
            workers=int(workers) if workers else min(8, _usable_cores()),
        )


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
