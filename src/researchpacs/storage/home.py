"""The home on disk: which file of an embedded archive and its catalog lies where.

    HOME/format.json archive/<aa>/<sha256>.dcm conflicts/ tmp/ features/ attachments/<aa>/<sha256> outputs/<job>
    HOME/ledger.sqlite catalog.sqlite catalog.lock catalog/ researchpacs.toml

`format.json` is written first and atomically, so a folder is a home, or it is not; everything else may be missing and
is made when the home is opened, but `researchpacs.toml`, which a person writes. Where a home is filled from a backup
the format is written last, and `restoring` stands in the folder until then. No name below a home ever comes from a
DICOM file or a peer.
"""

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from researchpacs.config import FILE
from researchpacs.errors import AccessError, InvalidInputError, ResearchPacsError, UnsupportedError
from researchpacs.storage.durable import sync_directory, write_atomically
from researchpacs.storage.network import network_file_system

__all__ = ["FORMAT", "NOT_CONTENT", "Home"]

FORMAT = 1
"""The version of the layout that this program reads and writes."""

NOT_CONTENT = frozenset({"lost+found", ".DS_Store", "desktop.ini", "Thumbs.db"})
"""What a file system or a desktop puts into a folder that its owner calls empty."""

_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Home:
    """A folder that holds an archive, its ledger and its catalog."""

    path: Path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Home":
        """Open a home, making it where there is nothing yet; any number of processes may do so at once.

        Raises
        ------
        InvalidInputError
            A file, or a folder with something else in it.
        UnsupportedError
            A newer layout, or a network file system.
        AccessError
            A folder this user may not write.
        """
        home = cls(Path(path).expanduser().absolute())
        try:
            _make_folder(home.path)
            _refuse_network(home.path)
            if not home.format_path.exists():
                _refuse_strangers(home.path)
                write_atomically(home.format_path, json.dumps({"format": FORMAT}).encode())
            _check_format(home.format_path)
            for folder in (home.archive, home.conflicts, home.tmp, home.catalog_data, home.features):
                folder.mkdir(exist_ok=True)
            sync_directory(home.path)
            _refuse_lost_ledger(home)
        except PermissionError as error:
            raise AccessError(
                f"{home.path} cannot be written by this user; give another folder to connect() or RESEARCHPACS_HOME"
            ) from error
        except OSError as error:
            raise _unusable(home.path, error) from error
        return home

    @classmethod
    def prepare(cls, path: str | os.PathLike[str]) -> "Home":
        """Make a folder that becomes a home with `complete`, and does not open before.

        One that was prepared and never completed, because its process was killed, is taken up again as it is.

        Raises
        ------
        InvalidInputError
            A file, or a folder with something in it, an archive included.
        UnsupportedError, AccessError
            As `open`.
        """
        home = cls(Path(path).expanduser().absolute())
        try:
            _make_folder(home.path)
            _refuse_network(home.path)
            if not home._unfinished.exists() or home.format_path.exists():
                _refuse_content(home.path)
                write_atomically(home._unfinished, b"")
            for folder in (home.archive, home.conflicts, home.tmp):
                folder.mkdir(exist_ok=True)
            sync_directory(home.path)
        except PermissionError as error:
            raise AccessError(f"{home.path} cannot be written by this user; give another folder") from error
        except OSError as error:
            raise _unusable(home.path, error) from error
        return home

    def complete(self) -> None:
        """Make what was prepared a home: from now on it opens."""
        sync_directory(self.path)
        write_atomically(self.format_path, json.dumps({"format": FORMAT}).encode())
        self._unfinished.unlink()

    @property
    def _unfinished(self) -> Path:
        return self.path / "restoring"

    @property
    def format_path(self) -> Path:
        """The file that makes the folder a home."""
        return self.path / "format.json"

    @property
    def archive(self) -> Path:
        """Instances, ``<first two digits>/<sha256>.dcm``."""
        return self.path / "archive"

    @property
    def conflicts(self) -> Path:
        """Instances kept aside, ``<sha256>.dcm``."""
        return self.path / "conflicts"

    @property
    def tmp(self) -> Path:
        """Workspaces of ingesting processes."""
        return self.path / "tmp"

    @property
    def ledger_path(self) -> Path:
        """The ledger; only Python's sqlite3 opens it."""
        return self.path / "ledger.sqlite"

    @property
    def catalog_metadata(self) -> Path:
        """DuckLake's metadata; only DuckDB opens it."""
        return self.path / "catalog.sqlite"

    @property
    def catalog_lock(self) -> Path:
        """Held by the one process that writes the catalog."""
        return self.path / "catalog.lock"

    @property
    def catalog_data(self) -> Path:
        """DuckLake's Parquet files."""
        return self.path / "catalog"

    @property
    def features(self) -> Path:
        """Computed features."""
        return self.path / "features"

    @property
    def attachments(self) -> Path:
        """Files beside objects, ``<first two digits>/<sha256>``; made with the first one."""
        return self.path / "attachments"

    @property
    def outputs(self) -> Path:
        """Files that jobs made, ``<job>``; made with the first one."""
        return self.path / "outputs"

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder in ``tmp/`` for one ingest, removed at the end, and by the next ingest if this process is killed."""
        # One lock guards making and sweeping, so that no sweeper sees a workspace that is not locked yet.
        with FileLock(self.tmp / "sweep.lock"):
            self._sweep()
            folder = self.tmp / secrets.token_hex(8)
            held = FileLock(folder.with_suffix(".lock"))
            held.acquire()
            folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            Path(held.lock_file).unlink(missing_ok=True)
            held.release()

    def _sweep(self) -> None:
        """Remove the workspaces whose process is gone: the system released their locks."""
        for name in {path.stem for path in self.tmp.iterdir()} - {"sweep"}:
            folder = self.tmp / name
            lock = FileLock(folder.with_suffix(".lock"))
            try:
                with lock.acquire(blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
                    Path(lock.lock_file).unlink(missing_ok=True)
            except Timeout:
                continue


def _unusable(path: Path, error: OSError) -> ResearchPacsError:
    what = os.strerror(error.errno or 0)
    if error.errno == errno.EROFS:
        return AccessError(
            f"{path} is on a read-only disk ({what}); give another folder to connect() or RESEARCHPACS_HOME"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResearchPacsError(f"{path} is on a disk without space left ({what}); free some, or give another folder")
    name = str(path) if len(str(path)) <= _LONGEST_SHOWN else f"{str(path)[:_LONGEST_SHOWN]}..."
    return InvalidInputError(f"{name} cannot be the folder of an archive ({what}); give another one to connect()")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InvalidInputError(f"{path} is not a folder; give the folder of an archive, or a new one") from error


def _refuse_network(path: Path) -> None:
    kind = network_file_system(path)
    if kind is not None:
        raise UnsupportedError(
            f"{path} is on a network file system ({kind}), where the locks that keep an archive whole do not hold. "
            "Put the home on a local disk (connect('/local/folder') or RESEARCHPACS_HOME) and index the network folder "
            "from there with ingest(folder, copy=False)."
        )


def _refuse_content(path: Path) -> None:
    if [name for name in os.listdir(path) if name not in NOT_CONTENT and name != FILE]:
        raise InvalidInputError(f"{path} is not empty; an archive is restored into an empty or a new folder")


def _refuse_strangers(path: Path) -> None:
    if (path / "restoring").exists():
        raise InvalidInputError(
            f"{path} is being restored from a backup, or that was broken off; run `researchpacs restore` for it again"
        )
    # Another process that opens the home for the first time may have its temporary format file here.
    strangers = {name for name in os.listdir(path) if not name.startswith(".format.json-")} - NOT_CONTENT - {FILE}
    if strangers and not (path / "format.json").exists():
        raise InvalidInputError(
            f"{path} is not an archive and not empty; give an empty or a new folder. To take in what it holds: "
            "connect('another/folder').ingest(it)."
        )


def _refuse_lost_ledger(home: Home) -> None:
    """A new ledger beside old files would call them nobody's, and empty the catalog."""
    try:
        lost = home.ledger_path.stat().st_size == 0
    except FileNotFoundError:
        lost = True
    if lost and any(home.archive.iterdir()):
        raise ResearchPacsError(
            f"{home.ledger_path} is gone or empty, but there are files of instances. Restore it from a backup; without "
            f"one, ingest the folder {home.archive} into a new home, with connect('another/folder').ingest(...)"
        )


def _check_format(path: Path) -> None:
    try:
        found = json.loads(path.read_bytes())["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            f"{path} cannot be read as the format of an archive; restore it from a backup, or write "
            f'{{"format": {FORMAT}}} into it if this archive was made by this version'
        ) from error
    if not isinstance(found, int) or found != FORMAT:
        raise UnsupportedError(
            f"{path.parent} has format {found!r}, this version of researchpacs reads format {FORMAT}. "
            "Upgrade with: pip install --upgrade researchpacs"
        )
