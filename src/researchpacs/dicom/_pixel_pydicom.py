"""pydicom's decoders and colour conversion: the fall-back for grey frames, the rule for colour."""

import importlib.util

import numpy as np
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from researchpacs.dicom.pixels import PixelLayout
from researchpacs.errors import PixelDataError

__all__ = ["decode_colour", "decode_with_pydicom", "explain"]

_COLOURS = frozenset(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"))
_PLUGINS = {"gdcm": "python-gdcm", "openjpeg": "pylibjpeg-openjpeg", "rle": "pylibjpeg-rle", "jpeg_ls": "pyjpegls"}
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
    source = frame if layout.is_native else _encapsulate(frame)
    try:
        decoder = get_decoder(UID(layout.transfer_syntax_uid))
        values, properties = decoder.as_array(source, index=0, **options)  # type: ignore[arg-type]
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise PixelDataError(explain(layout, " ".join(str(error).split()))) from error
    if values.shape != layout.frame_shape:
        raise PixelDataError(explain(layout, f"the frame is {values.shape} where {layout.frame_shape} was declared"))
    if layout.samples_per_pixel == 3 and properties["photometric_interpretation"] != "RGB":
        raise PixelDataError(explain(layout, f"{layout.photometric_interpretation} colour was not converted to RGB"))
    return values


def decode_colour(frame: bytes, layout: PixelLayout) -> np.ndarray:
    """Decode one colour frame to RGB; other arguments as for `decode_with_pydicom`."""
    if layout.samples_per_pixel != 3 or layout.photometric_interpretation not in _COLOURS:
        colour = f"{layout.samples_per_pixel} samples of {layout.photometric_interpretation!r}"
        raise PixelDataError(explain(layout, f"no conversion of {colour} to RGB is known"))
    return decode_with_pydicom(frame, layout)


def explain(layout: PixelLayout, problem: str) -> str:
    """Word an error: the transfer syntax, the problem, and what decodes it."""
    uid = UID(layout.transfer_syntax_uid)
    known = "imagecodecs, python-gdcm, pylibjpeg-openjpeg, pylibjpeg-rle and pyjpegls"
    missing = [package for module, package in _PLUGINS.items() if importlib.util.find_spec(module) is None]
    hint = f"; not installed here: {', '.join(missing)}" if missing else ""
    return f"cannot decode {uid.name} ({uid}): {problem}. Decoders tried are those of {known}{hint}"


def _encapsulate(frame: bytes) -> bytes:
    padded = frame + b"\0" * (len(frame) % 2)
    return _EMPTY_TABLE + _ITEM + len(padded).to_bytes(4, "little") + padded
