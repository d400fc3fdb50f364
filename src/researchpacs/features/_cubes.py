"""Marching cubes through a mask: the volume within the surface half-way between voxel centres, and its area.

Between eight neighbouring voxels the surface depends only on which of them are inside. So the patches of all 256 cases
are laid once, and the mask only says how often each case occurs. Where two voxels touch diagonally, the surface passes
between them. A patch whose corners are not in one plane is cut into the triangles of greatest area between voxels as
cubes: that is how the IBSI's reference values were found, and it holds whatever way the array is turned.
"""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

__all__ = ["enclosed"]

Floats = NDArray[np.float64]
Corner = tuple[int, int, int]
Place = tuple[float, float, float]

_CORNERS: tuple[Corner, ...] = tuple((z, y, x) for z, y, x in product((0, 1), repeat=3))
_FACES = tuple((axis, side) for axis in range(3) for side in (0, 1))


def enclosed(mask: NDArray[np.bool_], steps: Floats) -> tuple[float, float]:
    """Measure the surface of a mask.

    Parameters
    ----------
    mask
        (z, y, x).
    steps
        (3, 3): columns are the steps in mm along z, y, x.

    Returns
    -------
    volume, area
        mm3 and mm2.
    """
    counts = _case_counts(mask)
    volume = area = 0.0
    for case in np.flatnonzero(counts):
        part, patch = _measured(int(case), steps)
        volume += float(counts[case]) * part
        area += float(counts[case]) * patch
    return volume * abs(float(np.linalg.det(steps))), area


def _case_counts(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How often each of the 256 cases occurs."""
    padded = np.pad(mask, 1)
    counts = np.zeros(256, np.int64)
    for upper, lower in pairwise(padded):
        planes = (upper, lower)
        cases = np.zeros((padded.shape[1] - 1, padded.shape[2] - 1), np.uint8)
        for bit, (z, y, x) in enumerate(_CORNERS):
            rows, columns = cases.shape
            cases |= planes[z][y : y + rows, x : x + columns].astype(np.uint8) << bit
        counts += np.bincount(cases.ravel(), minlength=256)
    return counts


def _measured(case: int, steps: Floats) -> tuple[float, float]:
    """The volume inside (of a unit cube) and the area in mm2 of one case."""
    # By the divergence theorem, seen from the corner (0, 0, 0): only the three far sides and the patches count.
    volume = sum(_share(case, axis) for axis in range(3)) / 3
    area = 0.0
    for loop in _loops(case):
        patch, flux = _filled(np.array(loop), steps)
        area += patch
        volume += flux / 6
    return volume, area


def _share(case: int, axis: int) -> float:
    """How much of the far side along an axis is inside."""
    inside = [corner for corner in _inside(case) if corner[axis] == 1]
    if len(inside) == 2:
        touching = sum(abs(a - b) for a, b in zip(*inside, strict=True)) == 1
        return 1 / 2 if touching else 1 / 4
    return (0, 1 / 8, 0, 7 / 8, 1)[len(inside)]


def _inside(case: int) -> list[Corner]:
    return [corner for bit, corner in enumerate(_CORNERS) if case >> bit & 1]


@cache
def _loops(case: int) -> tuple[tuple[Place, ...], ...]:
    """The rims of the patches, each a ring of middles of edges, anticlockwise as seen from outside the region."""
    follows = dict(segment for axis, side in _FACES for segment in _segments(case, axis, side))
    loops = []
    while follows:
        start, at = follows.popitem()
        loop = [start]
        while at != start:
            loop.append(at)
            at = follows.pop(at)
        loops.append(tuple(loop))
    return tuple(loops)


def _segments(case: int, axis: int, side: int) -> Iterator[tuple[Place, Place]]:
    """Where patches meet one side of the cube: from middle to middle of its edges."""
    inside = set(_inside(case))
    u, v = [other for other in range(3) if other != axis]
    ring = [_corner({axis: side, u: at_u, v: at_v}) for at_u, at_v in ((0, 0), (0, 1), (1, 1), (1, 0))]
    enters = [k for k in range(4) if ring[k] not in inside and ring[(k + 1) % 4] in inside]
    # From where the ring enters the region to where it next leaves it: each such stretch is cut off by itself.
    for k in enters:
        leaves = next(k + n for n in range(1, 4) if ring[(k + n + 1) % 4] not in inside)
        ends = _middle(ring[k], ring[(k + 1) % 4]), _middle(ring[leaves % 4], ring[(leaves + 1) % 4])
        # Seen from outside, the ring turns left on one side of the cube and right on the other, and on the sides of the
        # middle axis, where u and v are not in cyclic order, the other way round.
        yield ends[::-1] if (side + axis) % 2 else ends


def _corner(place: dict[int, int]) -> Corner:
    return place[0], place[1], place[2]


def _middle(one: Corner, other: Corner) -> Place:
    z, y, x = ((a + b) / 2 for a, b in zip(one, other, strict=True))
    return z, y, x


def _filled(points: Floats, steps: Floats) -> tuple[float, float]:
    """Area in mm2 and flux, in voxels, of the triangles that fill a ring."""
    ways = [points[list(way)] for way in _triangulations(0, len(points) - 1)]
    sizes = [_area(triangles) for triangles in ways]
    # Of several ways of the same size it must not be chance, or the turn of the array, that decides: all count.
    best = [triangles for triangles, size in zip(ways, sizes, strict=True) if size > max(sizes) - 1e-9]
    area = sum(_area(triangles @ steps.T) for triangles in best) / len(best)
    return area, sum(float(np.linalg.det(triangles).sum()) for triangles in best) / len(best)


def _area(triangles: Floats) -> float:
    a, b, c = np.moveaxis(triangles, 1, 0)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2


@cache
def _triangulations(first: int, last: int) -> tuple[tuple[tuple[int, int, int], ...], ...]:
    """All ways to cut a ring of numbered points into triangles."""
    if last - first < 2:
        return ((),)
    return tuple(
        ((first, k, last), *one, *other)
        for k in range(first + 1, last)
        for one in _triangulations(first, k)
        for other in _triangulations(k, last)
    )
