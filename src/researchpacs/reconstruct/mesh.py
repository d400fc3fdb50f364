"""A triangle mesh in the patient's frame, and binary STL."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from researchpacs.errors import UnsupportedError
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
        """Write the mesh as binary STL, in LPS mm.

        Parameters
        ----------
        path
            Ends in ``.stl``.

        Raises
        ------
        InvalidInputError, NotFoundError
            No path of a file, or its folder does not exist.
        UnsupportedError
            Another suffix.
        """
        target = as_target(path)
        if target.suffix.lower() != ".stl":
            raise UnsupportedError(
                f"a mesh is saved as .stl; other formats, such as {target.suffix or 'none'!r}, come later"
            )
        target.write_bytes(self.as_stl())

    def as_stl(self) -> bytes:
        """Give the bytes of a binary STL, in LPS mm."""
        return _as_stl(self.points_lps[self.faces], self._doubled_normals())

    def _doubled_normals(self) -> NDArray[np.float64]:
        """(m, 3) Outward, twice as long as the area of the face."""
        a, b, c = (self.points_lps[self.faces[:, k]] for k in range(3))
        normals: NDArray[np.float64] = np.cross(b - a, c - a)
        return normals

    def __repr__(self) -> str:
        return f"Mesh({len(self.points_lps):,} points, {len(self.faces):,} faces)"


TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def _as_stl(corners: NDArray[np.float64], normals: NDArray[np.float64]) -> bytes:
    triangles: NDArray[Any] = np.zeros(len(corners), TRIANGLE)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    triangles["corners"] = corners
    # The header must not begin with "solid": readers take such files for text.
    header = b"binary STL, LPS mm".ljust(80)
    return header + len(corners).to_bytes(4, "little") + bytes(triangles.tobytes())
