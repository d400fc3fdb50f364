"""From inputs to tasks: walk folders, list zip archives and DICOMDIRs, leave out junk that desktops and tools strew."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from researchpacs.errors import InvalidInputError
from researchpacs.ingest._tasks import FileTask, Task
from researchpacs.ingest._zip import is_zip, member_tasks
from researchpacs.model import Refusal

__all__ = ["is_junk", "path_tasks"]

_START_BYTES = 512
_LARGEST_DIRECTORY = 64 << 20
# A point is no part of the Standard's names, but of many media's; two of them would lead upwards.
_FILE_ID = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini", "dicomdir"})


def path_tasks(path: Path, source: str, *, copy: bool) -> Iterator[Task | Refusal]:
    """Give a task for each file that an input path names or holds.

    A path named directly is taken whatever it is called; junk is left out where it is found by walking.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            yield from _walk(path, copy=copy)
        elif not stat.S_ISREG(mode):
            yield Refusal(source, "neither a file nor a folder")
        elif is_zip(path):
            yield from _members(path, source)
        elif _is_directory(path):
            yield from _listed(path, source, copy=copy)
        else:
            yield FileTask(source, path.absolute(), copy=copy)
    except OSError as error:
        yield Refusal(source, _reason(error))


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name holds no instance: hidden, a desktop's, or a DICOMDIR."""
    return (name.startswith(".") and name not in (".", "..")) or name.lower() in _JUNK


def _walk(root: Path, *, copy: bool) -> Iterator[Task | Refusal]:
    """Walk to the ground, following symbolic links, each folder once."""
    seen: set[tuple[int, int]] = set()
    folders = [root.absolute()]
    while folders:
        folder = folders.pop()
        try:
            found = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield Refusal(str(folder), _reason(error))
            continue
        if (found.st_dev, found.st_ino) in seen:
            continue
        seen.add((found.st_dev, found.st_ino))
        if {"format.json", "ledger.sqlite"} <= {entry.name for entry in entries}:
            yield Refusal(str(folder), "the home of an archive is not walked; open it with connect()")
            continue
        below: list[Path] = []
        for entry in entries:
            if not is_junk(entry.name):
                yield from _entry_tasks(entry, below, copy=copy)
        folders += reversed(below)


def _is_directory(path: Path) -> bool:
    from researchpacs.dicom.media import is_directory

    with path.open("rb") as file:
        return is_directory(file.read(_START_BYTES))


def _listed(path: Path, source: str, *, copy: bool) -> Iterator[Task | Refusal]:
    """Take the files that a DICOMDIR lists, from below the folder it lies in and from nowhere else."""
    from researchpacs.dicom.media import listed_files

    if path.stat().st_size > _LARGEST_DIRECTORY:
        yield Refusal(source, f"a DICOMDIR of more than {_LARGEST_DIRECTORY >> 20} MiB; ingest its folder")
        return
    try:
        listed = listed_files(path.read_bytes())
    except InvalidInputError as error:
        yield Refusal(source, str(error))
        return
    folder = path.absolute().parent
    for names in listed:
        if not all(map(_is_plain, names)):
            yield Refusal(source, "the DICOMDIR lists a file outside of its folder")
            continue
        # Media that were copied by hand are often in small letters.
        candidates = [folder.joinpath(*names), folder.joinpath(*(name.lower() for name in names))]
        there = next((one for one in candidates if one.is_file()), None)
        if there is None:
            yield Refusal(str(candidates[0]), "listed in the DICOMDIR, but not there")
        else:
            yield FileTask(str(there), there, copy=copy)


def _is_plain(name: str) -> bool:
    """Whether a name is one below its folder: a File ID has letters, digits and underscores (PS3.10 8.2)."""
    return _FILE_ID.fullmatch(name) is not None


def _entry_tasks(entry: os.DirEntry[str], below: list[Path], *, copy: bool) -> Iterator[Task | Refusal]:
    path = Path(entry.path)
    try:
        if entry.is_dir():
            below.append(path)
        elif not entry.is_file():
            broken = entry.is_symlink() and not path.exists()
            yield Refusal(entry.path, "a link that leads nowhere" if broken else "neither a file nor a folder")
        elif path.suffix.lower() == ".zip" and is_zip(path):
            yield from _members(path, entry.path)
        else:
            yield FileTask(entry.path, path, copy=copy)
    except OSError as error:
        yield Refusal(entry.path, _reason(error))


def _members(path: Path, source: str) -> Iterator[Task | Refusal]:
    for task in member_tasks(path.absolute(), source):
        if isinstance(task, Refusal) or not any(is_junk(part) for part in PurePosixPath(task.name).parts):
            yield task


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return f"cannot be read ({os.strerror(error.errno or 0)})"
