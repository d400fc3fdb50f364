"""Folders that are made once and kept: complete or not there at all, whoever else is making the same one."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["cache_folder", "made_once"]


def cache_folder(chosen: str | os.PathLike[str] | None) -> Path:
    """Where generated data is kept: the argument, else ``RESEARCHPACS_CACHE``, else the platform's user cache."""
    if not (folder := chosen or os.environ.get("RESEARCHPACS_CACHE")):
        import platformdirs

        folder = platformdirs.user_cache_path("researchpacs")
    return Path(folder).expanduser().absolute() / "datasets"


def made_once(folder: Path, make: Callable[[Path], None], complete: Callable[[Path], bool]) -> Path:
    """Return `folder`, calling `make` with an empty one first if it is missing or was damaged.

    A process that comes second to the rename takes what the first one made.
    """
    if complete(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh = making / "fresh"
        fresh.mkdir()
        make(fresh)
        while not complete(folder):
            _set_aside(folder, making)
            try:
                fresh.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def _set_aside(folder: Path, making: Path) -> None:
    """Move a damaged folder out of the way, to be removed with the temporary one."""
    try:
        folder.rename(Path(tempfile.mkdtemp(dir=making)) / "damaged")
    except FileNotFoundError:
        return
