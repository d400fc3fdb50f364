"""A smooth curve through points of the patient, measured along itself."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from researchpacs.errors import InvalidInputError

__all__ = ["Curve", "curve_through"]

Floats = NDArray[np.floating[Any]]

FINE = 64
"""Steps between two points, to measure lengths along the curve by."""
SAME_MM = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A natural cubic spline over the chords between its points."""

    knots: Floats
    """(n,) ascending, mm along the chords."""
    points_lps: Floats
    """(n, 3), (x, y, z) mm."""
    bends: Floats
    """(n, 3), second derivatives at the points."""
    fine: Floats
    """(m,) parameters, between the first knot and the last."""
    run: Floats
    """(m,) mm along the curve up to each of them."""

    @property
    def length_mm(self) -> float:
        """From end to end along the curve."""
        return float(self.run[-1])

    def at(self, along_mm: Floats) -> tuple[Floats, Floats]:
        """Give points and unit tangents at lengths along the curve, (k, 3) each, LPS mm."""
        points, slopes = self._evaluated(np.interp(along_mm, self.run, self.fine))
        return points, slopes / np.linalg.norm(slopes, axis=-1, keepdims=True)

    def _evaluated(self, t: Floats) -> tuple[Floats, Floats]:
        return _evaluated(self.knots, self.points_lps, self.bends, t)


def curve_through(points_lps: Floats) -> Curve:
    """Lay a curve through points, in their order.

    Parameters
    ----------
    points_lps
        (n, 3), (x, y, z) mm; one that repeats the point before it counts once.

    Raises
    ------
    InvalidInputError
        Fewer than two different points, or not finite.
    """
    if not np.isfinite(points_lps).all():
        raise InvalidInputError("points_lps: expected finite numbers")
    chords = np.linalg.norm(np.diff(points_lps, axis=0), axis=1)
    points = points_lps[np.concatenate([[True], chords > SAME_MM])] if len(points_lps) else points_lps
    if len(points) < 2:
        raise InvalidInputError("a curve needs at least two different points")
    knots = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    bends = _bends(knots, points)
    steps = [np.linspace(a, b, FINE, endpoint=False) for a, b in pairwise(knots)]
    fine = np.concatenate([*steps, knots[-1:]])
    places, _ = _evaluated(knots, points, bends, fine)
    run = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(places, axis=0), axis=1))])
    return Curve(knots, points, bends, fine, run)


def _bends(knots: Floats, points: Floats) -> Floats:
    """Second derivatives of the natural spline: none at its ends."""
    count = len(knots)
    steps = np.diff(knots)
    system, right = np.eye(count), np.zeros((count, 3))
    for k in range(1, count - 1):
        system[k, k - 1 : k + 2] = steps[k - 1], 2 * (steps[k - 1] + steps[k]), steps[k]
        slopes = (points[k + 1] - points[k]) / steps[k] - (points[k] - points[k - 1]) / steps[k - 1]
        right[k] = 6 * slopes
    return np.linalg.solve(system, right)


def _evaluated(knots: Floats, points: Floats, bends: Floats, t: Floats) -> tuple[Floats, Floats]:
    """Points and slopes at parameters, (k, 3) each."""
    k = np.clip(np.searchsorted(knots, t, side="right") - 1, 0, len(knots) - 2)
    step = (knots[k + 1] - knots[k])[:, None]
    after = (t - knots[k])[:, None]
    before = step - after
    first, second = bends[k], bends[k + 1]
    start, end = points[k] / step - first * step / 6, points[k + 1] / step - second * step / 6
    places = (first * before**3 + second * after**3) / (6 * step) + start * before + end * after
    slopes = (second * after**2 - first * before**2) / (2 * step) - start + end
    return places, slopes
