"""Polygons in a plane to pixels, and their area, both by the even-odd rule.

Polygons are closed, ``(n, 2)``: (row, column) in pixels, whole numbers at pixel centres. All polygons of a plane count
together: what lies within an odd number of boundaries is inside. So a hole may be a polygon within another one or be
joined to it by a keyhole, whose two sides cancel.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from researchpacs.errors import GeometryError

__all__ = ["FARTHEST", "even_odd_area", "even_odd_mask"]

FARTHEST = 1 << 14
"""Pixels from the first one that a vertex may be away: what follows is then exact in 64 bits."""

_PER_PIXEL = 1 << 16
_MOST_CROSSINGS = 1 << 26
_AT_ONCE = 1 << 20

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def even_odd_mask(polygons: Sequence[Floats], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Find the pixels whose centre is inside.

    Vertices are rounded to 1/65536 of a pixel; from there on all is exact. A centre on a boundary belongs to the side
    of higher rows and columns: polygons that share an edge share no pixel, and leave none out.

    Parameters
    ----------
    polygons
        Of one plane; what of them is beyond the pixels is cut off.
    shape
        Rows, columns.

    Returns
    -------
    mask
        ``shape``, bool.

    Raises
    ------
    GeometryError
        A vertex is no number or more than `FARTHEST` pixels away, or the boundaries cross too many rows.
    """
    rows, columns = shape
    if max(shape) > FARTHEST:
        raise GeometryError(f"a plane of {rows} x {columns} pixels is too large for contours")
    low, high = _edges(polygons)
    # An edge crosses the rows in [low, high): each vertex counts for one of the two edges that meet there.
    first = np.clip(_ceil(low[:, 0], _PER_PIXEL), 0, rows)
    counts = np.maximum(np.clip(_ceil(high[:, 0], _PER_PIXEL), 0, rows) - first, 0)
    toggled = np.zeros(rows * (columns + 1), np.uint8)
    for edge, step in _pairs(counts):
        row = first[edge] + step
        fall, run = high[edge, 0] - low[edge, 0], high[edge, 1] - low[edge, 1]
        crossing = low[edge, 1] * fall + (row * _PER_PIXEL - low[edge, 0]) * run
        column = np.clip(_ceil(crossing, fall * _PER_PIXEL), 0, columns)
        times = np.bincount(row * (columns + 1) + column, minlength=len(toggled))
        toggled ^= (times & 1).astype(np.uint8)
    inside = np.bitwise_xor.accumulate(toggled.reshape(rows, columns + 1), axis=1)[:, :columns]
    return inside.astype(np.bool_)


def even_odd_area(polygons: Sequence[Floats]) -> float:
    """Measure the area inside, in the unit of the coordinates squared.

    The plane is cut into strips at every vertex, so it is exact where edges only meet in vertices, and nearly so where
    they cross.

    Raises
    ------
    GeometryError
        A vertex is no number, or the boundaries cross too many strips.
    """
    starts, ends = _rings(polygons)
    is_level = starts[:, 0] == ends[:, 0]
    starts, ends = starts[~is_level], ends[~is_level]
    if not len(starts):
        return 0.0
    is_falling = (starts[:, 0] > ends[:, 0])[:, None]
    low, high = np.where(is_falling, ends, starts), np.where(is_falling, starts, ends)
    levels = np.unique(np.concatenate([low[:, 0], high[:, 0]]))
    first = np.searchsorted(levels, low[:, 0])
    counts = np.searchsorted(levels, high[:, 0]) - first
    if counts.sum() > _MOST_CROSSINGS:
        raise _too_many()
    edge = np.repeat(np.arange(len(counts)), counts)
    strip = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    middle = (levels[strip] + levels[strip + 1]) / 2
    slope = (high[:, 1] - low[:, 1]) / (high[:, 0] - low[:, 0])
    crossing = low[edge, 1] + (middle - low[edge, 0]) * slope[edge]
    order = np.lexsort((crossing, strip))
    widths = crossing[order[1::2]] - crossing[order[::2]]
    return float(widths @ np.diff(levels)[strip[order[::2]]])


def _rings(polygons: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Start and end of every edge."""
    if not polygons:
        return np.zeros((0, 2)), np.zeros((0, 2))
    starts = np.concatenate([np.asarray(one, np.float64) for one in polygons])
    ends = np.concatenate([np.roll(one, -1, axis=0) for one in polygons])
    if not np.isfinite(starts).all():
        raise GeometryError("a contour has a point that is no number")
    return starts, ends


def _edges(polygons: Sequence[Floats]) -> tuple[Ints, Ints]:
    """Lower and upper end of every edge that crosses rows, in parts of a pixel."""
    starts, ends = _rings(polygons)
    if len(starts) and np.abs(starts).max() > FARTHEST:
        raise GeometryError(f"a contour reaches more than {FARTHEST} pixels away")
    one, other = (np.rint(points * _PER_PIXEL).astype(np.int64) for points in (starts, ends))
    is_level = one[:, 0] == other[:, 0]
    one, other = one[~is_level], other[~is_level]
    is_falling = (one[:, 0] > other[:, 0])[:, None]
    return np.where(is_falling, other, one), np.where(is_falling, one, other)


def _pairs(counts: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Index of an edge and number of its step, for `counts` steps each; some at a time."""
    ends = np.cumsum(counts)
    if not len(counts) or not ends[-1]:
        return
    if ends[-1] > _MOST_CROSSINGS:
        raise _too_many()
    for begin in range(0, int(ends[-1]), _AT_ONCE):
        number = np.arange(begin, min(begin + _AT_ONCE, int(ends[-1])))
        edge = np.searchsorted(ends, number, side="right")
        yield edge, number - (ends - counts)[edge]


def _ceil(value: Ints, divisor: "Ints | int") -> Ints:
    result: Ints = -(-value // divisor)
    return result


def _too_many() -> GeometryError:
    return GeometryError(f"contours of one plane cross more than {_MOST_CROSSINGS} rows of pixels; this is no anatomy")
