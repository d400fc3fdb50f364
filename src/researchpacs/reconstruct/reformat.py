"""Planes through a volume: of the patient, or of any direction, thin or as thick slabs."""

from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from researchpacs.errors import InvalidInputError
from researchpacs.reconstruct._kernels import Interpolation
from researchpacs.reconstruct._reduce import How, as_how, mean_type, reduced
from researchpacs.reconstruct._sampling import sampled, unseen_of
from researchpacs.reconstruct.grid import Floats, Grid, Spacing, as_spacing, covering, placed
from researchpacs.volume import Dicom
from researchpacs.volume.arguments import as_number, as_triples

__all__ = ["directions_of", "reformat"]

Plane = Literal["axial", "coronal", "sagittal"]

AXES_OF_PLANE: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "axial": ((0, 0, 1), (0, -1, 0)),
    "coronal": ((0, 1, 0), (0, 0, 1)),
    "sagittal": ((-1, 0, 0), (0, 0, 1)),
}
"""LPS directions of increasing z, and of what is up in the picture."""
STEEP = 0.95
"""Cosine between a normal and head or feet from which on the front of the patient is up in the picture."""


def reformat(
    vol: xr.DataArray,
    plane: Plane | None = None,
    *,
    normal: ArrayLike | None = None,
    up: ArrayLike | None = None,
    center: ArrayLike | None = None,
    thickness: float | None = None,
    how: How = "mean",
    spacing: Spacing | None = None,
    interpolation: Interpolation = "linear",
    fill: float | None = None,
) -> xr.DataArray:
    """Lay planes of the patient, not of the scanner, through a volume.

    Parameters
    ----------
    vol
        Dimensions z, y, x; others may lead.
    plane
        Along the LPS axes, also where the acquisition is oblique. ``"axial"``: slices go up, rows back, columns left
        (orientation ``"SPL"``). ``"coronal"``: slices go back, rows down, columns left (``"PIL"``). ``"sagittal"``:
        slices go right, rows down, columns back (``"RIP"``).
    normal, up
        Instead of `plane`, oblique and double-oblique: (3,) LPS directions of increasing slices, and of what is up in
        the picture (made perpendicular; by default the head, of nearly axial planes the front). Columns follow
        right-handed.
    center
        (3,) LPS mm: one plane through this point only; without it as many as cover the volume.
    thickness
        mm of a slab around each plane, that `how` takes together: ``"max"``, ``"min"`` or ``"mean"`` of what was seen;
        padding, and what lies outside of the volume, are left out. Without `center` slabs lie side by side.
    spacing
        mm between voxel centres of the result: one number, or (z, y, x); by default the smallest spacing of `vol`, and
        between slabs their thickness.
    interpolation, fill
        As for `resample`.

    Returns
    -------
    vol
        A volume with its own geometry that covers all of `vol`: ``isel(z=k)`` is a plane as it is looked at. Lazy if
        `vol` is. Means are float32 (float64 for float64), else the type is that of `vol`.

    Raises
    ------
    InvalidInputError
        Neither a plane nor a normal, or both; a direction of no length, up along the normal; a spacing or thickness
        that is no positive number.
    GeometryError
        `vol` has no affine.
    """
    smallest = min(Dicom(vol).spacing)
    directions = directions_of(plane, normal, up)
    wanted = as_spacing(smallest if spacing is None else spacing).copy()
    through = None if center is None else as_triples(center, "center", "x, y, z in LPS mm").reshape(3)
    what = plane or "normal " + " ".join(f"{v:.4g}" for v in directions[:, 0])
    if thickness is None:
        grid = covering(vol, directions, wanted, through=through)
        data = sampled(vol, grid, interpolation=interpolation, fill=fill)
        return placed(data, grid, vol, f"reformatted: {what}, {interpolation}")
    if as_number(thickness, "thickness") <= 0:
        raise InvalidInputError(f"thickness={thickness!r}: expected mm as a positive number, or None")
    if spacing is None or through is not None or np.ndim(spacing) == 0:
        wanted[0] = thickness
    grid = covering(vol, directions, wanted, through=through)
    data = _slabs(vol, grid, float(thickness), how=as_how(how), interpolation=interpolation, fill=fill)
    done = f"reformatted: {what}, {interpolation}, {how} of slabs of {thickness:g} mm"
    return placed(data, grid, vol, done)


def directions_of(plane: str | None, normal: ArrayLike | None, up: ArrayLike | None) -> Floats:
    """Give the LPS directions of increasing z, y, x as columns, (3, 3), orthonormal and right-handed in (x, y, z)."""
    if (plane is None) == (normal is None):
        raise InvalidInputError("give either a plane, 'axial', 'coronal' or 'sagittal', or normal=")
    if plane is not None:
        if plane not in AXES_OF_PLANE:
            raise InvalidInputError(f"plane={plane!r}: expected 'axial', 'coronal' or 'sagittal'")
        z, above = (np.array(one, float) for one in AXES_OF_PLANE[plane])
        if up is not None:
            raise InvalidInputError("up= goes with normal=; a plane has its own")
    else:
        z = _unit(normal, "normal")
        upright = [0.0, 0, 1] if abs(z[2]) < STEEP else [0.0, -1, 0]
        above = _unit(upright if up is None else up, "up")
    above = above - (above @ z) * z
    if np.linalg.norm(above) < 1e-3:
        raise InvalidInputError("up= lies along normal=, so no direction in the plane is up")
    y = -above / np.linalg.norm(above)
    return np.stack([z, y, np.cross(y, z)], axis=1)


def _unit(vector: Any, name: str) -> Floats:
    found = as_triples(vector, name, "x, y, z, a direction in LPS")
    length = float(np.linalg.norm(found)) if found.shape == (3,) else 0.0
    if not np.isfinite(length) or length < 1e-9:
        raise InvalidInputError(f"{name}={vector!r}: expected three finite numbers that are not all zero")
    return found / length


def _slabs(
    vol: xr.DataArray, grid: Grid, thickness: float, *, how: How, interpolation: Interpolation, fill: float | None
) -> Any:
    """Sample planes in each slab no further apart than the voxels of the volume, and take them together."""
    count = max(1, int(np.ceil(thickness / min(Dicom(vol).spacing) - 1e-6)))
    outside = unseen_of(vol, fill)
    slabs = [
        _slab(vol, grid, k, thickness, count=count, how=how, interpolation=interpolation) for k in range(grid.shape[0])
    ]
    xp: Any = da if isinstance(slabs[0], da.Array) else np
    data = xp.stack(slabs, axis=-3)
    data = xp.where(xp.isnan(data), np.float32(outside), data)
    if how == "mean":
        return data.astype(mean_type(vol.dtype))
    return (data.round() if vol.dtype.kind in "biu" else data).astype(vol.dtype)


def _slab(
    vol: xr.DataArray, grid: Grid, k: int, thickness: float, *, count: int, how: How, interpolation: Interpolation
) -> Any:
    affine = grid.affine_lps.copy()
    normal = affine[:3, 0] / np.linalg.norm(affine[:3, 0])
    step = thickness / count
    affine[:3, 3] += affine[:3, 0] * k - normal * (thickness - step) / 2
    affine[:3, 0] = normal * step
    fine = Grid((count, *grid.shape[1:]), affine)
    data = sampled(vol, fine, interpolation=interpolation, unseen_as_nan=True)
    return reduced(data, -3, how)
