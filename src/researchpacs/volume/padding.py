"""Pixel padding: voxels that a scanner filled in where it saw nothing (PS3.3 C.7.5.1.1.2).

``attrs["padding"]`` has the lowest and highest of their values, as the volume was opened. Attributes survive arithmetic
that changes values, so padding is believed only where it lies beyond all other values, as padding does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from researchpacs.model import Frame

__all__ = ["padding_of", "padding_range", "without_padding"]


def padding_range(
    attributes: Mapping[str, object], frames: Sequence[Frame], *, rescale: bool
) -> tuple[float, float] | None:
    """Give the lowest and highest value of padding in a volume; None where nothing tells it for all frames alike.

    Parameters
    ----------
    attributes
        Of the series: Pixel Padding Value and Pixel Padding Range Limit.
    frames
        Of the volume.
    rescale
        Whether the volume has rescaled values; padding is told in stored ones.
    """
    value, limit = attributes.get("PixelPaddingValue"), attributes.get("PixelPaddingRangeLimit")
    if not isinstance(value, int | float):
        return None
    if rescale and any(frame.layout.table_bits is not None for frame in frames):
        return None
    layouts = {(frame.layout.pixel_representation, frame.layout.bits_allocated) for frame in frames}
    scales = {(frame.rescale_slope, frame.rescale_intercept) for frame in frames} if rescale else {(1.0, 0.0)}
    if len(layouts) != 1 or len(scales) != 1:
        return None
    ((signed, bits),), ((slope, intercept),) = layouts, scales
    told = [value, limit if isinstance(limit, int | float) else value]
    # Written as US where pixels are signed, a value has to be read again.
    stored = [one - (1 << bits) if signed and one >= 1 << bits - 1 else one for one in told]
    low, high = sorted(one * slope + intercept for one in stored)
    return float(low), float(high)


def padding_of(vol: xr.DataArray) -> xr.DataArray:
    """Say which voxels are padding; none where the volume has none, or its values are not those it was opened with.

    Returns
    -------
    padding
        Booleans on the same grid; lazy as the volume is.
    """
    told = vol.attrs.get("padding")
    if not (isinstance(told, tuple | list) and len(told) == 2):
        return xr.zeros_like(vol, dtype=np.bool_).drop_attrs(deep=False)
    low, high = told
    within: xr.DataArray = (vol >= low) & (vol <= high)
    is_beyond: xr.DataArray = (vol < low).any() & (vol > high).any()
    padding: xr.DataArray = within & ~is_beyond
    return padding.drop_attrs(deep=False)


def without_padding(vol: Any) -> Any:
    """Give a volume with NaN for padding; what tells of none comes back as it is.

    int8 to int16 and float32 give float32, which holds them exactly; all others float64.
    """
    if not isinstance(vol, xr.DataArray) or "padding" not in vol.attrs:
        return vol
    small = vol.dtype.itemsize <= 2 or vol.dtype == np.float32
    return vol.astype(np.float32 if small else np.float64).where(~padding_of(vol))
