"""What a shape on a plane measures; `extensions/viewer/src/measure.ts` does the same, operation for operation.

A pixel belongs to a shape when its centre does: to an ellipse or a circle with its rim, to a polygon by the even-odd
rule. Lengths, angles and areas are those of the shape itself; mean, standard deviation (of these pixels, not of a
sample of more), minimum and maximum are those of the values of its pixels.

Points are (u, v) in mm from the centre of the plane's first pixel: u along a row, v along a column.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from researchpacs.viewer._planes import PlaneStack

__all__ = ["AREAS", "POINTS", "SHORTEST_MM", "Quantity", "geometry_of", "inside", "on_plane", "values_of"]

UV = tuple[float, float]

POINTS = {
    "length": 2,
    "angle": 3,
    "cobb": 4,
    "bidirectional": 4,
    "ellipse": 4,
    "circle": 2,
    "rectangle": 4,
    "polygon": None,
    "probe": 1,
}
"""How many points a mark of each kind has; of a polygon three or more.

angle: end, vertex, end. cobb: both ends of a line, then of the other. bidirectional: ends of the long axis, then of the
short one. ellipse: ends of an axis, then of the other. circle: centre, rim. rectangle: its corners, in no order.
"""
AREAS = ("ellipse", "circle", "rectangle", "polygon")
SHORTEST_MM = 0.1
"""A click without a drag is no shape."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of a mark."""

    name: str
    """``"length"``, ``"angle"``, ``"long axis"``, ``"short axis"``, ``"area"``, ``"mean"``, ``"sd"``, ``"min"``,
    ``"max"`` or ``"value"``."""
    value: float
    unit: str
    """mm, deg, mm2, or the unit of the volume's values."""


def on_plane(stack: PlaneStack, index: int, point: Sequence[float]) -> UV:
    """(u, v) of a point, dropped on a plane along the normal."""
    d = [point[k] - (stack.origin[k] + index * stack.step[k]) for k in range(3)]
    row, column = stack.row_cosines, stack.column_cosines
    u = d[0] * row[0] + d[1] * row[1] + d[2] * row[2]
    v = d[0] * column[0] + d[1] * column[1] + d[2] * column[2]
    return u, v


def geometry_of(kind: str, points: Sequence[UV]) -> list[Quantity]:
    """Give the numbers of a shape that need no pixel; none of a probe."""
    if kind == "length":
        return [Quantity("length", _distance(points[0], points[1]), "mm")]
    if kind == "angle":
        return [Quantity("angle", _angle(points[1], points[0], points[1], points[2]), "deg")]
    if kind == "cobb":
        angle = _angle(points[0], points[1], points[2], points[3])
        return [Quantity("angle", min(angle, 180 - angle), "deg")]
    if kind == "bidirectional":
        one, other = _distance(points[0], points[1]), _distance(points[2], points[3])
        return [Quantity("long axis", max(one, other), "mm"), Quantity("short axis", min(one, other), "mm")]
    return [Quantity("area", _area(kind, points), "mm2")] if kind in AREAS else []


def values_of(
    kind: str,
    points: Sequence[UV],
    picture: np.ndarray,
    spacing: tuple[float, float],
    *,
    unit: str = "",
    padding: tuple[float, float] | None = None,
) -> list[Quantity]:
    """Give the numbers of the values beneath a shape; none where no pixel belongs to it, or no value is known.

    Parameters
    ----------
    picture
        Rescaled values ``(rows, columns)``.
    spacing
        mm between rows, between columns.
    unit
        Of the values.
    padding
        Lowest and highest of the values that are none.
    """
    if kind == "probe":
        row, column = (math.floor(mm / step + 0.5) for mm, step in zip(reversed(points[0]), spacing, strict=True))
        if not (0 <= row < picture.shape[0] and 0 <= column < picture.shape[1]):
            return []
        found = picture[row : row + 1, column : column + 1].ravel()
    elif kind in AREAS:
        top, left, mask = inside(kind, points, (picture.shape[0], picture.shape[1]), spacing)
        found = picture[top : top + mask.shape[0], left : left + mask.shape[1]][mask]
    else:
        return []
    found = found.astype(np.float64)
    known = np.isfinite(found)
    if padding is not None:
        known &= ~((found >= padding[0]) & (found <= padding[1]))
    found = found[known]
    if not found.size:
        return []
    if kind == "probe":
        return [Quantity("value", float(found[0]), unit)]
    numbers = {"mean": found.mean(), "sd": found.std(), "min": found.min(), "max": found.max()}
    return [Quantity(name, float(value), unit) for name, value in numbers.items()]


