"""A process that fills the catalog while an ingest goes on: making rows of headers takes as long as reading them.

It follows the archive as any process may, and nothing depends on it: what it has not filled in, because it was killed
or did not start, the next question does. It never outlives the process that started it by more than a moment.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from researchpacs.archive import Archive
    from researchpacs.config import Settings
    from researchpacs.model import Incoming, Outcome

__all__ = ["filled_beside", "main"]

Store: TypeAlias = "Callable[[Iterable[Incoming]], Iterator[Outcome]]"

_log = logging.getLogger(__name__)

MANY = 2_000
"""Instances from which on it is started."""
PATIENCE_S = 60.0
"""How long an ingest waits for it at its end."""
_TURN_S = 2.0
"""In which it waits for more to come, so that a commit has many rows; then it rests, and others have their turn."""
_REST_S = 1.0
_POLL_S = 0.02
_FINISH = b"finish\n"
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); from researchpacs.catalog._beside import main; main()"
)


@contextmanager
def filled_beside(archive: "Archive", settings: "Settings") -> Iterator[Store]:
    """Give the `store` of an archive that has its catalog filled meanwhile, once `MANY` instances have come.

    At the end of the block the process has filled in all; where the block is interrupted it is killed, as it may be at
    any time. Without more than one worker, for an archive elsewhere, or a catalog elsewhere, there is none.
    """
    if settings.workers < 2 or settings.catalog is not None or "facts" not in archive.capabilities:
        yield archive.store
        return
    filler = _Filler(settings.home)
    try:
        yield lambda items: archive.store(filler.counted(items))
    except Exception:
        filler.finish()
        raise
    else:
        filler.finish()
    finally:
        filler.kill()


class _Filler:
    def __init__(self, home: Path) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    def counted(self, items: "Iterable[Incoming]") -> "Iterator[Incoming]":
        """Pass instances through, and start when there are many."""
        for count, item in enumerate(items, 1):
            if count == MANY and sys.executable:
                self._start()
            yield item

    def finish(self) -> None:
        """Wait until all is filled in that is stored by now, but not for ever, nor for a process that is starting."""
        process = self._process
        if process is None or process.stdin is None:
            return
        with suppress(BrokenPipeError):
            process.stdin.write(_FINISH)
        try:
            status = process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            return  # somebody else has the lock for long, or there is very much left; the next question does it
        if status:
            _log.warning("the catalog was not filled beside an ingest (exit status %d); the next question does", status)

    def kill(self) -> None:
        """End it, whatever it does; nothing where it has ended."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.kill()
            process.wait()
            process.stdin.close()

    def _start(self) -> None:
        command = [sys.executable, "-c", _START, str(self._home), json.dumps(sys.path)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, fixed arguments
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0
            )
        except OSError as error:
            _log.warning("no process to fill the catalog was started (%s); the next question does", error.strerror)


def main() -> None:
    """Follow the archive of a home until told to finish; at once where whoever started this is gone."""
    # Ctrl-C reaches the whole process group; the process that started this one decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    at_work, finish = threading.Event(), threading.Event()
    threading.Thread(target=_obey, args=(at_work, finish), daemon=True).start()
    from researchpacs.errors import ResearchPacsError

    try:
        _fill(Path(sys.argv[1]), at_work, finish)
    except (ResearchPacsError, OSError) as error:
        # Who asks the catalog next meets the same, and is told; a path may hold a name.
        _log.warning("the catalog cannot be filled now (%s)", type(error).__name__)
        sys.exit(1)


def _obey(at_work: threading.Event, finish: threading.Event) -> None:
    # Not through the buffer, whose lock would keep the interpreter from ending.
    told = os.read(0, len(_FINISH))
    if told != _FINISH or not at_work.is_set():
        os._exit(0 if told == _FINISH else 1)
    finish.set()


def _fill(home: Path, at_work: threading.Event, finish: threading.Event) -> None:
    from researchpacs.archive import EmbeddedArchive
    from researchpacs.catalog._following import Following
    from researchpacs.storage.home import Home

    opened = Home.open(home)
    archive = EmbeddedArchive(opened)
    turn = _Turn(archive, finish)
    catalog = Following(opened, archive, more=turn.wait)
    try:
        at_work.set()
        reached = 0
        while not finish.is_set():
            turn.begin()
            reached = catalog.sync().last_change
            finish.wait(_REST_S)
        if archive.last_change()[1] > reached:
            catalog.sync()
    finally:
        catalog.close()
        archive.close()


class _Turn:
    """The time in which the lock is held and more may come."""

    def __init__(self, archive: "Archive", finish: threading.Event) -> None:
        self._archive = archive
        self._finish = finish
        self._until = 0.0

    def begin(self) -> None:
        self._until = time.monotonic() + _TURN_S

    def wait(self, last: int) -> bool:
        """Wait until there are changes after `last`; whether there are."""
        while not self._finish.is_set() and time.monotonic() < self._until:
            if self._archive.last_change()[1] > last:
                return True
            self._finish.wait(_POLL_S)
        return False
