"""Frames that this process has moved or decoded, kept for the next question: one cache with one bound for all of them.

It holds what was expensive: frames as a server sent them, and compressed frames decoded. Uncompressed files are read
again, which is as quick.
"""

import os

from researchpacs.errors import InvalidInputError
from researchpacs.storage.byte_cache import ByteCache

__all__ = ["frames"]

_VARIABLE = "RESEARCHPACS_FRAME_CACHE_MB"
_DEFAULT_MB = 128
_MOST_MB = 1 << 20


def _limit_bytes() -> int:
    told = os.environ.get(_VARIABLE, "").strip()
    if not told:
        return _DEFAULT_MB << 20
    if not told.isdecimal() or int(told) > _MOST_MB:
        raise InvalidInputError(f"{_VARIABLE}={told!r}: expected megabytes, at most {_MOST_MB}; set that, or unset it")
    return int(told) << 20


frames: ByteCache[object] = ByteCache(_limit_bytes)
"""Of this process; ``RESEARCHPACS_FRAME_CACHE_MB`` is its size, 128 where it is unset, 0 for none."""
