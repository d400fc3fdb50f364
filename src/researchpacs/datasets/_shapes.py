"""Solid shapes and how much of each pixel of an axial plane they cover.

Points are (x, y, z) LPS mm. Arithmetic on pixels keeps to ``+ - * /``, comparison and square root, which IEEE 754
rounds alike everywhere: the same shape covers the same pixels, to the last bit, on every machine.
"""

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import cos, radians, sin, sqrt
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "Ellipsoid", "Grid", "Patch", "Plane", "Shape", "Stack", "Tube", "as_shapes", "point"]

Plane = NDArray[np.float32]
Point = tuple[float, float, float]

EDGE_MM = 0.95
"""Over this length a surface fades, as the blur of a scanner would make it."""


def point(values: Sequence[float]) -> Point:
    """Three numbers from a definition as a point."""
    x, y, z = (float(v) for v in values)
    return x, y, z


def as_shapes(part: Mapping[str, Any], curves: Mapping[str, "Curve"]) -> tuple["Shape", ...]:
    """Make the shapes that a ``[[part]]`` of a definition describes; two where it says ``mirror``."""
    signs = (1.0, -1.0) if part.get("mirror") else (1.0,)
    turn = float(part.get("turn_deg", 0.0))
    match part["shape"]:
        case "stack":
            along = curves.get(part.get("along", ""))
            gate = part.get("gate")
            return tuple(
                Stack(
                    Curve([(z, x * s, y, rx, ry) for z, x, y, rx, ry in part["knots"]]),
                    part.get("power", 2),
                    turn * s,
                    along,
                    tuple(gate) if gate else None,
                )
                for s in signs
            )
        case "ellipsoid":
            x, y, z = part["center"]
            return tuple(Ellipsoid((x * s, y, z), point(part["radii"]), turn * s) for s in signs)
        case "tube":
            paths = [part["path"], *part.get("branches", [])]
            return tuple(Tube([[(x * s, y, z, r) for x, y, z, r in path] for path in paths]) for s in signs)
    raise ValueError(f"a part of a definition has the shape {part['shape']!r}; known are stack, ellipsoid and tube")


@dataclass(frozen=True)
class Patch:
    """How much a shape covers of each pixel in a window of the plane."""

    window: tuple[slice, slice]
    share: Plane
    """(rows, columns) of the window, 0 to 1."""


@dataclass(frozen=True)
class Grid:
    """Pixel centres of an axial plane, mm."""

    x: Plane
    """(columns,)."""
    y: Plane
    """(rows,)."""

    def window(self, x: float, y: float, reach_x: float, reach_y: float) -> tuple[slice, slice] | None:
        """Rows and columns within reach of a point; None where there are none."""
        step = float(self.x[1] - self.x[0])
        first = max(0, int((x - reach_x - float(self.x[0])) / step))
        last = min(len(self.x), int((x + reach_x - float(self.x[0])) / step) + 2)
        top = max(0, int((y - reach_y - float(self.y[0])) / step))
        bottom = min(len(self.y), int((y + reach_y - float(self.y[0])) / step) + 2)
        return (slice(top, bottom), slice(first, last)) if first < last and top < bottom else None


class Shape(Protocol):
    """Anything that covers pixels."""

    def patches(self, grid: Grid, z: float, *, grow: float = 0.0) -> Iterator[Patch]:
        """Coverage of the plane at height `z` by the shape grown by `grow` mm."""
        ...

    def contains(self, at: Point, *, margin: float = 0.0) -> bool:
        """Whether a point lies inside the shape grown by `margin` mm."""
        ...


class Curve:
    """Numbers that change smoothly with height: rows of ``(z, a, b, ...)`` joined by cubic Hermite pieces."""

    def __init__(self, knots: Sequence[Sequence[float]]) -> None:
        self._z = [float(row[0]) for row in knots]
        self._rows = [[float(v) for v in row[1:]] for row in knots]

    def at(self, z: float) -> list[float] | None:
        """The numbers at height `z`; None above and below the curve."""
        if not self._z[0] <= z <= self._z[-1]:
            return None
        right = min(max(bisect.bisect_right(self._z, z), 1), len(self._z) - 1)
        left = right - 1
        width = self._z[right] - self._z[left]
        t = (z - self._z[left]) / width
        rise, fall = self._slopes(left), self._slopes(right)
        h10, h01, h11 = t * (1 - t) * (1 - t), t * t * (3 - 2 * t), t * t * (t - 1)
        return [
            (1 - h01) * a + h01 * b + width * (h10 * m + h11 * n)
            for a, b, m, n in zip(self._rows[left], self._rows[right], rise, fall, strict=True)
        ]

    def _slopes(self, index: int) -> list[float]:
        before, after = max(index - 1, 0), min(index + 1, len(self._z) - 1)
        width = self._z[after] - self._z[before]
        return [(b - a) / width for a, b in zip(self._rows[before], self._rows[after], strict=True)]


