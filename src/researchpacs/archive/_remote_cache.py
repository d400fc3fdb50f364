"""Bytes by name, the least recently used ones dropped where there are too many."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

__all__ = ["ByteCache"]


class ByteCache:
    """Holds at most `limit` bytes; safe across threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._held: OrderedDict[Hashable, bytes] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, name: Hashable) -> bytes | None:
        """What is held under a name."""
        with self._guard:
            if name in self._held:
                self._held.move_to_end(name)
            return self._held.get(name)

    def clear(self) -> None:
        """Drop everything."""
        with self._guard:
            self._held.clear()
            self._size = 0

    def put(self, name: Hashable, data: bytes) -> None:
        """Hold bytes, unless they alone are too many."""
        with self._guard:
            self._size -= len(self._held.pop(name, b""))
            if len(data) > self._limit:
                return
            self._held[name] = data
            self._size += len(data)
            while self._size > self._limit:
                _, dropped = self._held.popitem(last=False)
                self._size -= len(dropped)
