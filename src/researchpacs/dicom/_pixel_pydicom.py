"""pydicom's decoders and colour conversion: the fall-back for grey frames, the rule for colour."""

import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import UID

from researchpacs.dicom.pixels import PixelLayout
from researchpacs.errors import PixelDataError

__all__ = ["as_rgb", "decode_colour", "decode_with_pydicom", "explain", "require_colour"]

_COLOURS = frozenset(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"))
_PACKAGES = {"openjpeg": "pylibjpeg-openjpeg", "jpeg_ls": "pyjpegls"}
_PLUGINS = ("pillow", "pyjpegls", "pylibjpeg")
"""What decodes here beside imagecodecs. Not gdcm: a broken JPEG frame ends its process. Nor anything for RLE: there
pylibjpeg-rle panics."""
_EMPTY_TABLE = b"\xfe\xff\x00\xe0\x00\x00\x00\x00"
_ITEM = b"\xfe\xff\x00\xe0"


def decode_with_pydicom(frame: bytes, layout: PixelLayout) -> np.ndarray:
    """Decode one frame with the first of pydicom's plugins that can.

    Parameters
    ----------
    frame
        A native frame, or a compressed one without its item headers.
    layout
        How it is written.

    Returns
    -------
    frame
        ``layout.frame_shape``; colour in RGB.

    Raises
    ------
    PixelDataError
        None can.
    """
    options = {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": layout.samples_per_pixel,
        "photometric_interpretation": layout.photometric_interpretation,
        "planar_configuration": layout.planar_configuration,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "pixel_representation": layout.pixel_representation,
        "pixel_keyword": layout.pixel_keyword,
        "pixel_vr": "OB" if layout.bits_allocated <= 8 else "OW",
        "number_of_frames": 1,
    }
    values, properties = _decoded(frame, layout, options)
    if values.shape != layout.frame_shape:
        raise PixelDataError(explain(layout, f"the frame is {values.shape} where {layout.frame_shape} was declared"))
    if layout.samples_per_pixel == 3 and properties["photometric_interpretation"] != "RGB":
        raise PixelDataError(explain(layout, f"{layout.photometric_interpretation} colour was not converted to RGB"))
    return values


def _decoded(frame: bytes, layout: PixelLayout, options: dict[str, Any]) -> tuple[np.ndarray, Mapping[str, Any]]:
    try:
        decoder = get_decoder(UID(layout.transfer_syntax_uid))
        if layout.is_native:
            return decoder.as_array(frame, index=0, **options)
        plugins = [name for name in _PLUGINS if name in decoder.available_plugins]
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise PixelDataError(explain(layout, " ".join(str(error).split()))) from error
    problems = []
    for plugin in plugins:
        try:
            return decoder.as_array(_encapsulate(frame), index=0, decoding_plugin=plugin, **options)
        except (AttributeError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError) as error:
            problems.append(f"{plugin}: {' '.join(str(error).split())}")
    raise PixelDataError(explain(layout, "; ".join(problems) or "the codec refuses the frame"))


def decode_colour(frame: bytes, layout: PixelLayout) -> np.ndarray:
    """Decode one colour frame to RGB; other arguments as for `decode_with_pydicom`."""
    require_colour(layout)
    return decode_with_pydicom(frame, layout)


def require_colour(layout: PixelLayout) -> None:
    """Refuse colour that nobody here knows how to bring to RGB."""
    if layout.samples_per_pixel != 3 or layout.photometric_interpretation not in _COLOURS:
        colour = f"{layout.samples_per_pixel} samples of {layout.photometric_interpretation!r}"
        raise PixelDataError(explain(layout, f"no conversion of {colour} to RGB is known"))


def as_rgb(values: np.ndarray, layout: PixelLayout) -> np.ndarray:
    """Convert what a codec gives; that of JPEG 2000 undoes YBR_ICT and YBR_RCT itself (PS3.5 8.2.4)."""
    if not layout.photometric_interpretation.startswith("YBR_FULL"):
        return values
    if values.dtype != np.uint8:
        raise PixelDataError(explain(layout, f"YBR_FULL of {layout.bits_allocated} bits is not converted to RGB"))
    return convert_color_space(values, "YBR_FULL", "RGB")


def explain(layout: PixelLayout, problem: str) -> str:
    """Word an error: the transfer syntax, the problem, and what decodes it."""
    uid = UID(layout.transfer_syntax_uid)
    known = "imagecodecs, pillow, pylibjpeg-openjpeg and pyjpegls"
    missing = [package for module, package in _PACKAGES.items() if importlib.util.find_spec(module) is None]
    hint = f"; not installed here: {', '.join(missing)}" if missing else ""
    return f"cannot decode {uid.name} ({uid}): {problem}. Decoders tried are those of {known}{hint}"


def _encapsulate(frame: bytes) -> bytes:
    padded = frame + b"\0" * (len(frame) % 2)
    return _EMPTY_TABLE + _ITEM + len(padded).to_bytes(4, "little") + padded
