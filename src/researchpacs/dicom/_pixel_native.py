"""Uncompressed frames (PS3.5 8.1, 8.2)."""

import numpy as np

from researchpacs.dicom._pixel_pydicom import decode_colour, explain
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.errors import PixelDataError

__all__ = ["decode_into", "extend", "keep_stored_bits"]

_BIG_ENDIAN = "1.2.840.10008.1.2.2"


def decode_into(data: bytes | memoryview, layout: PixelLayout, out: np.ndarray) -> None:
    """Decode a native frame into an array of its stored dtype."""
    expected = (layout.frame_bits + 7) // 8
    if len(data) != expected:
        raise PixelDataError(explain(layout, f"a frame has {expected} bytes, {len(data)} were given"))
    if layout.samples_per_pixel != 1:
        out[...] = decode_colour(bytes(data), layout)
        return
    if layout.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little", count=layout.rows * layout.columns)
        out[...] = bits.reshape(out.shape)
        return
    written = out.dtype.newbyteorder(">" if layout.transfer_syntax_uid == _BIG_ENDIAN else "<")
    out[...] = np.frombuffer(data, written).reshape(out.shape)
    keep_stored_bits(out, layout)


def keep_stored_bits(values: np.ndarray, layout: PixelLayout) -> None:
    """Make values of their stored bits in place: nobody knows what the others hold (PS3.5 8.1.1).

    The sign of a signed array is the highest of those bits; an unsigned one gets zeros.
    """
    above = values.dtype.itemsize * 8 - 1 - layout.highest_bit
    extend(values, above, values.dtype.itemsize * 8 - layout.bits_stored)


def extend(values: np.ndarray, left: int, right: int) -> None:
    """Shift integers left, then right with their sign, in place."""
    if values.dtype.kind in "iu" and (left or right):
        np.left_shift(values, left, out=values)
        np.right_shift(values, right, out=values)