@dataclass(frozen=True)
class Stack:
    """(Super)ellipses one over another: `curve` gives centre x, y and radii x, y at each height."""

    curve: Curve
    power: float = 2
    turn_deg: float = 0.0
    along: Curve | None = None
    """Moves the centre with height."""
    gate: tuple[float, float, float] | None = None
    """(period, start, length) in z: only there is the shape; so vertebrae alternate with discs."""

    def section(self, z: float) -> tuple[float, float, float, float] | None:
        """Centre x, y and radii x, y at height `z`."""
        numbers = self.curve.at(z)
        if numbers is None or (self.gate and (z - self.gate[1]) % self.gate[0] >= self.gate[2]):
            return None
        x, y, rx, ry = numbers
        shift = self.along.at(z) if self.along else [0.0, 0.0]
        return (x + shift[0], y + shift[1], rx, ry) if shift else None

    def patches(self, grid: Grid, z: float, *, grow: float = 0.0) -> Iterator[Patch]:
        """Coverage of the plane at height `z` by the shape grown by `grow` mm."""
        section = self.section(z)
        if section:
            x, y, rx, ry = section
            yield from _ellipse_patch(grid, (x, y), (rx + grow, ry + grow), self.power, self.turn_deg)

    def contains(self, at: Point, *, margin: float = 0.0) -> bool:
        """Whether a point lies inside the shape grown by `margin` mm; a turn is not looked at."""
        section = self.section(at[2])
        if not section:
            return False
        x, y, rx, ry = section
        u, v = abs(at[0] - x) / max(rx + margin, 1e-6), abs(at[1] - y) / max(ry + margin, 1e-6)
        return bool(_power(u, self.power) + _power(v, self.power) < 1)

    def distance(self, grid: Grid, z: float) -> Plane | None:
        """Signed distance of every pixel to the contour at height `z`, mm, negative inside."""
        section = self.section(z)
        if not section:
            return None
        x, y, rx, ry = section
        return _distance(grid.x - np.float32(x), grid.y - np.float32(y), max(rx, 1.0), max(ry, 1.0), self.power)


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid, turned about the body's long axis."""

    center: Point
    radii: Point
    turn_deg: float = 0.0

    def patches(self, grid: Grid, z: float, *, grow: float = 0.0) -> Iterator[Patch]:
        """Coverage of the plane at height `z` by the shape grown by `grow` mm."""
        rx, ry, rz = (r + grow for r in self.radii)
        height = (z - self.center[2]) / rz
        if abs(height) < 1:
            scale = sqrt(1 - height * height)
            yield from _ellipse_patch(grid, self.center[:2], (rx * scale, ry * scale), 2, self.turn_deg)

    def contains(self, at: Point, *, margin: float = 0.0) -> bool:
        """Whether a point lies inside the shape grown by `margin` mm."""
        c, s = _turn(self.turn_deg)
        x, y = at[0] - self.center[0], at[1] - self.center[1]
        u, v, w = c * x + s * y, c * y - s * x, at[2] - self.center[2]
        parts = (d / (r + margin) for d, r in zip((u, v, w), self.radii, strict=True))
        return sum(p * p for p in parts) < 1


class Tube:
    """Round tubes along paths of ``(x, y, z, radius)``."""

    def __init__(self, paths: Sequence[Sequence[Sequence[float]]]) -> None:
        self._ends = [(tuple(map(float, a)), tuple(map(float, b))) for path in paths for a, b in pairwise(path)]

    @cached_property
    def _heights(self) -> NDArray[np.float64]:
        return np.array([(min(a[2], b[2]) - max(a[3], b[3]), max(a[2], b[2]) + max(a[3], b[3])) for a, b in self._ends])

    def patches(self, grid: Grid, z: float, *, grow: float = 0.0) -> Iterator[Patch]:
        """Coverage of the plane at height `z` by the shape grown by `grow` mm."""
        reach = grow + EDGE_MM
        near = np.flatnonzero((self._heights[:, 0] - reach < z) & (z < self._heights[:, 1] + reach))
        for index in near.tolist():
            yield from _segment_patch(grid, z, *self._ends[index], grow)

    def contains(self, at: Point, *, margin: float = 0.0) -> bool:
        """Whether a point lies inside the shape grown by `margin` mm."""
        return any(_to_segment(at, a, b) < max(a[3], b[3]) + margin for a, b in self._ends)


