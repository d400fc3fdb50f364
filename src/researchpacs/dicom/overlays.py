"""Overlays: single bits drawn over an image, in groups 6000 to 601E, as masks (PS3.3 C.9.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from researchpacs.errors import PixelDataError

__all__ = ["Overlay", "overlays_of"]

_GROUPS = range(0x6000, 0x6020, 2)
_ROWS, _COLUMNS, _FRAMES, _DESCRIPTION, _TYPE = 0x10, 0x11, 0x15, 0x22, 0x40
_ORIGIN, _FIRST_FRAME, _BITS, _BIT, _LABEL, _DATA = 0x50, 0x51, 0x100, 0x102, 0x1500, 0x3000
_MOST = 65_535


@dataclass(frozen=True, slots=True)
class Overlay:
    """One overlay plane of an image, of one frame or of several."""

    group: int
    """0x6000, 0x6002, ..."""
    label: str
    description: str
    is_region: bool
    """Whether it marks a region of interest (ROI); else it is graphics (G)."""
    rows: int
    columns: int
    origin: tuple[int, int]
    """(row, column) of the image, from 0, on which its first bit lies; may be outside."""
    first_frame: int
    """Of the image, from 0, to which its first frame belongs."""
    frames: int
    """Of the overlay."""
    bits: bytes | None
    """Packed, least significant bit first; None where they stand in the pixels (`bit`)."""
    bit: int
    """Position of its bit in a pixel, from 0."""

    def mask(
        self, shape: tuple[int, int], index: int = 0, *, cells: NDArray[np.unsignedinteger[Any]] | None = None
    ) -> NDArray[np.bool_]:
        """Give what it marks of one frame of its image.

        Parameters
        ----------
        shape
            Of the image: (rows, columns).
        index
            Zero-based frame of the image.
        cells
            All bits of the frame's pixels, unsigned, ``shape``; needed where `bits` are None.

        Returns
        -------
        mask
            ``shape``; False beyond the overlay, and everywhere on frames that it has nothing for.

        Raises
        ------
        PixelDataError
            It has fewer bits than it declares.
        """
        found = np.zeros(shape, np.bool_)
        if self.bits is None:
            if cells is None:
                raise PixelDataError(
                    f"overlay {self.group:04X} stands in unused bits of the pixels, which were not given"
                )
            return (cells >> self.bit & 1).astype(np.bool_).reshape(shape)
        own = index - self.first_frame
        if not 0 <= own < self.frames:
            return found
        drawn = self._unpacked(own)
        top, left = self.origin
        rows = slice(max(top, 0), max(min(top + self.rows, shape[0]), 0))
        columns = slice(max(left, 0), max(min(left + self.columns, shape[1]), 0))
        if rows.start < rows.stop and columns.start < columns.stop:
            found[rows, columns] = drawn[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        return found

    def _unpacked(self, frame: int) -> NDArray[np.bool_]:
        count = self.rows * self.columns
        start, end = frame * count, (frame + 1) * count
        packed = np.frombuffer((self.bits or b"")[start // 8 : (end + 7) // 8], np.uint8)
        bits = np.unpackbits(packed, bitorder="little")[start % 8 :][:count]
        if len(bits) != count:
            raise PixelDataError(f"overlay {self.group:04X} has too few bits for its frame {frame}")
        return bits.reshape(self.rows, self.columns).astype(np.bool_)


def overlays_of(ds: Dataset, *, big: bool = False) -> tuple[Overlay, ...]:
    """Read the overlays of an image, by group; pixel data need not be in the header.

    Parameters
    ----------
    ds
        The instance's header.
    big
        Whether it is big endian.

    Raises
    ------
    PixelDataError
        One is broken.
    """
    try:
        return tuple(_overlay(ds, group, big=big) for group in _GROUPS if _is_drawn(ds, group))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # The message may quote a value, so only its kind is told.
        raise PixelDataError(f"an overlay is broken ({type(error).__name__})") from None


def _is_drawn(ds: Dataset, group: int) -> bool:
    return (group, _DATA) in ds or (_value(ds, group, _BITS) not in (None, 1) and (group, _BIT) in ds)


def _overlay(ds: Dataset, group: int, *, big: bool) -> Overlay:
    data = _value(ds, group, _DATA)
    if data is None:
        rows, columns = int(ds.Rows), int(ds.Columns)
    else:
        rows, columns = int(_value(ds, group, _ROWS)), int(_value(ds, group, _COLUMNS))
        if big and ds[group, _DATA].VR == "OW":
            data = np.frombuffer(data[: len(data) // 2 * 2], np.uint16).byteswap().tobytes()
    origin = _value(ds, group, _ORIGIN) or (1, 1)
    row, column = (int(one) for one in (origin if isinstance(origin, Sequence) else [*origin]))
    frames, first = int(_value(ds, group, _FRAMES) or 1), int(_value(ds, group, _FIRST_FRAME) or 1)
    bit = int(_value(ds, group, _BIT) or 0)
    if not (0 < rows <= _MOST and 0 < columns <= _MOST and frames > 0 and 0 <= bit < 64):
        raise PixelDataError(f"overlay {group:04X} has {frames} frames of {rows} rows and {columns} columns")
    return Overlay(
        group=group,
        label=str(_value(ds, group, _LABEL) or "").strip(),
        description=str(_value(ds, group, _DESCRIPTION) or "").strip(),
        is_region=str(_value(ds, group, _TYPE) or "").strip() == "R",
        rows=rows,
        columns=columns,
        origin=(row - 1, column - 1),
        first_frame=first - 1,
        frames=frames,
        bits=None if data is None else bytes(data),
        bit=bit,
    )


def _value(ds: Dataset, group: int, element: int) -> Any:
    found = ds.get((group, element))
    return None if found is None else found.value
