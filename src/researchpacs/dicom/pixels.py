"""Frames of pixel data from bytes to arrays of stored values (PS3.5 8, PS3.3 C.7.6.3)."""

from dataclasses import dataclass

__all__ = ["PixelLayout"]


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How the pixels of an instance are written: everything a decoder must know (Image Pixel Module)."""

    transfer_syntax_uid: str
    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    pixel_representation: int
    """0 unsigned, 1 two's complement."""
    photometric_interpretation: str
    planar_configuration: int
    number_of_frames: int = 1
    pixel_keyword: str = "PixelData"
    """PixelData, FloatPixelData or DoubleFloatPixelData."""
