"""A plane of a scene with its marks, as the kernel draws it."""

from collections.abc import Sequence

import numpy as np

from researchpacs.viewer._kept import outline
from researchpacs.viewer._marks import Drawn
from researchpacs.viewer._picture import Outline, Panel
from researchpacs.viewer._planes import PlaneStack
from researchpacs.viewer._voxels import Voxels

__all__ = ["panel_of", "strokes_of", "words_of"]

Point = Sequence[float]
ROUND = 48
"""Corners of what is drawn for an ellipse."""


def panel_of(
    voxels: Voxels, stack: PlaneStack, index: int, volume: int, marks: Sequence[Drawn], *, only_ready: bool = False
) -> Panel:
    """Make the panel of a plane.

    Parameters
    ----------
    marks
        On this plane.
    only_ready
        Leave the values out where they would have to be waited for, or cannot be read.
    """
    outlines = [Outline(strokes_of(one.shape, one.points_lps, stack), words_of(one)) for one in marks]
    if not only_ready:
        return Panel(stack, index, _values(voxels, stack, index, volume), outlines)
    if voxels.ready(stack, volume) is not None:
        return Panel(stack, index, None, outlines)
    try:
        return Panel(stack, index, _values(voxels, stack, index, volume), outlines)
    except Exception as error:  # the live viewer tells it in full; what is saved says no more than this
        return Panel(stack, index, None, outlines, excuse=f"could not be read: {type(error).__name__}")


def words_of(mark: Drawn) -> str:
    """A mark in words: its label and first number."""
    first = mark.quantities[0]
    return f"{mark.measurement.label} {first.value:.1f} {first.unit}"


def strokes_of(shape: str, points: Sequence[Point], stack: PlaneStack) -> list[list[Point]]:
    """Lines to draw for a shape."""
    if shape in ("cobb", "bidirectional"):
        return [list(points[:2]), list(points[2:])]
    if shape == "polygon":
        return [[*points, points[0]]]
    if shape == "rectangle":
        corners = outline(tuple((p[0], p[1], p[2]) for p in points))
        return [[*corners, corners[0]]]
    if shape in ("circle", "ellipse"):
        return [_round(shape, np.asarray(points, dtype=float), stack)]
    return [list(points)]


def _round(shape: str, points: np.ndarray, stack: PlaneStack) -> list[Point]:
    if shape == "circle":
        centre, one = points[0], points[1] - points[0]
        other = np.cross(stack.normal, one)
    else:
        centre, one, other = (points[0] + points[1]) / 2, (points[1] - points[0]) / 2, (points[3] - points[2]) / 2
    angles = np.linspace(0, 2 * np.pi, ROUND + 1)[:, np.newaxis]
    ring: list[Point] = (centre + np.cos(angles) * one + np.sin(angles) * other).tolist()
    return ring


def _values(voxels: Voxels, stack: PlaneStack, index: int, volume: int) -> np.ndarray:
    if voxels.is_colour:
        return voxels.pixels(stack, index, volume)[0]
    return voxels.values(stack, index, volume)
