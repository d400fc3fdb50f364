"""Memory for pixels: one frame may be so large, and so many are decoded at one time, however many clients ask.

A compressed frame of a few kilobytes may declare billions of pixels, and a small file many thousand frames.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException

from researchpacs.dicom.pixels import PixelLayout
from researchpacs.errors import PixelDataError

__all__ = ["MOST_WHOLE_BYTES", "check_frame", "check_whole", "drawing_bytes", "frame_bytes", "in_turn"]

MOST_FRAME_BYTES = 128 << 20
MOST_WHOLE_BYTES = 256 << 20
AT_ONCE_BYTES = 192 << 20
"""What all that wait for their pixels may take together; one alone may take more."""
_DRAWING_BYTES = 32 << 20
"""What real numbers take while a window is looked for and applied, in blocks."""
_MOST_WAITING = 24
_PATIENCE_S = 60.0

_changed = threading.Condition()
_held = _waiting = 0


def frame_bytes(layout: PixelLayout) -> int:
    """Bytes of a decoded frame."""
    return layout.rows * layout.columns * layout.samples_per_pixel * max(1, layout.bits_allocated // 8)


def drawing_bytes(layout: PixelLayout, viewport: tuple[int, int, object] | None = None) -> int:
    """Bytes that it takes, about, to decode a frame and draw it, scaled into a viewport where there is one."""
    scaled = 0 if viewport is None else 4 * viewport[0] * viewport[1]
    return _DRAWING_BYTES + 3 * frame_bytes(layout) + 4 * layout.rows * layout.columns + scaled


def check_frame(layout: PixelLayout) -> None:
    """Refuse to decode a frame that is too large to be in memory.

    Raises
    ------
    PixelDataError
        It is.
    """
    if frame_bytes(layout) > MOST_FRAME_BYTES:
        raise PixelDataError(
            f"a frame of {layout.rows} x {layout.columns} pixels is too large to be decoded here; take it as it is"
        )


def check_whole(layout: PixelLayout, size: int) -> None:
    """Refuse to transcode an instance that is too large to be in memory, as a file of `size` bytes or decoded.

    Raises
    ------
    PixelDataError
        It is.
    """
    check_frame(layout)
    if max(size, frame_bytes(layout) * layout.number_of_frames) > MOST_WHOLE_BYTES:
        raise PixelDataError(
            f"an instance of {layout.number_of_frames} frames is too large to be transcoded at once; take it as it is "
            "stored, or its frames"
        )


@contextmanager
def in_turn(size: int) -> Iterator[None]:
    """Wait until there is room for so many bytes; to be called in one of Starlette's threads.

    Raises
    ------
    HTTPException
        503: too many wait already, or for too long.
    """
    global _held, _waiting  # noqa: PLW0603 - of the process, as its memory is
    with _changed:
        if _waiting >= _MOST_WAITING:
            raise _busy()
        _waiting += 1
        try:
            if not _changed.wait_for(lambda: _held == 0 or _held + size <= AT_ONCE_BYTES, _PATIENCE_S):
                raise _busy()
        finally:
            _waiting -= 1
        _held += size
    try:
        yield
    finally:
        with _changed:
            _held -= size
            _changed.notify_all()


def _busy() -> HTTPException:
    return HTTPException(503, "the server is decoding as much as it can; try again", {"Retry-After": "2"})
