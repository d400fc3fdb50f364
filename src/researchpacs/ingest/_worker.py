"""A worker process: reads lists of tasks from its standard input, answers each list on its standard output.

It is started as a program of its own, not through multiprocessing, which would run the user's script again. It ends
when its standard input does, so it never outlives the process that started it by more than one list.
"""

import gc
import os
import pickle
import signal
import sys
from typing import IO

from researchpacs.ingest._check import Checker

__all__ = ["READY", "main"]

READY = "ready"
_SELDOM = 100_000


def main() -> None:
    """Answer until the standard input ends; the first message is the workspace."""
    # Ctrl-C reaches the whole process group; the process that started this one decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get among the answers
    questions = sys.stdin.buffer
    try:
        workspace = pickle.load(questions)  # noqa: S301 - from the process that started this one
        _answer(answers, READY)
        # Headers make many objects and hardly a cycle among them.
        gc.freeze()
        gc.set_threshold(_SELDOM)
        with Checker(workspace) as check:
            while True:
                _answer(answers, [check(task) for task in pickle.load(questions)])  # noqa: S301
    except (EOFError, BrokenPipeError):
        # Nobody is left to answer; leaving at once keeps the interpreter from writing to the broken pipe.
        os._exit(0)


def _answer(answers: IO[bytes], value: object) -> None:
    pickle.dump(value, answers, protocol=pickle.HIGHEST_PROTOCOL)
    answers.flush()
