"""The patient frame of a volume: directions of its axes and its Frame of Reference, in the coordinate ``frame``.

`D` is the (3, 3) matrix whose columns are the LPS unit vectors of increasing z, y, x coordinate. With the coordinates
``c = D^-1 p`` of the axes, every voxel is at ``p = D (c_z, c_y, c_x)``.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from researchpacs.errors import GeometryError

__all__ = ["AXES", "FRAME", "PatientFrame", "frame_of"]

AXES = ("z", "y", "x")
FRAME = "frame"
NEGLIGIBLE = 1e-12
"""A cosine that moves a voxel a metre away by a picometre."""


@dataclass(frozen=True, slots=True)
class PatientFrame:
    """Where the axes of an array point, and in which Frame of Reference."""

    directions: tuple[float, ...]
    """`D`, nine numbers, row by row."""
    uid: str
    """FrameOfReferenceUID."""

    @classmethod
    def of(cls, directions: ArrayLike, uid: str) -> "PatientFrame":
        """Build one from a (3, 3) matrix whose columns are the directions of z, y, x."""
        cosines = np.asarray(directions, np.float64).ravel()
        # Denormal numbers make ITK's inverse wrong without an error; nothing as small says where an axis points.
        cosines = np.where(np.abs(cosines) < NEGLIGIBLE, 0.0, cosines)
        return cls(tuple(cosines.tolist()), str(uid))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """`D` as (3, 3)."""
        return np.reshape(np.asarray(self.directions, np.float64), (3, 3))

    @property
    def key(self) -> str:
        """The value of ``frame``: a hash of the UID and of the directions to six digits, as headers hold them."""
        digits = [f"{v:.6f}" for v in np.round(self.directions, 6) + 0.0]
        return hashlib.sha256(f"{digits}|{self.uid}".encode()).hexdigest()[:12]

    def coordinate(self) -> tuple[tuple[()], str, dict[str, Any]]:
        """Give the scalar coordinate ``frame`` in the form xarray takes it."""
        return (), self.key, {"direction": list(self.directions), "frame_of_reference_uid": self.uid}


def frame_of(vol: xr.DataArray) -> PatientFrame:
    """Read the patient frame of an array.

    The value of the coordinate ``frame`` decides. Its attributes, or the index of an axis, are believed only if they
    hash to it: so edited attributes are refused, and dropped ones do no harm.

    Raises
    ------
    GeometryError
        There is no such coordinate, as after an operation on arrays of different frames, or nothing hashes to it.
    """
    if FRAME not in vol.coords or vol.coords[FRAME].ndim:
        raise GeometryError(
            "the array has no scalar coordinate 'frame': an operation dropped it, as xarray does where two arrays of "
            "different frames meet; take the geometry from one of the operands, or resample one onto the other first"
        )
    coordinate = vol.coords[FRAME]
    of_axes = [getattr(index, "frame", None) for index in vol.xindexes.values()]
    held = [frame for frame in of_axes if isinstance(frame, PatientFrame)]
    if len(coordinate.attrs.get("direction", ())) == 9:
        held.append(PatientFrame.of(coordinate.attrs["direction"], coordinate.attrs.get("frame_of_reference_uid", "")))
    for frame in held:
        if frame.key == str(coordinate.values):
            return frame
    raise GeometryError(
        "the attributes of the coordinate 'frame' were dropped or edited: they no longer belong to its value; "
        "take the coordinate from the array as it was opened"
    )
