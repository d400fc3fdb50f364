"""Take over the patient frame of another volume, where only the last digits of directions tell the two apart."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.volume.coordinates import DIGITS, affine_lps, indexed, steps
from researchpacs.volume.frame import AXES, FRAME, PatientFrame, frame_of
from researchpacs.volume.index import TOLERANCE_MM

__all__ = ["adopt"]


def adopt(vol: xr.DataArray, *, like: xr.DataArray) -> xr.DataArray:
    """Give a volume the directions and coordinates of another one, so that the two align.

    Directions are compared to six digits. Where noise of headers or of float32 makes them differ, arithmetic raises
    though no voxel is elsewhere; this settles it, and checks that no voxel moves.

    Parameters
    ----------
    vol
        A volume; of any size, also a crop of the other's grid or a stack beside it.
    like
        Gives the frame, and, where voxels coincide, its very coordinates.

    Returns
    -------
    vol
        The same data.

    Raises
    ------
    InvalidInputError
        One of them is no volume.
    GeometryError
        The Frames of Reference are others, or a voxel would move by more than 1e-3 mm: that is no noise.
    """
    for name, given in (("vol", vol), ("like", like)):
        if not isinstance(given, xr.DataArray):
            raise InvalidInputError(f"{name}: expected a volume, an xarray.DataArray; found {type(given).__name__}")
    mine, theirs = frame_of(vol), frame_of(like)
    if mine.uid != theirs.uid:
        raise GeometryError(
            f"the Frames of Reference are ...{mine.uid[-8:]} and ...{theirs.uid[-8:]}: that the same coordinates mean "
            "the same place in both is not said anywhere; register the volumes"
        )
    along = steps(vol)
    coords = _coordinates(vol, theirs, along)
    _require_same_places(vol, theirs, coords, along)
    taken: dict[Any, Any] = {axis: (axis, _met(coords[axis], like, axis), dict(vol[axis].attrs)) for axis in AXES}
    bare = vol.drop_indexes([axis for axis in AXES if axis in vol.xindexes])
    placed = bare.assign_coords({**taken, FRAME: theirs.coordinate()})
    return indexed(placed, theirs, dict(zip(AXES, along.tolist(), strict=True)))


def _coordinates(vol: xr.DataArray, frame: PatientFrame, along: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Where the voxels are along the axes of another frame."""
    first = np.linalg.solve(frame.matrix, affine_lps(vol)[:3, 3])
    return {
        axis: np.round(start + step * np.arange(vol.sizes[axis]), DIGITS) + 0.0
        for axis, start, step in zip(AXES, first, along, strict=True)
    }


def _require_same_places(
    vol: xr.DataArray, frame: PatientFrame, coords: dict[str, NDArray[np.float64]], along: NDArray[np.float64]
) -> None:
    """Compare the corners: both grids are even, so that no voxel between them is further off."""
    moved = np.eye(4)
    moved[:3, :3] = frame.matrix * along
    moved[:3, 3] = frame.matrix @ [coords[axis][0] for axis in AXES]
    corners = np.array(np.meshgrid(*[(0, vol.sizes[axis] - 1) for axis in AXES], (1,), indexing="ij")).reshape(4, -1)
    gap = float(np.linalg.norm(((affine_lps(vol) - moved) @ corners)[:3], axis=0).max())
    if gap > TOLERANCE_MM:
        raise GeometryError(
            f"voxels would move by up to {gap:.4f} mm, more than {TOLERANCE_MM} mm: the directions differ by more than "
            "noise; resample one onto the other with researchpacs.reconstruct.resample(vol, like=other)"
        )


def _met(values: NDArray[np.float64], like: xr.DataArray, axis: str) -> NDArray[np.float64]:
    """Take the other's coordinates where every one of these is among them."""
    if axis not in like.dims or axis not in like.coords:
        return values
    others = pd.Index(like[axis].values).sort_values()
    if not others.is_unique:
        return values
    found = others.get_indexer(pd.Index(values), method="nearest", tolerance=TOLERANCE_MM)
    return np.asarray(others.values[found], np.float64) if (found >= 0).all() else values
