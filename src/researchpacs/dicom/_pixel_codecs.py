"""Compressed frames: imagecodecs first, because it releases the GIL, then pydicom's plugins (PS3.5 8.2, A.4)."""

import zlib
from dataclasses import replace

import imagecodecs
import numpy as np

from researchpacs.dicom import _pixel_native
from researchpacs.dicom._codestream import Codestream, read_codestream
from researchpacs.dicom._pixel_pydicom import decode_colour, decode_with_pydicom, explain
from researchpacs.dicom.encapsulation import join_fragments
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.errors import PixelDataError

__all__ = ["decode_into"]

_EXPLICIT = "1.2.840.10008.1.2.1"
_RLE = "1.2.840.10008.1.2.5"
_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
_CODECS = {
    "1.2.840.10008.1.2.4.50": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.51": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.53": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.55": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.57": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.70": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.81": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.91": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.201": imagecodecs.htj2k_decode,
    "1.2.840.10008.1.2.4.202": imagecodecs.htj2k_decode,
    "1.2.840.10008.1.2.4.203": imagecodecs.jpeg2k_decode,
}
"""By transfer syntax. In lossy HTJ2K OpenJPH wraps around where values leave their range; OpenJPEG clips them."""


def decode_into(data: bytes | memoryview, layout: PixelLayout, out: np.ndarray) -> None:
    """Decode a compressed frame into an array of its stored dtype."""
    compressed = join_fragments(data)
    if layout.transfer_syntax_uid == _DEFLATED_FRAMES:
        native = replace(layout, transfer_syntax_uid=_EXPLICIT)
        _pixel_native.decode_into(_inflate(compressed, layout), native, out)
        return
    header = _check_header(compressed, layout)
    if layout.samples_per_pixel != 1:
        out[...] = decode_colour(compressed, layout)
        return
    values = _decode_grey(compressed, layout)
    if values is None:
        out[...] = decode_with_pydicom(compressed, layout)
    else:
        _store(values, header, layout, out)


def _check_header(compressed: bytes, layout: PixelLayout) -> Codestream | None:
    """Compare the frame's own header with the layout: codecs allocate what that header says."""
    if layout.transfer_syntax_uid == _RLE:
        return None
    header = read_codestream(compressed)
    if header is None:
        raise PixelDataError(explain(layout, "the frame does not begin with a codestream"))
    if not header.ends:
        raise PixelDataError(explain(layout, f"the frame of {len(compressed)} bytes is cut off"))
    declared = (layout.rows, layout.columns, layout.samples_per_pixel)
    if (header.rows, header.columns, header.samples) != declared or header.precision > layout.bits_allocated:
        raise PixelDataError(
            explain(
                layout,
                f"the codestream has rows, columns and samples {header.rows, header.columns, header.samples} of "
                f"{header.precision} bits where {declared} of {layout.bits_allocated} bits are declared",
            )
        )
    return header


def _decode_grey(compressed: bytes, layout: PixelLayout) -> np.ndarray | None:
    """Decode with imagecodecs; None where it has no codec for the frame or fails on it."""
    width = layout.bits_allocated // 8
    try:
        if layout.transfer_syntax_uid == _RLE:
            raw = imagecodecs.dicomrle_decode(compressed, f"<u{width}")
            if len(raw) != layout.rows * layout.columns * width:
                raise PixelDataError(explain(layout, f"the frame has {len(raw)} bytes after decoding"))
            return np.frombuffer(raw, f"<u{width}").reshape(layout.frame_shape)
        if decode := _CODECS.get(layout.transfer_syntax_uid):
            values: np.ndarray = decode(compressed)
            return values if values.shape == layout.frame_shape else None
    except (RuntimeError, ValueError):
        return None  # imagecodecs' errors derive from RuntimeError; pydicom's plugins are tried next, and say why not
    return None


def _store(values: np.ndarray, header: Codestream | None, layout: PixelLayout, out: np.ndarray) -> None:
    """Give decoded values the sign that the layout declares.

    A codestream may have another sign than the layout, or none to have: its bits are then taken as the layout's.
    """
    np.copyto(out.view(f"u{out.dtype.itemsize}"), values.view(f"u{values.dtype.itemsize}"))
    if header is None:
        _pixel_native.keep_stored_bits(out, layout)
        return
    bits = min(header.precision, layout.bits_stored)
    if header.signed or layout.pixel_representation or bits < header.precision:
        unused = out.dtype.itemsize * 8 - bits
        _pixel_native.extend(out, unused, unused)


def _inflate(compressed: bytes, layout: PixelLayout) -> bytes:
    """Inflate a frame of Deflated Image Frame Compression, and no more than a frame with its padding."""
    expected = (layout.frame_bits + 7) // 8
    try:
        frame = zlib.decompressobj(-zlib.MAX_WBITS).decompress(compressed, expected + 2)
    except zlib.error as error:
        raise PixelDataError(explain(layout, "the frame is no deflate stream")) from error
    if len(frame) not in (expected, expected + expected % 2):
        raise PixelDataError(explain(layout, f"the frame does not inflate to its {expected} bytes"))
    return frame[:expected]
