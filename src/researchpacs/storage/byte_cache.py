"""What was read last, by name, the least recently used dropped where it is too much."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["ByteCache"]

T = TypeVar("T")


class ByteCache(Generic[T]):
    """Holds values of at most so many bytes in all; safe across threads.

    Parameters
    ----------
    limit
        Bytes, or what gives them when something is first held.
    """

    def __init__(self, limit: int | Callable[[], int]) -> None:
        self._told = limit
        self._limit: int | None = limit if isinstance(limit, int) else None
        self._size = 0
        self._held: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._guard = threading.Lock()

    @property
    def limit(self) -> int:
        """Bytes that it holds at most."""
        if self._limit is None:
            self._limit = self._told if isinstance(self._told, int) else self._told()
        return self._limit

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return self._size

    def get(self, name: Hashable) -> T | None:
        """What is held under a name."""
        with self._guard:
            if name not in self._held:
                return None
            self._held.move_to_end(name)
            return self._held[name][0]

    def clear(self) -> None:
        """Drop everything, and ask for the limit again."""
        with self._guard:
            self._held.clear()
            self._size = 0
            self._limit = self._told if isinstance(self._told, int) else None

    def put(self, name: Hashable, value: T, size: int) -> None:
        """Hold a value of so many bytes, unless it alone is too much."""
        with self._guard:
            self._size -= self._held.pop(name, (None, 0))[1]
            if size > self.limit:
                return
            self._held[name] = value, size
            self._size += size
            while self._size > self.limit:
                _, (_, dropped) = self._held.popitem(last=False)
                self._size -= dropped
