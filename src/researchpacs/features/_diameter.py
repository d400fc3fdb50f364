"""The largest distance between two points of a region's surface."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["largest_distance", "outermost"]

Floats = NDArray[np.float64]

_CELLS = 16
"""Directions are taken on a grid of so many cells along the edges of a cube around the sphere."""
_AT_ONCE = 2**22


def outermost(mask: NDArray[np.bool_]) -> Floats:
    """Give the points (n, 3), in (z, y, x) index, where lines along the axes first enter and last leave a region.

    These are vertices of its surface half-way between voxels; all others lie on a line between two of them.
    """
    points = []
    for axis in range(3):
        along = np.moveaxis(mask, axis, 0)
        hit = np.argwhere(along.any(axis=0))
        first = along.argmax(axis=0)[tuple(hit.T)]
        last = len(along) - 1 - along[::-1].argmax(axis=0)[tuple(hit.T)]
        points += [np.insert(hit.astype(np.float64), axis, ends, axis=1) for ends in (first - 0.5, last + 0.5)]
    return np.concatenate(points)


def largest_distance(points: Floats) -> float:
    """Find the largest distance between two of many points (n, 3), exactly.

    Every direction is within a known angle of one of a fixed set. So along one of these the farthest pair is nearly as
    far apart as the whole set is wide, and is found among the few points at its two ends.
    """
    directions, cosine = _directions()
    points, best = _far_enough(points - points.mean(axis=0), directions[::_CELLS])
    waiting: list[tuple[float, int]] = []
    size = max(1, _AT_ONCE // len(points))
    for start in range(0, len(directions), size):
        along = points @ directions[start : start + size].T
        low, high = along.argmin(axis=0), along.argmax(axis=0)
        best = max(best, float(np.linalg.norm(points[high] - points[low], axis=1).max()))
        widths = np.take_along_axis(along, high[None], 0)[0] - np.take_along_axis(along, low[None], 0)[0]
        waiting += zip(widths.tolist(), range(start, start + len(widths)), strict=True)
    for width, k in sorted(waiting, reverse=True):
        slack = width - best * cosine
        if slack < 0:
            break
        along = points @ directions[k]
        ends = points[along <= along.min() + slack], points[along >= along.max() - slack]
        best = max(best, _between(*ends))
    return best


def _far_enough(points: Floats, directions: Floats) -> tuple[Floats, float]:
    """Points that may be as far from another as some two are known to be, and how far those are."""
    best = 0.0
    for direction in directions:
        along = points @ direction
        best = max(best, float(np.linalg.norm(points[along.argmax()] - points[along.argmin()])))
    # No point is farther away than the farthest corner of the box around all.
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    reach = np.abs(points - middle) + np.ptp(points, axis=0) / 2
    return points[(reach**2).sum(axis=1) >= best**2 * (1 - 1e-9)], best


def _between(ones: Floats, others: Floats) -> float:
    """The largest distance from a point of one set to one of the other."""
    size = max(1, _AT_ONCE // len(others))
    squares = (others**2).sum(axis=1)
    found = 0.0
    for start in range(0, len(ones), size):
        some = ones[start : start + size]
        square = (some**2).sum(axis=1)[:, None] + squares - 2 * some @ others.T
        found = max(found, float(square.max()))
    return float(np.sqrt(max(found, 0.0)))


def _directions() -> tuple[Floats, float]:
    """Unit vectors (n, 3) over a half sphere, and the cosine of the largest angle to the nearest of them."""
    ticks = np.linspace(-1, 1, _CELLS + 1)
    u, v = (grid.ravel() for grid in np.meshgrid(ticks, ticks))
    found = np.concatenate([np.insert(np.stack([u, v], axis=1), axis, 1.0, axis=1) for axis in range(3)])
    # A direction meets the cube at most half a cell's diagonal from a grid point, at least 1 from the centre.
    angle = np.sqrt(2) / 2 * (2 / _CELLS)
    return found / np.linalg.norm(found, axis=1, keepdims=True), float(np.cos(angle))
