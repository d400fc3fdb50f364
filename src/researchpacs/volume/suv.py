"""PET as standardized uptake values (SUV): what a volume was opened with, times one factor."""

import json

import numpy as np
import xarray as xr

from researchpacs.dicom.suv_factors import SUV_TYPES
from researchpacs.errors import InvalidInputError

__all__ = ["FACTORS", "suv"]

FACTORS = "suv_factors"
"""The attribute that carries them: JSON of SUV Type to factor, or to the reason why there is none. It holds nothing of
the patient, for attributes are shown in notebooks."""


def suv(vol: xr.DataArray, kind: str = "BW") -> xr.DataArray:
    """Scale a PET volume to standardized uptake values.

    Parameters
    ----------
    vol
        As `open_volume` gives it, or what linear arithmetic made of it.
    kind
        SUV Type (PS3.3 C.8.9.1): ``BW`` body weight, ``LBM`` lean body mass after James, ``LBMJAMES128``, ``LBMJANMA``
        after Janmahasatian, ``BSA`` body surface after Du Bois.

    Returns
    -------
    vol
        The same grid, float32 or float64, lazy as `vol` is; g/ml, of ``BSA`` cm2/ml. ``attrs["SUVType"]`` says which.

    Raises
    ------
    InvalidInputError
        No PET, opened with ``rescale=False``, SUVs already, or a header that does not tell enough, such as the weight;
        the message says what.
    """
    if kind not in SUV_TYPES:
        raise InvalidInputError(f"kind={kind!r}: expected one of {', '.join(SUV_TYPES)}")
    if "SUVType" in vol.attrs and FACTORS not in vol.attrs:
        raise InvalidInputError(f"the volume holds SUVs of SUVType {vol.attrs['SUVType']} already")
    told = vol.attrs.get(FACTORS)
    if not isinstance(told, str) or vol.dtype == np.bool_:
        raise InvalidInputError(
            "only PET becomes SUV: a volume from open_volume of a PT series, with rescale=True and its attributes"
        )
    factor = json.loads(told)[kind]
    if isinstance(factor, str):
        series = f"series ...{str(vol.attrs.get('SeriesInstanceUID', ''))[-8:]}"
        raise InvalidInputError(f"{series} cannot be scaled to SUV ({kind}): {factor}")
    scaled: xr.DataArray = vol.astype(np.result_type(vol.dtype, np.float32), copy=False) * factor
    scaled.attrs = {name: value for name, value in vol.attrs.items() if name != FACTORS}
    scaled.attrs["units"] = "cm2/ml" if kind == "BSA" else "g/ml"
    scaled.attrs["SUVType"] = kind
    history = vol.attrs.get("history", ())
    past = (history,) if isinstance(history, str) else tuple(history)
    scaled.attrs["history"] = (*past, f"SUV ({kind}): values times {factor:.6g}")
    if "padding" in vol.attrs:
        scaled.attrs["padding"] = tuple(float(end) * factor for end in vol.attrs["padding"])
    return scaled
