"""Segmented palettes: entries told as runs, ramps and repetitions of both (PS3.3 C.7.9.2)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from researchpacs.errors import PixelDataError

__all__ = ["expand"]

_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


def expand(words: NDArray[Any], count: int, width: int) -> NDArray[Any]:
    """Give the entries that segments stand for.

    Parameters
    ----------
    words
        The segmented data, ``(n,)``, a byte or a word each.
    count
        How many entries there shall be: whatever goes beyond is refused before it is made.
    width
        Bytes of a word, 1 or 2.

    Returns
    -------
    entries
        ``(count,)``, the type of `words`.

    Raises
    ------
    PixelDataError
        They are no segments, or stand for fewer or more entries.
    """
    return _Expansion(words.astype(np.int64), count, width).entries().astype(words.dtype)


class _Expansion:
    def __init__(self, words: NDArray[np.int64], count: int, width: int) -> None:
        self._words, self._count, self._width = words, count, width
        self._parts: list[NDArray[np.int64]] = []
        self._made = 0
        self._starts: dict[int, int] = {}
        """Number of each segment by where it begins."""

    def entries(self) -> NDArray[np.int64]:
        position = 0
        # An odd count of bytes is padded with one, which is no segment.
        while position + 2 < len(self._words):
            self._starts[position] = len(self._starts)
            kind = int(self._words[position])
            position = self._repeat(position) if kind == _INDIRECT else self._segment(position)
        if self._made != self._count:
            raise PixelDataError(f"a segmented palette stands for {self._made} of its {self._count} entries")
        return np.concatenate(self._parts)

    def _segment(self, position: int) -> int:
        """Add the entries of a run or a ramp; where the next segment begins."""
        kind, length = self._words[position : position + 2].tolist()
        end = position + 2 + (length if kind == _DISCRETE else 1)
        if kind not in (_DISCRETE, _LINEAR) or end > len(self._words) or (kind == _LINEAR and not self._made):
            raise PixelDataError("a segmented palette has a segment that cannot be")
        if self._made + length > self._count:
            raise PixelDataError(f"a segmented palette stands for more than its {self._count} entries")
        if kind == _DISCRETE:
            made = self._words[position + 2 : end]
        else:
            last = next(part[-1] for part in reversed(self._parts) if len(part))
            made = np.rint(np.linspace(last, self._words[end - 1], length + 1)[1:]).astype(np.int64)
        self._parts.append(made)
        self._made += length
        return end

    def _repeat(self, position: int) -> int:
        """Add again what some earlier segments stand for, which may not repeat others."""
        size = 2 + 4 // self._width
        told = self._words[position + 1 : position + size].tolist()
        if len(told) != size - 1:
            raise PixelDataError("a segmented palette ends in the middle of a segment")
        bits = 8 * self._width
        offset = sum(word << (bits * k) for k, word in enumerate(told[1:]))
        at = offset // self._width
        if offset % self._width or at not in self._starts or at == position:
            raise PixelDataError("a segmented palette repeats what is no segment before it")
        for _ in range(told[0]):
            if at not in self._starts or self._words[at] == _INDIRECT:
                raise PixelDataError("a segmented palette repeats what repeats")
            before = self._made
            at = self._segment(at)
            if self._made == before:
                raise PixelDataError("a segmented palette repeats what is empty")
        return position + size
