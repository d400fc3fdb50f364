"""Frames that do not stand for themselves, taken out of their whole instance (PS3.5 8.1.1, 8.2, A.5)."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pydicom

from researchpacs.dicom import _pixel_native
from researchpacs.dicom._pixel_pydicom import explain
from researchpacs.dicom.encapsulation import VIDEOS
from researchpacs.dicom.pixels import PixelLayout, stored_dtype
from researchpacs.errors import PixelDataError

__all__ = ["decode"]

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_EXPLICIT = "1.2.840.10008.1.2.1"


def decode(file_bytes: bytes, indices: Iterable[int], layout: PixelLayout) -> Iterator[np.ndarray]:
    """Decode frames of a native or deflated instance, which is read once."""
    if layout.transfer_syntax_uid.startswith(VIDEOS):
        raise PixelDataError(explain(layout, "its frames are one video, not images that follow each other"))
    if not layout.is_native and layout.transfer_syntax_uid != _DEFLATED:
        raise PixelDataError(explain(layout, "frames of encapsulated pixel data are decoded one by one"))
    value, vr = _read_value(file_bytes, layout)
    if layout.transfer_syntax_uid == _BIG_ENDIAN and vr == "OW" and layout.bits_allocated <= 8:
        value = np.frombuffer(value[: len(value) // 2 * 2], np.uint16).byteswap().tobytes()
    native = layout if layout.is_native else replace(layout, transfer_syntax_uid=_EXPLICIT)
    for index in indices:
        if not 0 <= index < layout.number_of_frames:
            raise PixelDataError(f"no frame {index} in an instance of {layout.number_of_frames} frames")
        frame = np.empty(layout.frame_shape, stored_dtype(layout))
        if layout.bits_allocated == 1:
            frame[...] = _unpack(value, index, layout).reshape(layout.frame_shape)
        else:
            length = layout.frame_bits // 8
            _pixel_native.decode_into(value[index * length : (index + 1) * length], native, frame)
        yield frame


def _read_value(file_bytes: bytes, layout: PixelLayout) -> tuple[bytes, str]:
    ds = pydicom.dcmread(io.BytesIO(file_bytes), force=True, specific_tags=[layout.pixel_keyword])
    if layout.pixel_keyword not in ds:
        raise PixelDataError(f"the instance has no {layout.pixel_keyword}")
    element = ds[layout.pixel_keyword]
    if element.is_undefined_length:
        raise PixelDataError(explain(layout, "the pixel data are fragments, which it has no place for"))
    return element.value, element.VR


def _unpack(value: bytes, index: int, layout: PixelLayout) -> np.ndarray:
    """Unpack a frame of single bits, which follow each other without regard to bytes (PS3.5 8.1.1)."""
    first, count = index * layout.frame_bits, layout.frame_bits
    packed = np.frombuffer(value[first // 8 : (first + count + 7) // 8], np.uint8)
    bits = np.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + count]
    if len(bits) != count:
        raise PixelDataError(f"{layout.pixel_keyword} has {len(value)} bytes, too few for frame {index}")
    return bits
