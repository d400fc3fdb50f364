"""Apparent diffusion coefficient of diffusion-weighted MR: how fast signal falls with the b-value."""

import numpy as np
import xarray as xr

from researchpacs.errors import InvalidInputError

__all__ = ["adc"]

_UNITS = "mm2/s"


def adc(vol: xr.DataArray) -> xr.DataArray:
    """Fit ``ln S = ln S0 - b ADC`` by least squares, voxel by voxel, over all images along ``b_value``.

    Images of several gradient directions count alike, so that the result is the mean over directions where each was
    taken with the same b-values.

    Parameters
    ----------
    vol
        With a dimension ``b_value`` in s/mm2 that has two values or more; magnitudes.

    Returns
    -------
    adc
        mm2/s, without ``b_value``, on the same grid, float32; lazy as `vol` is. NaN where a signal is not positive.

    Raises
    ------
    InvalidInputError
        There is no such dimension, or all b-values are the same.
    """
    told = vol.coords.get("b_value")
    if told is None or "b_value" not in vol.dims or vol.dtype == np.bool_:
        raise InvalidInputError(
            f"an ADC needs diffusion-weighted images: a volume with a dimension 'b_value'; found {tuple(vol.dims)}"
        )
    b_values = told.values.astype(np.float64)
    off = b_values - b_values.mean()
    spread = float(off @ off)
    if not spread > 0:
        raise InvalidInputError("an ADC needs b-values that differ")
    weights = xr.DataArray(off / spread, dims="b_value", coords={"b_value": told.values})
    signal = vol.astype(np.float64)
    logarithm: xr.DataArray = xr.apply_ufunc(np.log, signal.where(signal > 0), dask="allowed")
    slope = (logarithm * weights).sum("b_value", skipna=False)
    found: xr.DataArray = (-slope).astype(np.float32)
    history = vol.attrs.get("history", ())
    past = (history,) if isinstance(history, str) else tuple(history)
    kept = ("Modality", "SeriesInstanceUID", "StudyInstanceUID")
    found.attrs = {name: vol.attrs[name] for name in kept if name in vol.attrs}
    found.attrs |= {"units": _UNITS, "history": (*past, f"ADC: least squares over {len(b_values)} images")}
    return found
