"""Masks on the grid of a volume: by value, from seeds, in parts, filled, smoothed; of a CT the body and the lungs.

A mask is a volume of booleans with the very coordinates of the volume it is of. `threshold` stays lazy; the others look
at all of the volume, read it, and give what is in memory.
"""

import numpy as np
import SimpleITK
import xarray as xr
from numpy.typing import ArrayLike

from researchpacs.errors import InvalidInputError
from researchpacs.reconstruct._morphology import as_mask, fill, image_of, noted, parts
from researchpacs.reconstruct._organs import body, lungs
from researchpacs.reconstruct.grid import grid_of
from researchpacs.volume import Dicom
from researchpacs.volume.arguments import as_number, as_triples
from researchpacs.volume.padding import padding_of

__all__ = ["body", "fill", "grow", "lungs", "parts", "smooth", "threshold"]


def threshold(vol: xr.DataArray, low: float | None = None, high: float | None = None) -> xr.DataArray:
    """Mark the voxels from `low` to `high`, both included; padding and NaN are in no mask.

    Parameters
    ----------
    vol
        Any dimensions.
    low, high
        In the units of the values; at least one of them.
    """
    if low is None and high is None:
        raise InvalidInputError("a threshold needs low=, high= or both")
    limits = [None if one is None else as_number(one, name) for one, name in ((low, "low"), (high, "high"))]
    mask = ~padding_of(vol) if "padding" in vol.attrs else xr.ones_like(vol, dtype=np.bool_)
    if limits[0] is not None:
        mask = mask & (vol >= limits[0])
    if limits[1] is not None:
        mask = mask & (vol <= limits[1])
    return noted(mask, vol, f"threshold: {'' if low is None else f'{low:g} '}to{'' if high is None else f' {high:g}'}")


def grow(vol: xr.DataArray, seeds_lps: ArrayLike, low: float | None = None, high: float | None = None) -> xr.DataArray:
    """Mark what is connected with the seeds, face to face, through voxels from `low` to `high`.

    Parameters
    ----------
    vol
        Dimensions z, y, x.
    seeds_lps
        (3,) or (n, 3), (x, y, z) mm. A seed out of the range grows nothing.

    Raises
    ------
    InvalidInputError
        A seed outside of the volume.
    """
    seeds = as_triples(seeds_lps, "seeds_lps", "x, y, z in LPS mm").reshape(-1, 3)
    index = np.rint(Dicom(vol).to_index(seeds)).astype(int)
    if not ((index >= 0) & (index < grid_of(vol).shape)).all():
        raise InvalidInputError("a seed lies outside of the volume")
    allowed = image_of(threshold(vol, low, high))
    spots = [[int(v) for v in one[::-1]] for one in index]
    grown = SimpleITK.ConnectedThreshold(allowed, seedList=spots, lower=1, upper=1, replaceValue=1)
    return as_mask(grown, vol, f"grown from {len(seeds)} seeds")


def smooth(mask: xr.DataArray, *, sigma_mm: float = 1.5) -> xr.DataArray:
    """Round the border of a mask: where a Gaussian of it is half or more; flat borders stay where they are.

    Parameters
    ----------
    mask
        Booleans, dimensions z, y, x.
    sigma_mm
        What is much thinner goes.
    """
    if as_number(sigma_mm, "sigma_mm") <= 0:
        raise InvalidInputError(f"sigma_mm={sigma_mm!r}: expected mm as a positive number")
    # A border on which the mask stands is not one of the object: it goes on there.
    reach = [int(np.ceil(4 * sigma_mm / mm)) for mm in reversed(Dicom(mask).spacing)]
    image = SimpleITK.ZeroFluxNeumannPad(SimpleITK.Cast(image_of(mask), SimpleITK.sitkFloat32), reach, reach)
    variance = [sigma_mm**2] * 3
    blurred = SimpleITK.DiscreteGaussian(image, variance=variance, maximumKernelWidth=2 * max(reach) + 1)
    return as_mask(SimpleITK.Crop(blurred, reach, reach) >= 0.5, mask, f"smoothed: sigma {sigma_mm:g} mm")