def inside(
    kind: str, points: Sequence[UV], shape: tuple[int, int], spacing: tuple[float, float]
) -> tuple[int, int, np.ndarray]:
    """Tell which pixels belong to a shape.

    Returns
    -------
    top, left
        Row and column of the mask's first pixel.
    mask
        Booleans, no larger than the shape is.
    """
    edges = _corners(points) if kind == "rectangle" else list(points)
    (left, top), (right, bottom) = _box(kind, edges)
    first_row, last_row = _range(top, bottom, spacing[0], shape[0])
    first_column, last_column = _range(left, right, spacing[1], shape[1])
    v = (np.arange(first_row, last_row + 1) * spacing[0])[:, np.newaxis]
    u = (np.arange(first_column, last_column + 1) * spacing[1])[np.newaxis, :]
    if kind == "circle":
        mask = _in_circle(u, v, edges)
    elif kind == "ellipse":
        mask = _in_ellipse(u, v, edges)
    else:
        mask = _in_polygon(u, v, edges)
    return first_row, first_column, mask


def _in_circle(u: np.ndarray, v: np.ndarray, points: Sequence[UV]) -> np.ndarray:
    (cu, cv), (ru, rv) = points
    square = (ru - cu) * (ru - cu) + (rv - cv) * (rv - cv)
    mask: np.ndarray = (u - cu) * (u - cu) + (v - cv) * (v - cv) <= square
    return mask


def _in_ellipse(u: np.ndarray, v: np.ndarray, points: Sequence[UV]) -> np.ndarray:
    cu, cv, au, av, bu, bv = _ellipse(points)
    along = ((u - cu) * au + (v - cv) * av) / (au * au + av * av)
    across = ((u - cu) * bu + (v - cv) * bv) / (bu * bu + bv * bv)
    mask: np.ndarray = along * along + across * across <= 1
    return mask


def _in_polygon(u: np.ndarray, v: np.ndarray, points: Sequence[UV]) -> np.ndarray:
    mask = np.zeros((v.shape[0], u.shape[1]), dtype=bool)
    for (pu, pv), (qu, qv) in zip([points[-1], *points[:-1]], points, strict=True):
        if pv == qv:
            continue
        crosses = (pv > v) != (qv > v)
        mask ^= crosses & (u < (pu - qu) * (v - qv) / (pv - qv) + qu)
    return mask


def _ellipse(points: Sequence[UV]) -> tuple[float, float, float, float, float, float]:
    """Centre, and half of each axis."""
    (pu, pv), (qu, qv), (ru, rv), (su, sv) = points
    return (pu + qu) / 2, (pv + qv) / 2, (qu - pu) / 2, (qv - pv) / 2, (su - ru) / 2, (sv - rv) / 2


def _box(kind: str, points: Sequence[UV]) -> tuple[UV, UV]:
    """Upper left and lower right corner of what holds the shape, a thousandth of a mm wider."""
    if kind == "circle":
        radius = _distance(points[0], points[1])
        return _widened(points[0], radius, radius)
    if kind == "ellipse":
        cu, cv, au, av, bu, bv = _ellipse(points)
        return _widened((cu, cv), math.sqrt(au * au + bu * bu), math.sqrt(av * av + bv * bv))
    us, vs = [u for u, _ in points], [v for _, v in points]
    return (min(us) - 1e-3, min(vs) - 1e-3), (max(us) + 1e-3, max(vs) + 1e-3)


def _widened(centre: UV, u: float, v: float) -> tuple[UV, UV]:
    return (centre[0] - u - 1e-3, centre[1] - v - 1e-3), (centre[0] + u + 1e-3, centre[1] + v + 1e-3)


def _range(low: float, high: float, step: float, count: int) -> tuple[int, int]:
    return max(math.ceil(low / step), 0), min(math.floor(high / step), count - 1)


def _corners(points: Sequence[UV]) -> list[UV]:
    """The corners of a rectangle in the order of its outline: the third one is the second's neighbour, or not."""
    a, b, c, d = points
    diagonal = max((b, c, d), key=lambda corner: _distance(a, corner))
    first, second = (corner for corner in (b, c, d) if corner is not diagonal)
    return [a, first, diagonal, second]


def _area(kind: str, points: Sequence[UV]) -> float:
    if kind == "circle":
        (cu, cv), (ru, rv) = points
        return math.pi * ((ru - cu) * (ru - cu) + (rv - cv) * (rv - cv))
    if kind == "ellipse":
        _, _, au, av, bu, bv = _ellipse(points)
        return math.pi * math.sqrt(au * au + av * av) * math.sqrt(bu * bu + bv * bv)
    edges = _corners(points) if kind == "rectangle" else list(points)
    twice = 0.0
    for (pu, pv), (qu, qv) in zip([edges[-1], *edges[:-1]], edges, strict=True):
        twice += pu * qv - qu * pv
    return abs(twice) / 2


def _distance(p: UV, q: UV) -> float:
    return math.sqrt((p[0] - q[0]) * (p[0] - q[0]) + (p[1] - q[1]) * (p[1] - q[1]))


def _angle(p: UV, q: UV, r: UV, s: UV) -> float:
    """Between p to q and r to s, 0 to 180 degrees."""
    au, av, bu, bv = q[0] - p[0], q[1] - p[1], s[0] - r[0], s[1] - r[1]
    return abs(math.atan2(au * bv - av * bu, au * bu + av * bv)) * 180 / math.pi
