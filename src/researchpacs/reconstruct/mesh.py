"""A triangle mesh in the patient's frame."""

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from researchpacs.errors import InvalidInputError, UnsupportedError
from researchpacs.reconstruct._mesh_files import WRITERS, as_stl
from researchpacs.volume.arguments import as_target

__all__ = ["Mesh"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Mesh:
    """Triangles in LPS mm."""

    points_lps: NDArray[np.float64]
    """(n, 3), (x, y, z) mm."""
    faces: NDArray[np.int64]
    """(m, 3), indices of points; counter-clockwise seen from outside, so normals point outward."""
    frame_of_reference_uid: str
    """The Frame of Reference the points are in."""

    @property
    def area(self) -> float:
        """Area in mm²."""
        return float(np.linalg.norm(self._doubled_normals(), axis=1).sum() / 2)

    @property
    def volume(self) -> float:
        """Enclosed volume in mm³; of meaning for closed meshes, which `surface` makes."""
        if not len(self.faces):
            return 0.0
        # Around the middle, so that far from the origin no digits are lost.
        corners = (self.points_lps - self.points_lps.mean(axis=0))[self.faces]
        return float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the mesh, its points in LPS mm and single precision.

        Parameters
        ----------
        path
            Ends in ``.stl`` or ``.ply``, which are written binary, ``.obj`` or ``.glb``. In the last a node takes the
            points to metres with the head up and the front of the patient towards the onlooker, as glTF wants them.

        Raises
        ------
        InvalidInputError, NotFoundError
            No path of a file, or its folder does not exist; a mesh without faces as GLB, which cannot be.
        UnsupportedError
            Another suffix.
        """
        target = as_target(path)
        write = WRITERS.get(target.suffix.lower())
        if write is None:
            raise UnsupportedError(
                f"a mesh is saved as {', '.join(WRITERS)}; the name ends in {target.suffix or 'no suffix'!r}"
            )
        if not len(self.faces) and target.suffix.lower() == ".glb":
            raise InvalidInputError("a mesh without faces cannot be saved as .glb; take .stl or .ply")
        target.write_bytes(write(self.points_lps, self.faces, self._doubled_normals()))

    def as_stl(self) -> bytes:
        """Give the bytes of a binary STL, in LPS mm."""
        return as_stl(self.points_lps, self.faces, self._doubled_normals())

    def _doubled_normals(self) -> NDArray[np.float64]:
        """(m, 3) Outward, twice as long as the area of the face."""
        a, b, c = (self.points_lps[self.faces[:, k]] for k in range(3))
        normals: NDArray[np.float64] = np.cross(b - a, c - a)
        return normals

    def __repr__(self) -> str:
        return f"Mesh({len(self.points_lps):,} points, {len(self.faces):,} faces)"
