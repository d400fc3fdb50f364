"""Which types hold the values of frames, stored and rescaled; and which frames have values that a volume can hold."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from researchpacs.dicom.pixels import PixelLayout, require_plausible, stored_dtype
from researchpacs.errors import PixelDataError, UnsupportedError
from researchpacs.model import Frame

__all__ = ["colours_of", "require_known_values", "rescaled_dtype", "stored_range", "values_dtype"]


def colours_of(layout: PixelLayout, *, rescale: bool) -> tuple[int, ...]:
    """Give the sizes that follow (rows, columns): 3 for colour, by a palette only where it is looked up."""
    return (3,) if rescale and layout.is_palette else layout.frame_shape[2:]


def values_dtype(uid: str, frames: Sequence[Frame], *, rescale: bool) -> np.dtype[np.generic]:
    """Give the type of a volume of frames; colour and single bits have nothing to rescale.

    Colours by a palette have as many bits as the palette has.

    Raises
    ------
    PixelDataError
        The header of the series `uid` describes pixels that cannot be.
    """
    layouts = tuple(dict.fromkeys(frame.layout for frame in frames))
    try:
        for layout in layouts:
            stored_dtype(layout)
    except PixelDataError as error:
        raise PixelDataError(f"series ...{uid[-8:]} describes pixels that cannot be: {error}") from None
    if not rescale or any(layout.samples_per_pixel > 1 or layout.bits_allocated == 1 for layout in layouts):
        return np.result_type(*map(stored_dtype, layouts))
    if any(layout.is_palette for layout in layouts):
        return np.dtype(np.uint8 if max(layout.table_bits or 0 for layout in layouts) <= 8 else np.uint16)
    return rescaled_dtype(frames)


def rescaled_dtype(frames: Iterable[Frame]) -> np.dtype[np.generic]:
    """Give the type that holds every rescaled value.

    Integral slopes and intercepts keep int16, int32 where that is needed, int64 where 32 stored bits need it; all
    others give float32, double float pixels float64. A Modality LUT gives unsigned integers.
    """
    low, high = 0, 0
    for layout, slope, intercept in {(u.layout, u.rescale_slope, u.rescale_intercept) for u in frames}:
        if layout.pixel_keyword == "DoubleFloatPixelData":
            return np.dtype(np.float64)
        if layout.table_bits:
            high = max(high, (1 << layout.table_bits) - 1)
            continue
        if layout.pixel_keyword != "PixelData" or not (slope.is_integer() and intercept.is_integer()):
            return np.dtype(np.float32)
        ends = [value * int(slope) + int(intercept) for value in stored_range(layout)]
        low, high = min(low, *ends), max(high, *ends)
    for kind in (np.int16, np.int32, np.int64):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float64)


def stored_range(layout: PixelLayout) -> tuple[int, int]:
    """Give the smallest and largest integer that Bits Stored can hold."""
    bits = layout.bits_stored
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if layout.pixel_representation else (0, (1 << bits) - 1)


def require_known_values(uid: str, frames: Sequence[Frame], attributes: Mapping[str, object], *, rescale: bool) -> None:
    """Refuse what would open with other values than its header means.

    Raises
    ------
    UnsupportedError
        Mosaics that do not tell where their slices are.
    PixelDataError
        A slope that is none, a palette or a Modality LUT that is none; frames far larger than their bytes.
    """
    series = f"series ...{uid[-8:]}"
    for frame in frames:
        if frame.byte_length is not None:
            try:
                require_plausible(frame.layout, frame.byte_length)
            except PixelDataError as error:
                place = f"frame {frame.index} of instance ...{frame.sop_uid[-8:]}"
                raise PixelDataError(f"{place} in {series}: {error}") from None
    if any("MOSAIC" in frame.traits.image_type.split("\\") and frame.traits.tiles is None for frame in frames):
        raise UnsupportedError(
            f"{series} holds mosaics, many slices tiled in one image, that do not tell how their slices lie"
        )
    if not rescale:
        return
    _require_known_tables(series, frames, attributes)
    numbers = np.array([(u.rescale_slope, u.rescale_intercept) for u in frames if u.layout.table_bits is None])
    if len(numbers) and (not np.isfinite(numbers).all() or not numbers[:, 0].all()):
        raise PixelDataError(
            f"{series} has slices whose RescaleSlope or RescaleIntercept is zero or not a number; "
            "rescale=False gives the stored values"
        )


def _require_known_tables(series: str, frames: Sequence[Frame], attributes: Mapping[str, object]) -> None:
    bits = {frame.layout.table_bits for frame in frames}
    palettes = {frame.layout.is_palette for frame in frames}
    if 0 in bits or (bits == {None} and (True in palettes or "ModalityLUTSequence" in attributes)):
        table = "palette" if True in palettes else "Modality LUT"
        raise PixelDataError(
            f"{series} maps its values by a table ({table}) whose descriptor cannot be read; "
            "rescale=False gives the stored values"
        )
    if len(palettes) > 1 or (True in palettes and len(bits) > 1) or (None in bits and bits != {None}):
        raise PixelDataError(
            f"{series} maps its values by tables in some frames only, or by palettes of different depth; "
            "rescale=False gives the stored values"
        )
