"""A grid of voxels in the patient: how many along z, y, x, and where.

A volume that is put on a grid keeps what leads its dimensions, such as time.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.volume import Dicom, as_volume
from researchpacs.volume.frame import AXES, FRAME

__all__ = ["Grid", "as_spacing", "centred", "covering", "grid_of", "leading_of", "placed", "require_plain"]

Floats = NDArray[np.floating[Any]]
Spacing = float | tuple[float, float, float]

LARGEST_VOXELS = 2**31


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Voxels at ``affine_lps @ (z, y, x, 1)``."""

    shape: tuple[int, int, int]
    """Along z, y, x."""
    affine_lps: Floats
    """(4, 4): voxel index (z, y, x, 1) to LPS mm."""


def grid_of(vol: xr.DataArray) -> Grid:
    """Read the grid of a volume.

    Raises
    ------
    GeometryError
        It has no affine.
    """
    affine = Dicom(vol).affine_lps
    z, y, x = (vol.sizes[axis] for axis in AXES)
    return Grid((z, y, x), affine)


def centred(vol: xr.DataArray, spacing: Floats) -> Grid:
    """Lay a grid of another spacing into the box of the old one, around its middle."""
    dicom = Dicom(vol)
    counts = np.array(grid_of(vol).shape)
    return _laid_out(counts * dicom.spacing, spacing, dicom.to_lps((counts - 1) / 2), dicom.direction)


def covering(vol: xr.DataArray, directions: Floats, spacing: Floats, *, through: Floats | None = None) -> Grid:
    """Lay a grid of other directions around all of a volume.

    Parameters
    ----------
    directions
        (3, 3): columns are the LPS unit vectors of increasing z, y, x.
    spacing
        (3,) mm along z, y, x.
    through
        (3,) LPS mm: one plane only, through this point.
    """
    dicom = Dicom(vol)
    # Voxels have extent: the box holds their outer corners, half a voxel beyond the centres.
    ends = [(-0.5, vol.sizes[axis] - 0.5) for axis in AXES]
    corners = dicom.to_lps(np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1).T) @ directions
    low, high = corners.min(axis=0), corners.max(axis=0)
    if through is not None:
        low[0] = high[0] = through @ directions[:, 0]
    return _laid_out(high - low, spacing, directions @ (low + high) / 2, directions)


def as_spacing(spacing: Any) -> Floats:
    """Parse mm along z, y, x, (3,).

    Raises
    ------
    InvalidInputError
        Neither one positive number nor three.
    """
    try:
        values = np.broadcast_to(np.asarray(spacing, np.float64), (3,))
    except (TypeError, ValueError):
        values = np.zeros(3)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise InvalidInputError(f"spacing={spacing!r}: expected mm as one positive number or three, (z, y, x)")
    return values


def leading_of(vol: xr.DataArray) -> tuple[Hashable, ...]:
    """Name the dimensions that lead z, y, x, such as time.

    Raises
    ------
    GeometryError
        An axis is gone, or the array has colours.
    """
    if not set(AXES) <= set(vol.dims) or "rgb" in vol.dims:
        raise GeometryError(f"the array has dimensions {tuple(vol.dims)}; expected z, y and x, and no colour")
    return tuple(name for name in vol.dims if name not in AXES)


def require_plain(*volumes: xr.DataArray) -> None:
    """Refuse what has other dimensions than z, y, x.

    Raises
    ------
    GeometryError
        An axis is gone, or others lead.
    """
    if any(leading_of(vol) for vol in volumes):
        raise GeometryError(
            "expected dimensions z, y, x; select one of what leads them first, as with vol.isel(time=0)"
        )


def placed(data: Any, grid: Grid, vol: xr.DataArray, done: str, *, uid: str | None = None) -> xr.DataArray:
    """Give values made of a volume the place of another grid, its attributes, and one more line of history.

    Parameters
    ----------
    data
        (leading..., z, y, x), the leading dimensions those of `vol`.
    uid
        The Frame of Reference of the grid, by default that of `vol`.
    """
    leading = leading_of(vol)
    empty = np.broadcast_to(np.zeros((), np.int8), grid.shape)
    template = as_volume(empty, grid.affine_lps, uid or Dicom(vol).frame_of_reference_uid)
    kept = {name: one for name, one in vol.coords.items() if name != FRAME and not set(one.dims) & set(AXES)}
    coords = template.coords.assign(kept)
    made = xr.DataArray(data, dims=(*leading, *AXES), coords=coords, name=vol.name, attrs=vol.attrs)
    return made.assign_attrs(history=(*vol.attrs.get("history", ()), done))


def _laid_out(extent_mm: Floats, spacing: Floats, middle: Floats, directions: Floats) -> Grid:
    counts = np.maximum(1, np.floor(extent_mm / spacing + 1e-3)).astype(np.intp)
    if counts.prod(dtype=float) > LARGEST_VOXELS:
        size = " x ".join(map(str, counts.tolist()))
        raise InvalidInputError(f"a spacing of {spacing.tolist()} mm asks for {size} voxels; take a larger one")
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = middle - affine[:3, :3] @ ((counts - 1) / 2)
    z, y, x = counts.tolist()
    return Grid((z, y, x), affine)
