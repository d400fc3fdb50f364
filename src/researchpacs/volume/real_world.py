"""Real World Value Mapping: stored values as quantities with units (PS3.3 C.7.6.16.2.11).

``attrs["real_world"]`` has what a series tells of all its frames alike, as JSON: a list of mappings, each with label,
units, first and last stored value mapped, and slope and intercept or the table of values.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from researchpacs.dicom.attributes import HeaderLike, items_of, numbers_of, text_of
from researchpacs.errors import InvalidInputError, NotFoundError

__all__ = ["mappings_of", "real_world"]

STORED = "stored value"
_LARGEST_TABLE = 65_536


def mappings_of(attributes: Mapping[str, object]) -> str | None:
    """Read the mappings of a series from what its instances have in common; None where there are none.

    Parameters
    ----------
    attributes
        By keyword, sequences as lists of such mappings.
    """
    found = [told for item in _items(attributes) if (told := _mapping(item)) is not None]
    return json.dumps(found, ensure_ascii=False) if found else None


def real_world(vol: xr.DataArray, label: str | None = None) -> xr.DataArray:
    """Map stored values to the quantity they stand for.

    Parameters
    ----------
    vol
        Opened with ``rescale=False``: the mapping is one of stored values.
    label
        LUT Label of the mapping, such as ``"SUVbw"``; by default the first one.

    Returns
    -------
    quantity
        float32, of double float pixels float64; lazy as `vol` is; NaN for values that the mapping leaves out;
        ``attrs["units"]`` are its units (UCUM).

    Raises
    ------
    InvalidInputError
        The values are no stored ones, or no mapping has this label.
    NotFoundError
        The series tells no mapping that holds for all its frames.
    """
    if vol.attrs.get("units") != STORED:
        raise InvalidInputError("a Real World Value Mapping maps stored values: open the series with rescale=False")
    told = vol.attrs.get("real_world")
    if not isinstance(told, str):
        raise NotFoundError("the series tells no Real World Value Mapping that holds for all its frames")
    mappings = json.loads(told)
    chosen = next((one for one in mappings if label in (None, one["label"])), None)
    if chosen is None:
        known = ", ".join(repr(one["label"]) for one in mappings)
        raise InvalidInputError(f"label={label!r}: there are the mappings {known}")
    mapped = _mapped(vol, chosen)
    history = (*vol.attrs.get("history", ()), f"mapped to {chosen['label']} ({chosen['units']})")
    kept = {name: value for name, value in vol.attrs.items() if name not in ("padding", "real_world")}
    return mapped.assign_attrs({**kept, "units": chosen["units"], "history": history})


def _mapped(vol: xr.DataArray, mapping: Mapping[str, Any]) -> xr.DataArray:
    kind = np.float64 if vol.dtype == np.float64 else np.float32
    within = (vol >= mapping["first"]) & (vol <= mapping["last"])
    values: xr.DataArray
    if "table" in mapping:
        entries, first = np.array(mapping["table"], np.float64), int(mapping["first"])
        values = xr.apply_ufunc(
            lambda stored: entries.take(stored.astype(np.int64) - first, mode="clip"),
            vol, dask="parallelized", output_dtypes=[np.float64],
        )  # fmt: skip
    else:
        values = vol.astype(np.float64) * mapping["slope"] + mapping["intercept"]
    return values.where(within).astype(kind)


def _items(attributes: Mapping[str, object]) -> Iterator[HeaderLike]:
    """Mappings stand on top, in the group that all frames share, or in each frame's group, there all the same."""
    shared = [item for group in items_of(attributes, "SharedFunctionalGroupsSequence") for item in _group(group)]
    frames = [_group(group) for group in items_of(attributes, "PerFrameFunctionalGroupsSequence")]
    alike = frames and all(list(one) == list(frames[0]) for one in frames)
    for items in (items_of(attributes, "RealWorldValueMappingSequence"), shared, frames[0] if alike else ()):
        if items:
            yield from items
            return


def _group(group: HeaderLike) -> Sequence[HeaderLike]:
    return items_of(group, "RealWorldValueMappingSequence")


def _mapping(item: HeaderLike) -> dict[str, Any] | None:
    """One mapping; None where it is not told whole, for half a mapping gives wrong quantities."""
    first = _limit(item, "FirstValueMapped")
    last = _limit(item, "LastValueMapped")
    units = items_of(item, "MeasurementUnitsCodeSequence")
    if first is None or last is None or not units:
        return None
    told: dict[str, Any] = {
        "label": text_of(item, "LUTLabel"), "units": text_of(units[0], "CodeValue"), "first": first, "last": last,
    }  # fmt: skip
    table = numbers_of(item, "RealWorldValueLUTData")
    if table is not None:
        is_whole = len(table) == last - first + 1 <= _LARGEST_TABLE
        return {**told, "table": table} if is_whole else None
    slope, intercept = (numbers_of(item, f"RealWorldValue{name}", 1) for name in ("Slope", "Intercept"))
    if slope is None or intercept is None:
        return None
    return {**told, "slope": slope[0], "intercept": intercept[0]}


def _limit(item: HeaderLike, name: str) -> float | None:
    """Float pixels have limits of their own kind (PS3.3 C.7.6.16.2.11.1.2)."""
    found = numbers_of(item, f"DoubleFloatRealWorldValue{name}", 1) or numbers_of(item, f"RealWorldValue{name}", 1)
    return None if found is None else found[0]
