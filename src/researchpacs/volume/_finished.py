"""Voxels that a plan has laid out, numpy or dask, as the DataArray that was asked for."""

from typing import Any

import xarray as xr

from researchpacs.volume._labels import labelled
from researchpacs.volume.coordinates import as_volume, dims_of, named
from researchpacs.volume.plan import Plan
from researchpacs.volume.repair import repaired

__all__ = ["finished"]


def finished(planned: Plan, data: Any) -> xr.DataArray:
    """Give voxels their place; repair them where the plan says so.

    Parameters
    ----------
    planned
        Where they are.
    data
        Of the plan's shape and type.
    """
    return labelled(_placed(planned, data), planned.labels)


def _placed(planned: Plan, data: Any) -> xr.DataArray:
    if planned.affine_lps is None:
        dims = dims_of(data.ndim, planned.dimensions)
        placeless = xr.DataArray(data, dims=dims, coords=named(planned.dimensions), attrs=dict(planned.attrs))
        placeless.name = None
        return placeless
    if planned.repair:
        return repaired(planned, data)
    return as_volume(
        data,
        planned.affine_lps,
        planned.frame_of_reference_uid,
        attrs=planned.attrs,
        spacing_z_known=planned.spacing_z_known,
        offsets_mm=planned.offsets_mm,
        leading=planned.dimensions,
    )
