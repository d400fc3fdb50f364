"""Turn the axes of a volume to those of the patient, without touching a value."""

from itertools import permutations

import numpy as np
import xarray as xr

from researchpacs.errors import InvalidInputError
from researchpacs.reconstruct.grid import Grid, grid_of, leading_of, placed
from researchpacs.volume.frame import AXES

__all__ = ["reorient"]

_SIDES = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
"""Axis of the patient (x, y, z) and sense of each letter."""


def reorient(vol: xr.DataArray, to: str = "LPS") -> xr.DataArray:
    """Transpose and flip a volume so that its axes run as asked for, as near as they can without interpolation.

    Parameters
    ----------
    vol
        Dimensions z, y, x, others may lead. Lazy volumes stay lazy.
    to
        Where x, y and z (columns, rows, slices) increase to, one letter each out of L R P A S I, in the order of
        SimpleITK's DICOMOrient: ``"LPS"`` is how axial slices are looked at. Read backwards it is what
        ``vol.dicom.orientation`` says, which goes along (z, y, x).

    Returns
    -------
    vol
        The same values at the same places of the patient; an oblique volume stays oblique. Its frame is another one
        where an axis turned, so that arithmetic with the volume as it was refuses.

    Raises
    ------
    InvalidInputError
        Not three letters for three axes of the patient.
    GeometryError
        The volume has no affine.
    """
    letters = str(to).upper()
    if len(letters) != 3 or {_SIDES.get(one, (None, 0))[0] for one in letters} != {0, 1, 2}:
        raise InvalidInputError(f"to={to!r}: expected a letter for each of x, y, z out of L/R, P/A, S/I, such as 'LPS'")
    leading, grid = leading_of(vol), grid_of(vol)
    direction = grid.affine_lps[:3, :3] / np.linalg.norm(grid.affine_lps[:3, :3], axis=0)
    wanted = np.zeros((3, 3))
    for k, letter in enumerate(reversed(letters)):
        axis, sense = _SIDES[letter]
        wanted[axis, k] = sense
    likeness = direction.T @ wanted  # of each axis as it is (rows) with each as it is wanted
    order = max(permutations(range(3)), key=lambda axes: sum(abs(likeness[axes[k], k]) for k in range(3)))
    flips = [bool(likeness[order[k], k] < 0) for k in range(3)]
    turned = np.zeros((4, 4))
    turned[3, 3] = 1
    for k, (axis, is_flipped) in enumerate(zip(order, flips, strict=True)):
        turned[axis, k] = -1 if is_flipped else 1
        turned[axis, 3] = grid.shape[axis] - 1 if is_flipped else 0
    data = vol.transpose(*leading, *(AXES[axis] for axis in order)).data
    data = data[(..., *(slice(None, None, -1 if flip else 1) for flip in flips))]
    z, y, x = (grid.shape[axis] for axis in order)
    made = placed(data, Grid((z, y, x), grid.affine_lps @ turned), vol, f"reoriented: {letters}")
    along = {name: one for name, one in vol.coords.items() if name not in AXES and one.dims in {(a,) for a in AXES}}
    for name, one in along.items():  # such as which slices are interpolated
        k = order.index(AXES.index(str(one.dims[0])))
        made = made.assign_coords({name: (AXES[k], one.values[::-1] if flips[k] else one.values)})
    return made
