"""One frozen `Settings`, read from arguments and the environment."""

import os
from dataclasses import dataclass
from pathlib import Path

from researchpacs.errors import InvalidInputError

__all__ = ["Settings"]

_MOST_WORKERS = 256


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process was told; nothing here changes after `connect`."""

    home: Path
    """The folder of the embedded archive and the catalog."""
    workers: int
    """Processes that scan and hash while ingesting."""

    @classmethod
    def load(cls, home: str | os.PathLike[str] | None = None) -> "Settings":
        """Read the settings: the argument, else ``RESEARCHPACS_HOME``, else the platform's user data folder.

        Raises
        ------
        InvalidInputError
            Something else than the path of a folder, or a variable with a value that it cannot have.
        """
        chosen = home if home is not None else os.environ.get("RESEARCHPACS_HOME")
        if not chosen and home is None:
            import platformdirs

            chosen = platformdirs.user_data_path("researchpacs")
        return cls(home=_as_folder(chosen), workers=_workers(os.environ.get("RESEARCHPACS_WORKERS")))


def _as_folder(home: object) -> Path:
    if not isinstance(home, (str, os.PathLike)) or not home or "\0" in os.fspath(home):
        raise InvalidInputError(
            "the home of an archive is the path of a folder, as in connect('~/pacs'); leave it out for the default"
        )
    try:
        return Path(home).expanduser().absolute()
    except RuntimeError as error:
        raise InvalidInputError("the ~ in the path of the home names no user's folder; write the path out") from error


def _workers(told: str | None) -> int:
    if not told or not told.strip():
        return min(8, _usable_cores())
    if not told.strip().isdecimal() or not 1 <= int(told) <= _MOST_WORKERS:
        raise InvalidInputError(
            f"RESEARCHPACS_WORKERS={told!r} is no number of processes from 1 to {_MOST_WORKERS}; set one, or unset it"
        )
    return int(told)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
