"""Associations that rest: they have asked for nothing for a while, and give way where there are as many as allowed."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from researchpacs.archive._dimse._pdu import Wire

__all__ = ["Rests"]

GIVES_WAY_S = 30.0
"""How long nothing may have come; a message that comes has to get on in that time, too (`Timeouts.patience`)."""


class Rests:
    """The associations that wait for a request, each in its thread; safe across threads."""

    def __init__(self) -> None:
        self._wires: dict[threading.Thread, Wire] = {}
        self._lock = threading.Lock()

    @contextmanager
    def resting(self, wire: Wire) -> Iterator[None]:
        """Wait for a request while the block lasts."""
        thread = threading.current_thread()
        with self._lock:
            self._wires[thread] = wire
        try:
            yield
        finally:
            with self._lock:
                self._wires.pop(thread, None)

    def longest(self) -> threading.Thread | None:
        """Take out the one that has rested longest; None where none has for `GIVES_WAY_S`."""
        until = time.monotonic() - GIVES_WAY_S
        with self._lock:
            found = min(self._wires, key=lambda one: self._wires[one].received_at, default=None)
            if found is None or self._wires[found].received_at > until:
                return None
            del self._wires[found]
            return found
