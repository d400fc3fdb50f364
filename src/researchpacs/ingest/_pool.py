"""Check tasks in worker processes, in no order; what takes no longer than telling a worker is checked in this process.

One thread a worker hands out lists of tasks and waits for the answers, so neither side of a pipe ever waits for the
other to read. At most three lists a worker are on their way: a slow archive slows the workers down.
"""

import json
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from queue import Queue
from typing import Any, TypeAlias

from researchpacs.errors import UnsupportedError
from researchpacs.ingest._check import Checker
from researchpacs.ingest._tasks import FileTask, Task
from researchpacs.ingest._worker import READY
from researchpacs.model import Incoming, Refusal

__all__ = ["check_all"]

_FEW = 48
_LIST, _LONG_LIST = 8, 32
_LONG_FROM = 256
"""Tasks from which on lists are long: a message costs as much as some files do."""
_ON_THEIR_WAY = 3
_QUICK_S = 0.001
"""For a file that stays where it is, on average: asking a worker, which takes half a second to start, is a tenth."""
_LOOKED_AT = 64
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); from researchpacs.ingest._worker import main; main()"
)

Answer: TypeAlias = Incoming | Refusal


def check_all(tasks: Iterable[Task | Refusal], *, tmp: Path, workers: int) -> Iterator[Answer]:
    """Check every task; refusals among them pass through."""
    waiting = iter(tasks)
    first = list(islice(waiting, _FEW + 1))
    together = chain(first, waiting)
    if workers < 2 or len(first) <= _FEW or not sys.executable:
        with Checker(tmp) as check:
            for task in together:
                yield task if isinstance(task, Refusal) else check(task)
        return
    slower = yield from _check_quick(together, tmp)
    if slower is None:
        return
    pool = _Pool(tmp, workers)
    try:
        yield from pool.run(chain([slower], together))
    finally:
        pool.stop()


def _check_quick(tasks: Iterator[Task | Refusal], tmp: Path) -> Generator[Answer, None, Task | None]:
    """Check files that stay where they are while their headers are read at once; the first that is for a worker."""
    spent, count = 0.0, 0
    with Checker(tmp) as check:
        for task in tasks:
            if isinstance(task, Refusal):
                yield task
                continue
            if not isinstance(task, FileTask) or task.copy or (count == _LOOKED_AT and spent > count * _QUICK_S):
                return task
            if count == _LOOKED_AT:
                spent, count = 0.0, 0
            began = time.perf_counter()
            answer = check(task)
            spent += time.perf_counter() - began
            count += 1
            yield answer
    return None


class _Pool:
    def __init__(self, tmp: Path, workers: int) -> None:
        self._lists: Queue[list[Task] | None] = Queue()
        self._answers: Queue[list[Answer] | BaseException] = Queue()
        self._workers = [_Worker(tmp) for _ in range(workers)]
        self._threads = [threading.Thread(target=self._serve, args=(worker,), daemon=True) for worker in self._workers]
        for thread in self._threads:
            thread.start()

    def run(self, tasks: Iterator[Task | Refusal]) -> Iterator[Answer]:
        on_their_way, taken, at_end = 0, 0, False
        while True:
            while not at_end and on_their_way < _ON_THEIR_WAY * len(self._workers):
                found = list(islice(tasks, _LONG_LIST if taken >= _LONG_FROM else _LIST))
                taken, at_end = taken + len(found), not found
                yield from (one for one in found if isinstance(one, Refusal))
                listed = [one for one in found if not isinstance(one, Refusal)]
                if listed:
                    self._lists.put(listed)
                    on_their_way += 1
            if not on_their_way:
                return
            answers = self._answers.get()
            if isinstance(answers, BaseException):
                raise answers
            on_their_way -= 1
            yield from answers

    def stop(self) -> None:
        for worker in self._workers:
            worker.kill()
        for _ in self._threads:
            self._lists.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, worker: "_Worker") -> None:
        while (tasks := self._lists.get()) is not None and not worker.stopped:
            try:
                self._answers.put(worker.check(tasks))
            except BaseException as error:
                self._answers.put(error)
                return


class _Worker:
    def __init__(self, tmp: Path) -> None:
        self.stopped = False
        self._tmp = tmp
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def check(self, tasks: list[Task]) -> list[Answer]:
        """Check tasks in order; the one during which the process dies is refused, a new process does the rest."""
        try:
            process = self._process or self._start()
            _send(process, tasks)
            answers: list[Answer] = _receive(process)
        except (EOFError, OSError, pickle.UnpicklingError):
            status = self._end()
        else:
            return answers
        if self.stopped:
            return []
        if len(tasks) == 1:
            return [Refusal(tasks[0].source, f"the process that read it was killed or crashed (exit status {status})")]
        # One of them ends whoever reads it: each by itself tells which.
        return [answer for task in tasks for answer in self.check([task])]

    def kill(self) -> None:
        """End the process, from another thread."""
        with self._lock:
            self.stopped = True
            if self._process is not None:
                self._process.kill()
        self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self.stopped:
                raise EOFError
            process = subprocess.Popen(  # noqa: S603 - this interpreter, fixed arguments
                [sys.executable, "-c", _START, json.dumps(sys.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._process = process
        try:
            _send(process, self._tmp)
            ready = _receive(process)
        except (EOFError, OSError, pickle.UnpicklingError):
            ready = None
        if ready != READY and not self.stopped:
            status = self._end()
            raise UnsupportedError(
                f"a worker process did not start (exit status {status}); set RESEARCHPACS_WORKERS=1 to do without"
            )
        return process

    def _end(self) -> int | None:
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        return process.wait()


def _send(process: subprocess.Popen[bytes], value: object) -> None:
    assert process.stdin is not None
    pickle.dump(value, process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
    process.stdin.flush()


def _receive(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout is not None
    return pickle.load(process.stdout)  # noqa: S301 - from a process started here
