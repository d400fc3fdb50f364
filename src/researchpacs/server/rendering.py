"""Stored values to a picture: Modality LUT, VOI LUT, presentation, then 8 bits a sample (PS3.4 N.2, PS3.3 C.11).

What a person would see on an ordinary screen: no ICC profile, no overlays, no annotations.
"""

import math
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut

from researchpacs.dicom.pixels import PixelLayout
from researchpacs.dicom.tables import table_of
from researchpacs.dicom.values import reading_quietly
from researchpacs.dicom.voi import Function, Voi, VoiWindow, voi_of
from researchpacs.errors import PixelDataError

__all__ = ["Function", "VoiWindow", "encode_picture", "picture_of"]

_BLOCK = 1 << 18
"""Pixels that are drawn at once."""
_ENOUGH = 1 << 20


def picture_of(
    values: np.ndarray, header: Dataset, layout: PixelLayout, index: int, *, window: VoiWindow | None = None
) -> np.ndarray:
    """Turn a frame's stored values into what is shown.

    Parameters
    ----------
    values
        ``(rows, columns)`` or ``(rows, columns, 3)`` in RGB, as `researchpacs.dicom.pixels.decode_frame` gives them.
    header
        The instance's data set; its pixels need not be in it.
    index
        Zero-based frame.
    window
        By default the instance's first window or VOI LUT, else one that fits the values.

    Returns
    -------
    picture
        uint8, the shape of a grey or RGB image.

    Raises
    ------
    PixelDataError
        The instance's own tables cannot be applied.
    """
    with reading_quietly():
        try:
            if layout.samples_per_pixel == 3:
                return _eight_bits(values, layout.bits_stored)
            if layout.is_palette:
                palette = table_of(header, layout)
                return _eight_bits(palette.apply(values), palette.bits)
            return _grey(values, _transformations(header, index), layout, window)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, NotImplementedError) as error:
            raise PixelDataError(
                f"the frame cannot be shown: a table or a window is broken ({type(error).__name__})"
            ) from None


def encode_picture(picture: np.ndarray, media_type: str, *, quality: int = 90) -> bytes:
    """Write a picture as image/jpeg, image/png or image/gif."""
    kind = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF"}[media_type]
    options: dict[str, Any] = {"quality": quality} if kind == "JPEG" else {}
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def _grey(values: np.ndarray, transformations: Dataset, layout: PixelLayout, window: VoiWindow | None) -> np.ndarray:
    voi: Voi | None = window or next(iter(voi_of(transformations)), None)
    if voi is None:
        voi = _fitting(np.asarray(apply_modality_lut(_thinned(values), transformations), np.float64))
    levels = np.empty(values.shape, np.uint8)
    # In blocks of rows: a real number to each pixel of a large frame would take a gigabyte.
    step = max(1, _BLOCK // values.shape[1])
    for row in range(0, len(values), step):
        block = np.asarray(apply_modality_lut(values[row : row + step], transformations), np.float64)
        shown = voi.apply(block)
        if layout.photometric_interpretation == "MONOCHROME1":
            shown = 1.0 - shown
        levels[row : row + step] = np.rint(np.clip(np.nan_to_num(shown, nan=0.0), 0.0, 1.0) * 255)
    return levels


def _thinned(values: np.ndarray) -> np.ndarray:
    """Enough of a large frame to say how bright it is."""
    step = math.ceil(math.sqrt(values.size / _ENOUGH)) if values.size > _ENOUGH else 1
    return values[::step, ::step]


def _fitting(values: np.ndarray) -> VoiWindow:
    known = values[np.isfinite(values)]
    if not known.size:
        return VoiWindow(0.5, 1.0, "LINEAR_EXACT")
    low, high = (float(end) for end in np.percentile(known, (0.5, 99.5)))
    if not high > low:
        low, high = float(known.min()), float(known.max())
    return VoiWindow((low + high) / 2, max(high - low, 1e-9), "LINEAR_EXACT")


def _transformations(header: Dataset, index: int) -> Dataset:
    """Rescale, VOI and their tables of one frame, wherever the instance has them (PS3.3 C.7.6.16.2.9, 2.10)."""
    made = Dataset()
    for keyword in ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"):
        if keyword in header:
            made[keyword] = header[keyword]
    for keyword in ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"):
        if keyword in header:
            made[keyword] = header[keyword]
    for keyword in ("PixelRepresentation", "BitsStored", "PhotometricInterpretation"):
        if keyword in header:
            made[keyword] = header[keyword]
    for group in _functional_groups(header, index):
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in group.get(name) or ():
                made.update({element.tag: element for element in item})
    return made


def _functional_groups(header: Dataset, index: int) -> Iterator[Dataset]:
    yield from (header.get("SharedFunctionalGroupsSequence") or ())[:1]
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
    if index < len(per_frame):
        yield per_frame[index]


def _eight_bits(values: np.ndarray, bits: int) -> np.ndarray:
    if bits <= 8:
        return np.ascontiguousarray(values.astype(np.uint8))
    return np.ascontiguousarray((values >> (bits - 8)).astype(np.uint8))
