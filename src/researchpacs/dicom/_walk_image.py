"""Whether the pixels an instance declares can be in the bytes it has, before anybody allocates them (PS3.3 C.7.6.3)."""

from collections.abc import Mapping

from researchpacs.dicom._walk import PixelElement
from researchpacs.errors import InvalidInputError

__all__ = ["IMAGE_KEYWORDS", "check_image"]

IMAGE_KEYWORDS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)

_RLE = "1.2.840.10008.1.2.5"
_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
_NATIVE = frozenset(("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"))
_VIDEO = ("1.2.840.10008.1.2.4.10", "1.2.840.10008.1.2.7.")
"""MPEG2, MPEG-4, HEVC (4.100 to 4.108) and SMPTE ST 2110: one stream for all frames."""
_MOST_EXPANSION = {_RLE: 64, _DEFLATED_FRAMES: 1032}
"""Bytes that one byte can become at most: two bytes of a PackBits run are 128 (PS3.5 G.3.1), DEFLATE reaches 1032."""
_FREE_FRAME_BYTES = 64 << 20
"""A black frame of this size may be as small as it likes: JPEG-LS and JPEG 2000 write it in a hundred bytes."""
_FRAME_EXPANSION = 1000
_FREE_BYTES = 1 << 30
_EXPANSION = 20_000
"""The same for all frames of an instance together."""


def check_image(
    pixels: PixelElement, transfer_syntax_uid: str, numbers: Mapping[str, int], photometric_interpretation: str
) -> list[tuple[str, str]]:
    """Compare declared pixels with the bytes that are there; Python's integers do not overflow.

    Parameters
    ----------
    pixels
        The pixel data element.
    transfer_syntax_uid
        Of the instance.
    numbers
        Numeric attributes of `IMAGE_KEYWORDS`, those that are there.

    Returns
    -------
    notes
        What is odd but safe, as (keyword, problem).

    Raises
    ------
    InvalidInputError
        The declared pixels do not fit.
    """
    missing = [key for key in ("Rows", "Columns", "BitsAllocated") if not numbers.get(key)]
    if missing:
        return [(missing[0], "is missing, so that the pixel data is no image")]
    frames = numbers.get("NumberOfFrames", 1)
    if frames < 1:
        return [("NumberOfFrames", "is not positive")]
    bits = numbers["Rows"] * numbers["Columns"] * numbers["BitsAllocated"] * numbers.get("SamplesPerPixel", 1)
    if pixels.fragments is None:
        if photometric_interpretation == "YBR_FULL_422":
            bits = bits * 2 // 3
        return _check_native(pixels, transfer_syntax_uid, (bits * frames + 7) // 8)
    _check_encapsulated(pixels, transfer_syntax_uid, frames, bits // 8)
    if transfer_syntax_uid in _NATIVE:
        return [("TransferSyntaxUID", "is a native one, but the pixel data is encapsulated")]
    return []


def _check_native(pixels: PixelElement, transfer_syntax_uid: str, expected: int) -> list[tuple[str, str]]:
    if transfer_syntax_uid not in _NATIVE and transfer_syntax_uid.startswith("1.2.840.10008.1.2."):
        return [("TransferSyntaxUID", "is a compressed one, but the pixel data is not encapsulated")]
    if pixels.length < expected:
        raise InvalidInputError(
            f"pixel data at byte {pixels.offset} has {pixels.length} bytes where {expected} are declared"
        )
    if pixels.length > expected + expected % 2:
        return [("PixelData", f"has {pixels.length - expected} bytes more than its frames")]
    return []


def _check_encapsulated(pixels: PixelElement, transfer_syntax_uid: str, frames: int, frame_bytes: int) -> None:
    fragments = pixels.fragments or 0
    if fragments < frames and not transfer_syntax_uid.startswith(_VIDEO):
        raise InvalidInputError(f"pixel data at byte {pixels.offset} has {fragments} fragments for {frames} frames")
    if transfer_syntax_uid.startswith(_VIDEO):
        return
    if exact := _MOST_EXPANSION.get(transfer_syntax_uid):
        fits = frame_bytes * frames <= exact * pixels.length
    else:
        per_frame = pixels.length // frames
        fits = (
            frame_bytes <= _FREE_FRAME_BYTES + _FRAME_EXPANSION * per_frame
            and frame_bytes * frames <= _FREE_BYTES + _EXPANSION * pixels.length
        )
    if not fits:
        raise InvalidInputError(
            f"pixel data at byte {pixels.offset} has {pixels.length} compressed bytes, "
            f"too few for {frames} frames of {frame_bytes} bytes"
        )
