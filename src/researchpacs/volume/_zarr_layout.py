"""A volume as a Dataset that Zarr holds as it is: attributes as JSON has them, texts of a type that is specified."""

from typing import Any

import numpy as np
import xarray as xr

from researchpacs.errors import MissingExtraError
from researchpacs.volume.dataset import IMAGE
from researchpacs.volume.frame import FRAME

__all__ = ["as_stored", "require_zarr"]


def require_zarr(what: str) -> None:
    """Refuse where Zarr is not installed.

    Raises
    ------
    MissingExtraError
        Says how `what` becomes possible.
    """
    try:
        import zarr  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(what, "zarr") from error


def as_stored(vol: xr.DataArray) -> xr.Dataset:
    """Give the Dataset that is written; its variable is ``image``, its coordinates are all the volume's.

    `researchpacs.restore` sets the indexes again when it is read.
    """
    found = vol.copy(deep=False)
    found.encoding = {}
    found.attrs = _plain(vol.attrs)
    held = found.to_dataset(name=IMAGE)
    for name in list(held.coords):
        coordinate = held.coords[name]
        values = coordinate.values
        # Texts of a fixed length have no specification in Zarr 3.
        values = values.astype(np.dtypes.StringDType()) if values.dtype.kind == "U" else values
        if name == FRAME or values is not coordinate.values:
            held = held.assign_coords({name: (coordinate.dims, values, _plain(coordinate.attrs))})
    return held


def _plain(attrs: Any) -> dict[str, Any]:
    return {str(name): _as_json(value) for name, value in attrs.items()}


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_as_json(one) for one in value]
    if isinstance(value, dict):
        return _plain(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