def _ellipse_patch(
    grid: Grid, center: tuple[float, float], radii: tuple[float, float], power: float, turn_deg: float
) -> Iterator[Patch]:
    rx, ry = radii
    if rx <= 0.1 or ry <= 0.1:
        return
    reach_x, reach_y = (rx, ry) if turn_deg == 0 else (max(rx, ry), max(rx, ry))
    window = grid.window(*center, reach_x + EDGE_MM, reach_y + EDGE_MM)
    if window is None:
        return
    x, y = grid.x[window[1]] - np.float32(center[0]), grid.y[window[0]] - np.float32(center[1])
    if turn_deg == 0:
        distance = _distance(x, y, rx, ry, power)
    else:
        c, s = (np.float32(v) for v in _turn(turn_deg))
        distance = _turned_distance(c * x[None, :] + s * y[:, None], c * y[:, None] - s * x[None, :], rx, ry, power)
    yield Patch(window, _share(distance))


def _distance(x: Plane, y: Plane, rx: float, ry: float, power: float) -> Plane:
    """First-order signed distance to |x/rx|^p + |y/ry|^p = 1 for a (columns,) and a (rows,) axis."""
    u, v = np.abs(x) / np.float32(rx), np.abs(y) / np.float32(ry)
    du, dv = (_power(w, power - 1) * np.float32(power / r) for w, r in ((u, rx), (v, ry)))
    value: Plane = _power(u, power)[None, :] + (_power(v, power) - 1)[:, None]
    slope = (du * du)[None, :] + (dv * dv + np.float32(1e-6))[:, None]
    value /= np.sqrt(slope)
    return value


def _turned_distance(x: Plane, y: Plane, rx: float, ry: float, power: float) -> Plane:
    u, v = np.abs(x) / np.float32(rx), np.abs(y) / np.float32(ry)
    du, dv = (_power(w, power - 1) * np.float32(power / r) for w, r in ((u, rx), (v, ry)))
    value: Plane = (_power(u, power) + _power(v, power) - 1) / np.sqrt(du * du + dv * dv + np.float32(1e-6))
    return value


def _segment_patch(grid: Grid, z: float, a: tuple[float, ...], b: tuple[float, ...], grow: float) -> Iterator[Patch]:
    radius = max(a[3], b[3]) + grow + EDGE_MM
    low, high = _reach_in_plane(z, a, b, radius)
    x0, x1 = sorted(a[0] + t * (b[0] - a[0]) for t in (low, high))
    y0, y1 = sorted(a[1] + t * (b[1] - a[1]) for t in (low, high))
    window = grid.window((x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2 + radius, (y1 - y0) / 2 + radius)
    if window is None:
        return
    ux, uy, uz = (np.float32(q - p) for p, q in zip(a[:3], b[:3], strict=True))
    dx = (grid.x[window[1]] - np.float32(a[0]))[None, :]
    dy = (grid.y[window[0]] - np.float32(a[1]))[:, None]
    dz = np.float32(z - a[2])
    length = max(ux * ux + uy * uy + uz * uz, np.float32(1e-6))
    t = np.clip((dx * (ux / length) + dy * (uy / length)) + dz * uz / length, np.float32(0), np.float32(1))
    ex, ey, ez = dx - t * ux, dy - t * uy, dz - t * uz
    distance = np.sqrt(ex * ex + ey * ey + ez * ez)
    yield Patch(window, _share(distance - (np.float32(a[3] + grow) + t * np.float32(b[3] - a[3]))))


def _reach_in_plane(z: float, a: tuple[float, ...], b: tuple[float, ...], radius: float) -> tuple[float, float]:
    """The stretch of a segment, as fractions of its length, that comes within `radius` of the plane."""
    rise = b[2] - a[2]
    if abs(rise) < 1e-9:
        return 0.0, 1.0
    ends = sorted(((z - radius - a[2]) / rise, (z + radius - a[2]) / rise))
    return min(max(ends[0], 0.0), 1.0), min(max(ends[1], 0.0), 1.0)


def _to_segment(at: Point, a: tuple[float, ...], b: tuple[float, ...]) -> float:
    along = [q - p for p, q in zip(a[:3], b[:3], strict=True)]
    off = [q - p for p, q in zip(a[:3], at, strict=True)]
    length = sum(v * v for v in along) or 1e-9
    t = min(max(sum(u * v for u, v in zip(along, off, strict=True)) / length, 0.0), 1.0)
    return sqrt(sum((v - t * u) * (v - t * u) for u, v in zip(along, off, strict=True)))


def _share(distance: Plane) -> Plane:
    share = np.multiply(distance, np.float32(-1 / EDGE_MM), out=distance)
    share += np.float32(0.5)
    return np.clip(share, np.float32(0), np.float32(1), out=share)


def _power(values: Any, power: float) -> Any:
    """``values ** power`` for multiples of 1/2, without `pow`, which differs between C libraries."""
    result = values
    for _ in range(int(power) - 1):
        result = result * values
    return result if power == int(power) else result * np.sqrt(values)


def _turn(degrees: float) -> tuple[float, float]:
    """Cosine and sine, rounded to where all C libraries agree."""
    return round(cos(radians(degrees)), 9), round(sin(radians(degrees)), 9)
