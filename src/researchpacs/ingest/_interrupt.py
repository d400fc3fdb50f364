"""Ctrl-C at a moment of our choosing: an exception that may arise between any two steps cannot leave things whole."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupt_deferred"]


@contextmanager
def interrupt_deferred() -> Iterator[Callable[[], bool]]:
    """Note the first interrupt, to be asked for, and deliver it at the end of the block; a second one comes at once.

    Python handles signals in the main thread only; in any other this does nothing.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (None, signal.SIG_IGN):
        yield lambda: False
        return
    noted = threading.Event()

    def note(_: int, __: FrameType | None) -> None:
        noted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGINT, before)
    if noted.is_set():
        signal.raise_signal(signal.SIGINT)
