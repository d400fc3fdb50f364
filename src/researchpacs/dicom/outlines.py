"""The outlines of a mask in a plane: polygons along the edges of its pixels.

They enclose every pixel's centre with half a pixel to spare, and the very area of the pixels, so `even_odd_mask` gives
the mask back voxel for voxel. A part with holes is one polygon, with a channel without width to each hole (a keyhole,
PS3.3 C.8.8.6.3), so that it is read alike by the even-odd and by the winding rule.
"""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["outlines"]

Corner = tuple[int, int]
"""Row and column of a corner of pixels: corner (i, j) is the upper left one of pixel (i, j)."""
Ring = list[Corner]


def outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Trace every part of a mask.

    Pixels that touch in a corner only are two parts.

    Parameters
    ----------
    mask
        ``(rows, columns)``.

    Returns
    -------
    polygons
        One for each part, ``(n, 2)``: (row, column) in pixels, whole numbers at pixel centres. Without points in the
        middle of a straight edge, but where a channel begins.
    """
    padded = np.pad(np.asarray(mask, np.bool_), 1)
    parts, holes = _rings(padded)
    joined = _attached(parts, holes, padded) if holes else {}
    return [np.array(_walked(number, parts, holes, joined), np.float64) - 0.5 for number in range(len(parts))]


def _rings(padded: NDArray[np.bool_]) -> tuple[list[Ring], list[Ring]]:
    """Boundaries of parts and, the other way round, of holes; each from its uppermost, then leftmost corner on."""
    corners, across, down = _links(padded)
    places = corners.tolist()
    is_seen = bytearray(len(places))
    parts: list[Ring] = []
    holes: list[Ring] = []
    for start in range(len(places)):
        if is_seen[start]:
            continue
        ring: Ring = []
        at, is_across = start, True
        while not is_seen[at]:
            is_seen[at] = 1
            ring.append((places[at][0], places[at][1]))
            at = (across if is_across else down)[at]
            is_across = not is_across
        i, j = places[start]
        if padded[i + 1, j + 1]:
            parts.append(ring)
        else:
            holes.append(ring[:1] + ring[:0:-1])
    return parts, holes


def _links(padded: NDArray[np.bool_]) -> tuple[NDArray[np.int64], list[int], list[int]]:
    """Corners where the boundary turns, and which other one each is linked to along its row and along its column."""
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    is_touch = (upper_left == lower_right) & (upper_right == lower_left) & (upper_left != upper_right)
    is_odd = upper_left ^ upper_right ^ lower_left ^ lower_right
    # Where two pixels touch in a corner the boundary turns twice: the first turn comes from the left.
    times = is_odd.astype(np.int8) + 2 * is_touch
    corners = np.argwhere(times).repeat(times[times > 0], axis=0)
    i, j = corners.T
    second = np.zeros(len(corners), np.int64)
    second[1:] = (np.diff(corners, axis=0) == 0).all(axis=1)
    # The one that encloses a pixel above comes from above: then pixels that touch are apart.
    from_above = np.where(upper_left[i, j] | ~is_touch[i, j], second, 1 - second)
    across = np.empty(len(corners), np.int64)
    down = np.empty(len(corners), np.int64)
    order = np.lexsort((from_above, i, j))
    across[::2], across[1::2] = np.arange(1, len(corners), 2), np.arange(0, len(corners), 2)
    down[order[::2]], down[order[1::2]] = order[1::2], order[::2]
    return corners, across.tolist(), down.tolist()


# -- holes -------------------------------------------------------------------------------------------------------------

Side = tuple[bool, int, int]
"""Whether of a hole, its number, and the number of the corner where the side begins."""
Joined = dict[Side, list[tuple[Corner, int]]]
"""What leaves a side: where, and to which hole."""


def _attached(parts: list[Ring], holes: list[Ring], padded: NDArray[np.bool_]) -> Joined:
    """Lead a channel from the leftmost corner of each hole to the left, to the first boundary it meets."""
    owner = _upright_sides(parts, holes)
    found: Joined = defaultdict(list)
    for number, ring in enumerate(holes):
        i, j = ring[_leftmost(ring)]
        column = j - 1
        # Left of the channel, in the pixels above and below it.
        while padded[i, column] and padded[i + 1, column]:
            column -= 1
        side = owner[(i - 1 if not padded[i, column] else i, column)]
        found[side].append(((i, column), number))
    return found


def _upright_sides(parts: list[Ring], holes: list[Ring]) -> dict[Corner, Side]:
    """Which side runs along the left or right edge of a pixel, by that edge's upper corner."""
    owner: dict[Corner, Side] = {}
    for is_hole, rings in ((False, parts), (True, holes)):
        for number, ring in enumerate(rings):
            for at, (i, j) in enumerate(ring):
                below, column = ring[(at + 1) % len(ring)]
                if column == j:
                    for row in range(min(i, below), max(i, below)):
                        owner[row, j] = (is_hole, number, at)
    return owner


def _leftmost(ring: Ring) -> int:
    return min(range(len(ring)), key=lambda at: (ring[at][1], ring[at][0]))


def _walked(part: int, parts: list[Ring], holes: list[Ring], joined: Joined) -> Ring:
    """Walk round a part, and from each channel round its hole and back."""
    path: Ring = []
    waiting = [_steps((False, part), parts[part], 0, joined)]
    while waiting:
        step = next(waiting[-1], None)
        if step is None:
            waiting.pop()
        elif isinstance(step, tuple):
            path.append(step)
        else:
            waiting.append(_steps((True, step), holes[step], _leftmost(holes[step]), joined))
    return path


def _steps(owner: tuple[bool, int], ring: Ring, first: int, joined: Joined) -> Iterator[Corner | int]:
    """Corners from the first on, and numbers of the holes that are met; a hole ends where it began."""
    for at in [*range(first, len(ring)), *range(first)]:
        yield ring[at]
        met = joined.get((*owner, at))
        if met:
            for corner, hole in sorted(met, reverse=ring[at][0] > ring[(at + 1) % len(ring)][0]):
                yield corner
                yield hole
                yield corner
    if owner[0]:
        yield ring[first]
