"""Look-up tables of an image: stored values to rescaled values or to colours (PS3.3 C.11.1, C.7.6.3.1.5, C.7.9.2)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from researchpacs.dicom._segmented import expand
from researchpacs.dicom.attributes import numbers_of
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.errors import PixelDataError

__all__ = ["TABLE_KEYWORDS", "Table", "table_in", "table_of"]

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_COLOURS = ("Red", "Green", "Blue")
TABLE_KEYWORDS = (
    "ModalityLUTSequence",
    *(f"{colour}PaletteColorLookupTable{part}" for colour in _COLOURS for part in ("Descriptor", "Data")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in _COLOURS),
    "PixelRepresentation",
)
"""Attributes that `table_of` reads."""
_DEEPEST = 16


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A look-up table: values below its first entry have that of the first, values beyond its last that of the last."""

    first: int
    """Value that the first entry is for."""
    entries: NDArray[Any]
    """``(n,)`` unsigned integers; of a palette ``(n, 3)``: red, green, blue, bytes where `bits` are 8 at most."""
    bits: int
    """Of an entry: white, or full colour, is ``2 ** bits - 1``."""

    def apply(self, values: NDArray[Any]) -> NDArray[Any]:
        """Look values up.

        Parameters
        ----------
        values
            Integers of any shape.

        Returns
        -------
        found
            The shape of `values`, for a palette followed by 3; dtype of the entries.
        """
        # A wide signed type: the difference of unsigned ones would wrap around.
        places = values.astype(np.int64) - self.first
        found: NDArray[Any] = self.entries.take(places, axis=0, mode="clip")
        return found


def table_of(ds: Dataset, layout: PixelLayout) -> Table:
    """Read the table that an image's stored values go through: its palette, else its Modality LUT.

    Parameters
    ----------
    ds
        The instance's header.
    layout
        How its pixels are written; `PixelLayout.table_bits` is set.

    Raises
    ------
    PixelDataError
        There is none, or it is broken.
    """
    signed = layout.pixel_representation == 1
    big = layout.transfer_syntax_uid == _BIG_ENDIAN
    try:
        if layout.is_palette:
            return _palette(ds, signed=signed, big=big)
        return table_in(ds.ModalityLUTSequence[0], "LUT", signed=signed, big=big)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # The message may quote a value, so only its kind is told.
        what = "palette" if layout.is_palette else "Modality LUT"
        raise PixelDataError(f"the {what} is missing or broken ({type(error).__name__})") from None


def table_in(ds: Dataset, prefix: str, *, signed: bool, big: bool = False) -> Table:
    """Read one table.

    Parameters
    ----------
    ds
        The data set, or item of a sequence, that has it.
    prefix
        What the keywords of its descriptor and its data begin with, such as ``"LUT"``.
    signed
        Whether the values that it is for are signed.
    big
        Whether the data set is big endian.

    Raises
    ------
    PixelDataError
        It has no entries, or fewer than it declares.
    AttributeError, TypeError, ValueError
        It is missing, or no table.
    """
    descriptor = numbers_of(ds, f"{prefix}Descriptor", 3)
    if descriptor is None:
        raise PixelDataError(f"a look-up table has no {prefix}Descriptor of three numbers")
    count, first, bits = (int(number) for number in descriptor)
    # Both are US or SS, whichever was written: 0 entries are 65536 (PS3.3 C.11.1.1).
    count = (count & 0xFFFF) or 1 << 16
    first = first - (1 << 16) if signed and first >= 1 << 15 else first
    if not 1 <= bits <= _DEEPEST:
        raise PixelDataError(f"a look-up table has entries of {bits} bits where 8 to 16 can be")
    segments = ds.get(f"Segmented{prefix}Data")
    if segments is not None:
        width = 1 if bits <= 8 else 2
        return Table(first, expand(_words(segments, width, big=big), count, width), bits)
    value: Any = ds[f"{prefix}Data"].value
    if not isinstance(value, bytes):
        words = np.atleast_1d(np.asarray(value)) & 0xFFFF  # as SS they may be negative
    elif len(value) < 2 * count and bits > 8:
        raise PixelDataError(f"a look-up table has {len(value)} bytes where {count} entries of {bits} bits have more")
    else:
        words = _words(value, 1 if len(value) < 2 * count else 2, big=big)
    if len(words) < count:
        raise PixelDataError(f"a look-up table has {len(words)} of its {count} entries")
    return Table(first, words[:count].astype(np.uint16), bits)


def _palette(ds: Dataset, *, signed: bool, big: bool) -> Table:
    tables = [table_in(ds, f"{colour}PaletteColorLookupTable", signed=signed, big=big) for colour in _COLOURS]
    red = tables[0]
    if any((one.first, one.bits, len(one.entries)) != (red.first, red.bits, len(red.entries)) for one in tables):
        raise PixelDataError("the palette's colours have tables of different shape")
    colours = np.stack([one.entries for one in tables], axis=-1)
    if red.bits > 8:
        return Table(red.first, colours, red.bits)
    # Some write eight bits in the upper half of each word.
    return Table(red.first, (colours >> 8 if colours.max() > 0xFF else colours).astype(np.uint8), red.bits)


def _words(value: bytes, width: int, *, big: bool) -> NDArray[Any]:
    whole = value[: len(value) // width * width]
    if width == 2:
        return np.frombuffer(whole, ">u2" if big else "<u2").astype(np.uint16)
    # Bytes of a big endian data set stand in words, the first one in the lower half (PS3.5 8.1.1).
    even = np.frombuffer(value[: len(value) // 2 * 2], "<u2")
    return np.frombuffer(even.byteswap().tobytes() if big else whole, np.uint8)
