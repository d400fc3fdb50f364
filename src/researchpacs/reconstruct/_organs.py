"""The body and the lungs in a CT.

What is connected with what is decided on voxels of about 2 mm, where morphology is quick; which voxels belong is then
decided anew, by their own values, along the border that was found.
"""

import numpy as np
import xarray as xr

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.reconstruct import _morphology as morphology
from researchpacs.reconstruct._sampling import sampled
from researchpacs.reconstruct.grid import Grid, grid_of, leading_of, placed
from researchpacs.reconstruct.resample import resample
from researchpacs.volume import Dicom
from researchpacs.volume.frame import AXES
from researchpacs.volume.padding import padding_of

__all__ = ["body", "lungs"]

COARSE_MM = 2.0
SKIN_HU = -350.0
LUNG_HU = -450.0
TABLE_MM = 3.0
"""Half of what joins body and table at most, where clothes or a strap touch both."""
SMALLEST_LUNG_ML = 80.0
AIRWAY_HU = -950.0
"""Air in the windpipe; lungs are denser."""
AIRWAY_ML = (3.0, 150.0)
VESSEL_MM = 6.0
"""Half the width of vessels that a lung mask closes over."""
BORDER_MM = 2.5
"""How far the border that is found on coarse voxels may be off."""


def body(vol: xr.DataArray) -> xr.DataArray:
    """Find the body in a CT: the largest thing denser than air, without the table, lungs and gut included.

    Parameters
    ----------
    vol
        HU, dimensions z, y, x; slices across the body. Read into memory.

    Raises
    ------
    InvalidInputError
        Nothing is as dense and thick as a body, or the values are not HU.
    """
    vol = _hounsfield(vol)
    found = _coarse_body(_coarse(vol))
    return morphology.noted(_refined(found, vol, _between(vol, low=SKIN_HU)), vol, "body")


def lungs(vol: xr.DataArray) -> xr.DataArray:
    """Find the lungs in a CT: air-filled tissue in the body, with the vessels in it, without the windpipe.

    Parameters
    ----------
    vol
        HU, dimensions z, y, x; slices across the body. Read into memory.

    Raises
    ------
    InvalidInputError
        There is no lung in the volume, or the values are not HU.
    """
    vol = _hounsfield(vol)
    coarse = _coarse(vol)
    inside = _coarse_body(coarse)
    airway = _airway(inside & _between(coarse, high=AIRWAY_HU))
    airy = inside & _between(coarse, high=LUNG_HU) & ~airway
    found = morphology.parts(airy, smallest_mm3=SMALLEST_LUNG_ML * 1000)
    sizes = np.bincount(found.values.ravel(), minlength=3)[1:3]
    if not sizes[0]:
        raise InvalidInputError(f"no lung of {SMALLEST_LUNG_ML:g} ml or more is in the volume")
    # Two lungs, or one; or both as one part, where they meet. Gas in the gut is much smaller.
    tissue = found.isin([k + 1 for k, size in enumerate(sizes) if size >= sizes[0] / 10])
    closed = morphology.eroded(morphology.dilated(tissue, VESSEL_MM), VESSEL_MM) | tissue
    whole = morphology.fill(closed, along="z") & inside & ~airway
    return morphology.noted(_refined(whole, vol, _between(vol, high=LUNG_HU)), vol, "lungs")


def _hounsfield(vol: xr.DataArray) -> xr.DataArray:
    if leading_of(vol):
        raise GeometryError(f"expected dimensions z, y, x; found {tuple(vol.dims)}")
    grid_of(vol)
    if vol.attrs.get("units", "HU") != "HU" or vol.dtype.kind not in "if":
        raise InvalidInputError(f"expected a CT in HU; the values are {vol.attrs.get('units', vol.dtype)}")
    vol = vol.compute().transpose(*AXES)
    if "padding" not in vol.attrs:
        return vol
    return vol.where(~padding_of(vol), -1000).astype(vol.dtype).assign_attrs(padding=None)


def _coarse(vol: xr.DataArray) -> xr.DataArray:
    """Voxels of about 2 mm that fill the very box of the volume."""
    dicom, shape = Dicom(vol), np.array(grid_of(vol).shape)
    extent = shape * np.array(dicom.spacing)
    counts = np.maximum(1, np.minimum(shape, np.round(extent / COARSE_MM))).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = dicom.direction * (extent / counts)
    affine[:3, 3] = dicom.to_lps((shape - 1) / 2) - affine[:3, :3] @ ((counts - 1) / 2)
    z, y, x = counts.tolist()
    grid = Grid((z, y, x), affine)
    values = vol.drop_attrs(deep=False)
    return placed(sampled(values, grid), grid, values, "coarse")


def _coarse_body(coarse: xr.DataArray) -> xr.DataArray:
    dense = _between(coarse, low=SKIN_HU)
    # What is thin, as a table's shell is, goes; the rest comes back to its full size.
    core = morphology.eroded(dense, TABLE_MM)
    if not core.any():
        raise InvalidInputError(f"nothing is denser than {SKIN_HU:g} HU and thicker than {2 * TABLE_MM:g} mm: no body")
    largest = morphology.parts(core) == 1
    grown = morphology.dilated(largest, TABLE_MM) & dense
    return morphology.fill(morphology.parts(grown) == 1, along="z")


def _airway(air: xr.DataArray) -> xr.DataArray:
    """The part of the air in a body that runs furthest along z, of the size of a windpipe."""
    thick = morphology.dilated(morphology.eroded(air, COARSE_MM), 1.5 * COARSE_MM) & air
    numbered = morphology.parts(thick, smallest_mm3=AIRWAY_ML[0] * 1000)
    voxel_ml = float(np.prod(Dicom(air).spacing)) / 1000
    sizes = np.bincount(numbered.values.ravel())[1:] * voxel_ml
    runs = [
        int((numbered == k + 1).any(("y", "x")).sum()) if size <= AIRWAY_ML[1] else 0 for k, size in enumerate(sizes)
    ]
    if not any(runs):
        return xr.zeros_like(air)
    return morphology.dilated(numbered == int(np.argmax(runs)) + 1, COARSE_MM)


def _refined(coarse: xr.DataArray, vol: xr.DataArray, member: xr.DataArray) -> xr.DataArray:
    """Take a mask to the voxels of a volume: sure well inside, by `member` along its border."""
    core, wide = (
        resample(one.astype(np.float32), like=vol) >= 0.5
        for one in (morphology.eroded(coarse, BORDER_MM), morphology.dilated(coarse, BORDER_MM))
    )
    return core | (wide & member)


def _between(vol: xr.DataArray, low: float = -np.inf, high: float = np.inf) -> xr.DataArray:
    return (vol >= low) & (vol <= high)
