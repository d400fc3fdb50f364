"""Give memory back: what a few large pictures took must not stay with the process for ever."""

import ctypes
import sys

__all__ = ["give_back_what_is_freed"]

# malloc.h of glibc
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def give_back_what_is_freed() -> None:
    """Tell glibc to hand large blocks back to the system when they are freed; elsewhere nothing is told.

    By itself it raises its own threshold with every large block, keeps what is below, and does so for each thread: a
    dozen threads that drew a picture each would hold hundreds of megabytes between them (mallopt(3)).
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library than glibc
        return
    mallopt(_MMAP_THRESHOLD, 2 << 20)
    mallopt(_TRIM_THRESHOLD, 4 << 20)
    mallopt(_ARENA_MAX, 2)
