"""A tree of vessels grown from a root to end points scattered in a lung."""

from collections.abc import Callable
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from researchpacs.datasets._shapes import Point

__all__ = ["grow_vessels", "uniform"]

STEP_MM = 7.0
DETOUR = 0.4
"""How much the way from the root counts when an end point chooses where to branch off: 0 makes combs, 1 stars."""


def uniform(bits: np.random.PCG64, count: int) -> NDArray[np.float64]:
    """Random numbers from 0 to 1 out of the bit generator itself, whose stream no version of numpy may change."""
    raw = np.asarray(bits.random_raw(count), dtype=np.uint64)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def grow_vessels(
    root: Point, inside: Callable[[Point], bool], box: tuple[Point, Point], *, twigs: int, twig_radius: float, seed: int
) -> list[list[tuple[float, float, float, float]]]:
    """Grow a tree from `root` to `twigs` end points.

    Parameters
    ----------
    root
        LPS mm.
    inside
        Whether a vessel may be at a point.
    box
        Lowest and highest corner of where end points are sought, LPS mm.
    twigs
        How many end points.
    twig_radius
        Radius of the last branches, mm. Radii grow towards the root with the number of end points served, to the power
        3/8, close to Murray's law.
    seed
        Of the PCG64 bit generator.

    Returns
    -------
    paths
        Two ``(x, y, z, radius)`` rows for each segment.
    """
    nodes, parents, tips = _connect(root, _scatter(inside, box, twigs, seed), inside)
    served = [0] * len(nodes)
    for tip in tips:
        node = tip
        while node >= 0:
            served[node] += 1
            node = parents[node]
    radii = [twig_radius * sqrt(sqrt(n)) * sqrt(sqrt(sqrt(n))) for n in served]
    return [
        [(*nodes[parent], min(radii[parent], radii[node] * 1.25)), (*nodes[node], radii[node])]
        for node, parent in enumerate(parents)
        if parent >= 0 and served[node]
    ]


def _scatter(inside: Callable[[Point], bool], box: tuple[Point, Point], count: int, seed: int) -> list[Point]:
    bits = np.random.PCG64(seed)
    found: list[Point] = []
    while len(found) < count:
        for shares in uniform(bits, 3 * count).reshape(count, 3).tolist():
            x, y, z = (low + share * (high - low) for share, low, high in zip(shares, *box, strict=True))
            if inside((x, y, z)):
                found.append((x, y, z))
    return found[:count]


def _connect(
    root: Point, ends: list[Point], inside: Callable[[Point], bool]
) -> tuple[list[Point], list[int], list[int]]:
    """Join end points, nearest to the root first, each to the node that costs least; leave those without a free way."""
    capacity = 1 + 60 * len(ends)
    at, way = np.zeros((capacity, 3)), np.zeros(capacity)
    at[0] = root
    nodes, parents, tips = [root], [-1], []
    for end in sorted(ends, key=lambda p: (_squared(p, root), p)):
        used = len(nodes)
        offset = at[:used] - np.array(end)
        squared = offset[:, 0] * offset[:, 0] + offset[:, 1] * offset[:, 1] + offset[:, 2] * offset[:, 2]
        start = int(np.argmin(np.sqrt(squared) + DETOUR * way[:used]))
        steps = _steps(nodes[start], end)
        if not all(inside(step) or _squared(step, root) < 35.0 * 35.0 for step in steps):
            continue
        parent = start
        for step in steps:
            at[len(nodes)] = step
            way[len(nodes)] = way[parent] + sqrt(_squared(step, nodes[parent]))
            parents.append(parent)
            parent = len(nodes)
            nodes.append(step)
        tips.append(parent)
    return nodes, parents, tips


def _steps(start: Point, end: Point) -> list[Point]:
    count = max(1, round(sqrt(_squared(start, end)) / STEP_MM))
    return [_between(start, end, (k + 1) / count) for k in range(count)]


def _between(a: Point, b: Point, t: float) -> Point:
    return a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), a[2] + t * (b[2] - a[2])


def _squared(a: Point, b: Point) -> float:
    return sum((p - q) * (p - q) for p, q in zip(a, b, strict=True))
