"""A field of displacements in the patient, cubic B-splines on a lattice of control points, as ITK has them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

__all__ = ["Deformation", "affine_of"]

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Deformation:
    """Points go to ``after @ (p + u(p))``, p and u in LPS mm."""

    parameters: Floats
    """Of the splines: displacements in mm along x at every control point, then along y, then along z."""
    fixed_parameters: Floats
    """Of the lattice, as ITK keeps them."""
    after: Floats
    """(4, 4), what follows."""

    @property
    def reach_mm(self) -> Floats:
        """(3,) along x, y, z: no point is moved further, for splines stay within the hull of their control points."""
        reach: Floats = np.abs(self.parameters.reshape(3, -1)).max(axis=1)
        return reach

    def followed_by(self, matrix: Floats) -> "Deformation":
        """Give the deformation with one more (4, 4) behind it."""
        return replace(self, after=matrix @ self.after)

    def displacement(self) -> SimpleITK.BSplineTransform:
        """Give ``p + u(p)`` as ITK's transform."""
        splines = SimpleITK.BSplineTransform(3, 3)
        splines.SetFixedParameters(self.fixed_parameters.tolist())
        splines.SetParameters(self.parameters.tolist())
        return splines

    def between(self, before: Floats) -> SimpleITK.Transform:
        """Give the whole way from indices to indices as ITK's transform of (x, y, z).

        Parameters
        ----------
        before
            (3, 4) or (4, 4): index (z, y, x, 1) to LPS mm; `after` has then to lead to indices (z, y, x).
        """
        way = SimpleITK.CompositeTransform(3)
        way.AddTransform(affine_of(self.after[[2, 1, 0]]))
        way.AddTransform(self.displacement())
        way.AddTransform(affine_of(before[:3, [2, 1, 0, 3]]))  # what was added last comes first
        return way


def affine_of(matrix: Floats) -> SimpleITK.AffineTransform:
    """Give a (3, 4) matrix as ITK's transform."""
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    return transform
