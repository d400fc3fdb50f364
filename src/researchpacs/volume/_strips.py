"""A window of an uncompressed frame, read without the rest of it.

Rows stand together in a file, and are read alone. The pixels of a few columns stand apart, by less than a page: files
that the archive keeps are mapped into memory and the columns picked there: nothing else is copied. What somebody
else may cut short meanwhile, which would end the process, is read in bands that a processor's cache holds.
"""

import mmap
from dataclasses import dataclass
from io import FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from researchpacs.errors import PixelDataError
from researchpacs.volume._source import read_into

__all__ = ["Window", "read_window"]

_BAND_BYTES = 1 << 16
_NARROW = 4
"""Columns are picked from a map where a row has this many times as many."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows and columns of a frame whose pixels stand in a file as in memory."""

    offset: int
    """Of the frame's first pixel in bytes."""
    height: int
    width: int
    """Rows and columns of the frame."""
    rows: slice
    columns: slice
    """Start and stop."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def read_window(file: FileIO, window: Window, out: NDArray[Any], *, name: str, is_ours: bool) -> None:
    """Read some rows and columns of a frame into `out`; nothing beside them is kept in memory.

    Parameters
    ----------
    file
        Unbuffered.
    window
        Which.
    out
        (rows, columns) of the window, C-contiguous, of the type that the file has.
    name
        Of the frame, for errors.
    is_ours
        Whether nobody shortens the file meanwhile.

    Raises
    ------
    PixelDataError
        The file ends too early.
    """
    if out.shape != window.shape:
        raise ValueError(f"a window of {window.shape} pixels is read into an array of {out.shape}")
    count, width = window.shape
    if width == window.width:
        first = window.offset + window.rows.start * window.width * out.itemsize
        read_into(file, first, out.data.cast("B"), name)
    elif is_ours and count > 1 and width * _NARROW <= window.width:
        _pick_mapped(file, window, out, name)
    else:
        _pick_bands(file, window, out, name)


def _pick_mapped(file: FileIO, window: Window, pixels: NDArray[Any], name: str) -> None:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        if window.offset + window.height * window.width * pixels.itemsize > len(mapped):
            raise PixelDataError(f"{name} is said to end beyond its file: run verify")
        frame: NDArray[Any] = np.ndarray((window.height, window.width), pixels.dtype, mapped, window.offset)
        pixels[...] = frame[window.rows, window.columns]
        del frame  # a map that an array still shows cannot be closed


def _pick_bands(file: FileIO, window: Window, pixels: NDArray[Any], name: str) -> None:
    row_bytes = window.width * pixels.itemsize
    at_once = max(1, _BAND_BYTES // row_bytes)
    band: NDArray[Any] = np.empty((min(at_once, len(pixels)), window.width), pixels.dtype)
    for start in range(0, len(pixels), at_once):
        part = band[: len(pixels) - start]
        read_into(file, window.offset + (window.rows.start + start) * row_bytes, part.data.cast("B"), name)
        pixels[start : start + len(part)] = part[:, window.columns]
