"""How large a region is, and how round."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from researchpacs.features._cubes import enclosed
from researchpacs.features._diameter import largest_distance, outermost
from researchpacs.features._region import as_mask, as_steps

__all__ = ["shape"]

Floats = NDArray[np.float64]


def shape(mask: Any, *, spacing: Sequence[float] | None = None) -> dict[str, float]:
    """Describe the shape of a region by the morphological features of the IBSI (HCUG).

    The surface is that of marching cubes, half-way between voxel centres; the region ends at the border of the array.

    Parameters
    ----------
    mask
        (z, y, x), true or 1 inside: a volume, such as ``vol > 300``, or a plain array.
    spacing
        Of a plain array: mm along z, y, x. A volume knows its own.

    Returns
    -------
    features
        By name: mesh_volume_mm3 (RNU0), voxel_volume_mm3 (YEKZ), surface_area_mm2 (C0JK), surface_to_volume_ratio in
        1/mm (2PR5), compactness_1 (SKGS), compactness_2 (BQWJ), spherical_disproportion (KRCK), sphericity (QCFX),
        asphericity (25C7), maximum_3d_diameter_mm (L0JK), major_axis_length_mm (TDIC), minor_axis_length_mm (P9VJ),
        least_axis_length_mm (7J51), elongation (Q3CK) and flatness (N17B). The last five are NaN for one voxel.

    Raises
    ------
    InvalidInputError
        An empty mask, values other than 0 and 1, no spacing.
    GeometryError
        The volume has no even spacing.
    """
    steps = as_steps(mask, spacing)
    inside = _cropped(as_mask(mask))
    volume, area = enclosed(inside, steps)
    of_sphere = (36 * math.pi * volume**2) ** (1 / 3)
    return {
        "mesh_volume_mm3": volume,
        "voxel_volume_mm3": int(inside.sum()) * abs(float(np.linalg.det(steps))),
        "surface_area_mm2": area,
        "surface_to_volume_ratio": area / volume,
        "compactness_1": volume / math.sqrt(math.pi * area**3),
        "compactness_2": 36 * math.pi * volume**2 / area**3,
        "spherical_disproportion": area / of_sphere,
        "sphericity": of_sphere / area,
        "asphericity": area / of_sphere - 1,
        "maximum_3d_diameter_mm": largest_distance(outermost(inside) @ steps.T),
        **_axes(inside, steps),
    }


def _cropped(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The box around what is inside."""
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        mask = mask.take(range(hit[0], hit[-1] + 1), axis=axis)
    return mask


def _axes(inside: NDArray[np.bool_], steps: Floats) -> dict[str, float]:
    """Lengths along the principal axes of the voxel centres, and their ratios."""
    names = ("least_axis_length_mm", "minor_axis_length_mm", "major_axis_length_mm")
    if inside.sum() < 2:
        return dict.fromkeys([*names, "elongation", "flatness"], math.nan)
    points = np.argwhere(inside) @ steps.T
    # The IBSI's reference values are those of the sample covariance.
    spread = np.linalg.eigvalsh(np.cov(points.T)).clip(0)
    least, minor, major = (4 * np.sqrt(spread)).tolist()
    return {
        **dict(zip(names, (least, minor, major), strict=True)),
        "elongation": minor / major,
        "flatness": least / major,
    }
