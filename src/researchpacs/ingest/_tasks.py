"""What a worker is asked to do: small, picklable, without content."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

__all__ = ["FileTask", "MemberTask", "SpooledTask", "Task"]


@dataclass(frozen=True, slots=True)
class FileTask:
    """Check a file that stays where it is."""

    source: str
    path: Path
    copy: bool

    def __reduce__(self) -> tuple[object, ...]:
        return _file_task, (self.source, str(self.path), self.copy)


def _file_task(source: str, path: str, copy: bool) -> FileTask:
    return FileTask(source, Path(path), copy)


@dataclass(frozen=True, slots=True)
class MemberTask:
    """Check a member of a zip archive; its name is for reading only, never a path."""

    source: str
    archive: Path
    index: int
    name: str


@dataclass(frozen=True, slots=True)
class SpooledTask:
    """Check a complete file in the workspace, which may be kept or removed."""

    source: str
    blob: Path


Task: TypeAlias = FileTask | MemberTask | SpooledTask
