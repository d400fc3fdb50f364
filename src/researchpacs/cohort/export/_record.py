"""What has been exported so far: a line for each finished series, so that a run that was cut short goes on.

The first line says what is exported; a run with other members, format or options is another export. A line is written
after the files of its series are durable. The last one may be torn by a kill, and then does not count.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from researchpacs.cohort._members import Member
from researchpacs.errors import ConflictError, InvalidInputError
from researchpacs.storage.durable import sync_directory, sync_file

__all__ = ["LOCK", "Record"]

LOCK = ".export.lock"
_NAME = ".export.jsonl"
Files = tuple[tuple[str, int, str], ...]


class Record:
    """The record of an export in its folder.

    Parameters
    ----------
    folder
        Of the export; made where it is not there.
    members, options
        What is exported, and how.

    Raises
    ------
    InvalidInputError
        The folder holds something else.
    ConflictError
        It holds the export of other members, or one with other options.
    """

    def __init__(self, folder: Path, members: Sequence[Member], options: Mapping[str, Any]) -> None:
        self._folder = folder
        self._path = folder / _NAME
        plan = {**options, "members": _digest(members)}
        lines = self._lines()
        torn = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
        self._before = "\n" if torn else ""
        if not lines:
            _make_empty(folder)
            self._append(plan)
        elif lines[0] != plan:
            raise ConflictError(
                f"{folder} holds the export of another cohort, or in another format: choose another folder"
            )
        self._done: dict[str, Files] = {
            line["series"]: tuple((name, size, digest) for name, size, digest in line["files"]) for line in lines[1:]
        }

    def files_of(self, member: Member) -> Files | None:
        """The files of a series that was exported and is still there; None for others."""
        files = self._done.get(_key(member))
        if files is None or not all(_size(self._folder / name) == size for name, size, _ in files):
            return None
        return files

    def add(self, member: Member, files: Files) -> None:
        """Note a series whose files are durable."""
        self._append({"series": _key(member), "files": files})
        self._done[_key(member)] = files

    def _append(self, line: Mapping[str, Any]) -> None:
        text = json.dumps(line) + "\n"
        with self._path.open("ab") as file:
            file.write((self._before + text).encode())
            file.flush()
            sync_file(file.fileno())
        sync_directory(self._folder)
        self._before = ""

    def _lines(self) -> list[Any]:
        if not self._path.exists():
            return []
        found = []
        for line in self._path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                found.append(json.loads(line))
            except ValueError:
                continue  # torn by a kill; what it would have said is done again
        return found


def _make_empty(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if any(one.name not in {_NAME, LOCK} for one in folder.iterdir()):
        raise InvalidInputError(f"{folder} is not empty, and no export was begun in it: choose an empty folder")


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _key(member: Member) -> str:
    return sha256(repr((member.identity, member.digest)).encode()).hexdigest()


def _digest(members: Sequence[Member]) -> str:
    return sha256("".join(_key(one) for one in members).encode()).hexdigest()
