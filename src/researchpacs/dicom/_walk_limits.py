"""How much structure a file may have before it is refused.

The limits lie far above what scanners and research software write, and low enough that whoever parses the file later
stays within seconds and within memory.
"""

import time

from researchpacs.errors import InvalidInputError

__all__ = ["MAX_DEPTH", "MAX_VALUE_BYTES", "Budget", "inflated_limit"]

MAX_DEPTH = 64
"""Sequences within sequences; the Standard's own templates stay below 20."""
MAX_VALUE_BYTES = 65_536
"""Longest value kept from a header; longer ones are walked over."""
MAX_ELEMENTS = 2_000_000
"""Elements, items and fragments of one instance: an enhanced MR of 10,000 frames has about half."""
MAX_ELEMENTS_OF_DATASET = 20_000
"""Elements of one data set or item."""
FREE_ELEMENTS = 50_000
BYTES_PER_ELEMENT = 10
"""An element that says anything takes ten bytes, header included; beyond `FREE_ELEMENTS` a file must not mostly consist
of elements that say nothing."""
MAX_SECONDS = 10.0
"""CPU time of one scan."""
MIN_INFLATED_BYTES = 64 << 20
MAX_INFLATED_BYTES = 256 << 20
MAX_INFLATION = 20
"""Deflated images shrink to a half or a third, label maps to a twentieth at most before `MIN_INFLATED_BYTES` counts."""

_BETWEEN_LOOKS = 4096
"""Elements between two looks at the clock."""


def inflated_limit(deflated_bytes: int) -> int:
    """Bytes that a deflated data set of this size may inflate to."""
    return min(MAX_INFLATED_BYTES, max(MIN_INFLATED_BYTES, MAX_INFLATION * deflated_bytes))


class Budget:
    """Counts the elements, items and fragments of one scan, and its CPU time."""

    __slots__ = ("_deadline", "_look", "_start", "count")

    def __init__(self, start: int) -> None:
        self.count = 0
        self._look = _BETWEEN_LOOKS
        self._start = start
        self._deadline = time.thread_time() + MAX_SECONDS

    def spend(self, count: int, offset: int) -> None:
        """Count elements.

        Raises
        ------
        InvalidInputError
            One of the limits is passed.
        """
        self.count += count
        if self.count < self._look:
            return
        self._look = self.count + _BETWEEN_LOOKS
        if self.count > min(MAX_ELEMENTS, max(FREE_ELEMENTS, (offset - self._start) // BYTES_PER_ELEMENT)):
            raise InvalidInputError(f"{self.count} elements and items by byte {offset}, more than can mean anything")
        if time.thread_time() > self._deadline:
            raise InvalidInputError(f"walking the structure took over {MAX_SECONDS:.0f} s by byte {offset}")
