"""Compressed frames: imagecodecs first, because it releases the GIL, then pydicom's plugins (PS3.5 8.2, A.4)."""

import itertools
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import imagecodecs
import numpy as np

from researchpacs.dicom import _pixel_native
from researchpacs.dicom._codestream import Codestream, read_codestream
from researchpacs.dicom._pixel_pydicom import as_rgb, decode_with_pydicom, explain, require_colour
from researchpacs.dicom.encapsulation import join_fragments
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.errors import PixelDataError

__all__ = ["decode_into"]

_EXPLICIT = "1.2.840.10008.1.2.1"
_RLE = "1.2.840.10008.1.2.5"
_RLE_HEADER = 64
_RLE_LONGEST_RUN = 64
"""Pixels of one byte for each byte of a segment: two bytes stand for 128 at most (PS3.5 G.3.1)."""
_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"


def _decode_htj2k(compressed: bytes) -> np.ndarray:
    """Decode with OpenJPH, and again with OpenJPEG where that may have given up.

    imagecodecs passes over errors of OpenJPH in the middle of a frame, whose remaining rows are then zero.
    """
    values: np.ndarray = imagecodecs.htj2k_decode(compressed)
    if np.all(np.any(values[-1], axis=0)):
        return values
    checked: np.ndarray = imagecodecs.jpeg2k_decode(compressed)
    return checked


_JPEG: Callable[..., np.ndarray] = imagecodecs.jpeg8_decode
_JPEG_LOSSY = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55))
_CODECS: Mapping[str, Callable[..., np.ndarray]] = {
    "1.2.840.10008.1.2.4.50": _JPEG,
    "1.2.840.10008.1.2.4.51": _JPEG,
    "1.2.840.10008.1.2.4.53": _JPEG,
    "1.2.840.10008.1.2.4.55": _JPEG,
    "1.2.840.10008.1.2.4.57": _JPEG,
    "1.2.840.10008.1.2.4.70": _JPEG,
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.81": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.91": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.201": _decode_htj2k,
    "1.2.840.10008.1.2.4.202": _decode_htj2k,
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
        require_colour(layout)
    values = _decode(compressed, header, layout)
    if values is not None:
        _store(values, header, layout, out)
        if layout.samples_per_pixel != 1 and layout.transfer_syntax_uid not in _JPEG_LOSSY:
            out[...] = as_rgb(out, layout)
    elif layout.transfer_syntax_uid == _RLE:
        raise PixelDataError(explain(layout, "the frame's segments are broken"))
    else:
        out[...] = decode_with_pydicom(compressed, layout)


def _check_header(compressed: bytes, layout: PixelLayout) -> Codestream | None:
    """Compare the frame's own header with the layout: codecs allocate what that header says."""
    if layout.transfer_syntax_uid == _RLE:
        _check_segments(compressed, layout)
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


def _check_segments(compressed: bytes, layout: PixelLayout) -> None:
    """Compare the header of an RLE frame with the layout (PS3.5 G.5): a segment for each byte of a pixel."""
    if layout.bits_allocated % 8 or len(compressed) < _RLE_HEADER:
        raise PixelDataError(explain(layout, f"a frame of {len(compressed)} bytes and {layout.bits_allocated} bits"))
    count, *offsets = struct.unpack_from("<16I", compressed)
    expected = layout.samples_per_pixel * layout.bits_allocated // 8
    if count != expected or expected > len(offsets):
        raise PixelDataError(explain(layout, f"the frame has {count} segments where {expected} make its pixels"))
    bounds = [*offsets[:count], len(compressed)]
    pixels = layout.rows * layout.columns
    if bounds[0] < _RLE_HEADER or any(
        pixels > (high - low) * _RLE_LONGEST_RUN for low, high in itertools.pairwise(bounds)
    ):
        raise PixelDataError(explain(layout, f"the frame's segments are too short for {pixels} pixels"))


def _decode(compressed: bytes, header: Codestream | None, layout: PixelLayout) -> np.ndarray | None:
    """Decode with imagecodecs, colour as the codec gives it; None where it has no codec for it or fails on it."""
    try:
        if layout.transfer_syntax_uid == _RLE:
            return _decode_runs(compressed, layout)
        decode = _CODECS.get(layout.transfer_syntax_uid)
        if decode is not None:
            values = decode(compressed, **_colour_options(header, layout))
            return values if values.shape == layout.frame_shape else None
    except (RuntimeError, ValueError):
        return None  # imagecodecs' errors derive from RuntimeError; pydicom's plugins are tried next, and say why not
    return None


def _colour_options(header: Codestream | None, layout: PixelLayout) -> dict[str, str]:
    """Say to libjpeg what it would guess: whether three samples are YCbCr, to be brought to RGB.

    They are what the instance says, but for RGB of which Adobe's marker says that it was transformed nevertheless.
    Lossless frames are left as they are.
    """
    if layout.samples_per_pixel == 1 or header is None or _CODECS[layout.transfer_syntax_uid] is not _JPEG:
        return {}
    is_rgb = layout.photometric_interpretation == "RGB" and header.adobe_transform != 1
    if is_rgb or layout.transfer_syntax_uid not in _JPEG_LOSSY:
        return {"colorspace": "RGB", "outcolorspace": "RGB"}
    return {"colorspace": "YCBCR", "outcolorspace": "RGB"}


def _decode_runs(compressed: bytes, layout: PixelLayout) -> np.ndarray:
    """Decode RLE, whose samples follow each other plane by plane (PS3.5 G.2)."""
    width = layout.bits_allocated // 8
    raw = imagecodecs.dicomrle_decode(compressed, f"<u{width}")
    if len(raw) != layout.rows * layout.columns * layout.samples_per_pixel * width:
        raise PixelDataError(explain(layout, f"the frame has {len(raw)} bytes after decoding"))
    planes = np.frombuffer(raw, f"<u{width}").reshape(layout.samples_per_pixel, layout.rows, layout.columns)
    return planes[0] if layout.samples_per_pixel == 1 else np.ascontiguousarray(planes.transpose(1, 2, 0))


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
