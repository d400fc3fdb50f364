"""The arithmetic behind `researchpacs.dicom.geometry`: frames as arrays, one check after the other.

Positions are (n, 3) LPS mm, orientations (n, 6) cosines, pixel spacings (n, 2) mm between rows and between columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from researchpacs.dicom.geometry import REASONS, FrameLike, Geometry

__all__ = [
    "Stack",
    "are_placed",
    "are_resized",
    "are_turned",
    "classify",
    "examine",
    "geometry_of",
    "grid_tolerance",
    "normals_of",
    "rows_of",
    "same_mm",
    "starts_of",
]

GRID_TOLERANCE_MM = 0.02
GRID_TOLERANCE = 0.05
"""Of the spacing."""
ANGLE_TOLERANCE = np.sin(np.deg2rad(0.1))
COSINE_TOLERANCE = 2e-3
"""Cosines rounded to three digits still pass."""
PIXEL_SPACING_TOLERANCE = 1e-4
"""Relative: 0.05 pixels over 512."""
SAME_MM = 1e-3
"""Positions closer than this are one position, whatever the spacing."""
BELIEVABLE_MM = 1e6
"""A kilometre: no coordinate or spacing in a patient's frame is larger."""

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(slots=True)
class Stack:
    """Frames in sorted order, and what was found wrong with them."""

    order: Indices
    """(n,) Indices into the frames as given."""
    positions: Floats
    orientations: Floats
    pixel_spacings: Floats
    sizes: NDArray[np.int64]
    """(n, 2) Rows, columns."""
    reasons: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Reason to the slices to blame, in sorted order."""
    step: Floats | None = None
    """(3,) LPS mm from slice to slice, where there is one."""
    error_mm: float | None = None

    def find(self, reason: str, guilty: Bools) -> None:
        """Note a reason if any slice is guilty of it."""
        slices = np.flatnonzero(guilty).tolist()
        if slices:
            self.reasons[reason] = tuple(sorted({*self.reasons.get(reason, ()), *slices}))


def classify(frames: Sequence[FrameLike]) -> tuple[Geometry, tuple[int, ...]]:
    """Do the work of `researchpacs.dicom.geometry.classify`."""
    stack = examine(frames)
    return geometry_of(stack), tuple(stack.order.tolist())


def examine(frames: Sequence[FrameLike]) -> Stack:
    """Sort frames and note everything that keeps them from being one uniform volume."""
    stack = _sorted(frames)
    n = len(frames)
    if n == 0:
        stack.reasons["not_an_image"] = ()
        return stack
    stack.find("not_an_image", np.any(stack.sizes <= 0, axis=1))
    stack.find("no_position", ~are_placed(stack.positions, stack.orientations, stack.pixel_spacings))
    stack.find("multiple_stacks", np.any(stack.sizes != stack.sizes[0], axis=1))
    if n == 1:
        stack.reasons["single_slice"] = (0,)
    if "no_position" in stack.reasons:
        return stack
    stack.find("multiple_stacks", are_resized(stack.pixel_spacings))
    stack.find("mixed_orientation", are_turned(stack.orientations))
    if n > 1 and not stack.reasons:
        _check_positions(stack)
    return stack


def _sorted(frames: Sequence[FrameLike]) -> Stack:
    """Frames as arrays, along +normal; those that cannot be placed come last."""
    positions = rows_of([frame.position for frame in frames], 3)
    orientations = rows_of([frame.orientation for frame in frames], 6)
    pixel_spacings = rows_of([frame.pixel_spacing for frame in frames], 2)
    layouts = [frame.layout for frame in frames]
    sizes = np.array([(u.rows, u.columns) if u else (0, 0) for u in layouts], np.int64).reshape(-1, 2)
    placed = are_placed(positions, orientations, pixel_spacings)
    group, distance = np.zeros(len(frames), np.intp), np.zeros(len(frames))
    if placed.any():
        at = np.flatnonzero(placed)
        if are_turned(orientations[at]).any():
            group[at] = np.unique(orientations[at].round(2), axis=0, return_inverse=True)[1].ravel()
            normals = normals_of(orientations[at])
        else:
            # One normal for all: the last digits of the cosines vary from slice to slice.
            normals = np.broadcast_to(normals_of(orientations[at[:1]]), (len(at), 3))
        distance[at] = np.einsum("ij,ij->i", positions[at], normals)
    order = np.lexsort((distance, group, ~placed))
    return Stack(order, positions[order], orientations[order], pixel_spacings[order], sizes[order])


def rows_of(values: Sequence[Sequence[float] | None], width: int) -> Floats:
    """(n, width), NaN where a value is absent or of another length."""
    absent = (np.nan,) * width
    rows = [absent if value is None or len(value) != width else tuple(value) for value in values]
    return np.array(rows, np.float64).reshape(-1, width)


def are_placed(positions: Floats, orientations: Floats, pixel_spacings: Floats) -> Bools:
    """(n,) Whether a frame's place can be believed; NaN fails every comparison."""
    sound = np.asarray((np.abs(positions) < BELIEVABLE_MM).all(axis=1), np.bool_)
    sound &= ((pixel_spacings > 1 / BELIEVABLE_MM) & (pixel_spacings < BELIEVABLE_MM)).all(axis=1)
    sound &= (np.abs(orientations) <= 1 + COSINE_TOLERANCE).all(axis=1)
    axes = np.where(sound[:, None], orientations, 0).reshape(-1, 2, 3)
    lengths = np.linalg.norm(axes, axis=2)
    sound &= (np.abs(lengths - 1) <= COSINE_TOLERANCE).all(axis=1)
    sound &= np.abs(np.einsum("ij,ij->i", axes[:, 0], axes[:, 1])) <= COSINE_TOLERANCE
    return sound


def are_turned(orientations: Floats) -> Bools:
    """(n,) Whether a plane is turned against the first, in itself or out of itself."""
    axes = (orientations - orientations[0]).reshape(-1, 2, 3)
    turned: Bools = (np.linalg.norm(axes, axis=2) >= ANGLE_TOLERANCE).any(axis=1)
    return turned


def are_resized(pixel_spacings: Floats) -> Bools:
    """(n,) Whether the pixels of a plane are larger or smaller than those of the first."""
    first = pixel_spacings[0]
    resized: Bools = (np.abs(pixel_spacings - first) > PIXEL_SPACING_TOLERANCE * first).any(axis=1)
    return resized


def normals_of(orientations: Floats) -> Floats:
    """(n, 3) Row cosines x column cosines, unit vectors."""
    normals: Floats = np.cross(orientations[:, :3], orientations[:, 3:])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return normals


def _check_positions(stack: Stack) -> None:
    """Look for repeated positions, then lay a regular grid through those that differ."""
    normal = normals_of(stack.orientations[:1])[0]
    along = stack.positions @ normal
    starts = starts_of(along)
    leaders = np.flatnonzero(starts)[np.cumsum(starts) - 1]
    beside = np.linalg.norm(stack.positions - stack.positions[leaders], axis=1) > same_mm(along)
    stack.find("multiple_stacks", beside)
    stack.find("duplicate_positions", ~starts & ~beside)
    if starts.sum() > 1:
        _check_grid(stack, np.flatnonzero(starts), normal)


def same_mm(along: Floats) -> float:
    """How close two of the sorted distances along the normal count as one position."""
    gaps = np.diff(along)
    distinct = gaps[gaps > SAME_MM]
    return max(SAME_MM, GRID_TOLERANCE * float(np.median(distinct))) if distinct.size else SAME_MM


def grid_tolerance(spacing: float) -> float:
    """How far in mm a slice may be off the regular grid."""
    return min(max(GRID_TOLERANCE_MM, GRID_TOLERANCE * spacing), spacing / 4)


def starts_of(along: Floats) -> Bools:
    """(n,) Whether each of the sorted distances along the normal is another position than the one before."""
    return np.concatenate(([True], np.diff(along) > same_mm(along)))


def _check_grid(stack: Stack, at: Indices, normal: Floats) -> None:
    """Lay a grid through the slices `at`, whose positions differ, and measure how far they are from it."""
    points = stack.positions[at]
    gaps = np.diff(points @ normal)
    # A few gaps too small must not set the spacing, and half of the slices may be missing: so the lower quartile.
    base = float(np.quantile(gaps, 0.25, method="lower"))
    counts = np.rint(gaps / base).clip(1)
    if counts.max() > len(at) * 100:  # gaps of that ratio are no grid with holes
        counts = np.ones_like(counts)
    index = np.concatenate(([0.0], np.cumsum(counts)))
    step = (points[-1] - points[0]) / index[-1]
    off = points - (points[0] + index[:, None] * step)
    along = np.abs(off @ normal)
    # What is off along the normal moves a tilted slice sideways too; beside the line is what remains.
    beside = np.linalg.norm(off - np.outer(off @ normal, step / (step @ normal)), axis=1)
    spacing = float(step @ normal)
    tolerance = grid_tolerance(spacing)
    stack.error_mm = float(np.linalg.norm(off, axis=1).max())
    _note(stack, "multiple_stacks", at[beside > tolerance])
    if (along > tolerance).any():
        uneven = np.abs(gaps - np.median(gaps)) > tolerance
        _note(stack, "nonuniform_spacing", at[1:][uneven] if uneven.any() else at[along > tolerance])
    else:
        _note(stack, "missing_slices", at[1:][counts > 1])
    if not (beside > tolerance).any():
        stack.step = step
        tilted = np.linalg.norm(np.cross(step, normal)) >= ANGLE_TOLERANCE * np.linalg.norm(step)
        _note(stack, "gantry_tilt", at if tilted else at[:0])


def _note(stack: Stack, reason: str, slices: Indices) -> None:
    guilty = np.zeros(len(stack.order), bool)
    guilty[slices] = True
    stack.find(reason, guilty)


def geometry_of(stack: Stack) -> Geometry:
    """Say what a stack is."""
    reasons = tuple(reason for reason in REASONS if reason in stack.reasons)
    n = len(stack.order)
    rows, columns = stack.sizes[0].tolist() if n else (0, 0)
    shape = (n, rows, columns)
    if {"not_an_image", "no_position"} & set(reasons):
        return Geometry(reasons, shape, (None, None, None), None)
    across, along = stack.pixel_spacings[0].tolist()
    if "multiple_stacks" in reasons:
        return Geometry(reasons, shape, (None, None, None), None, stack.error_mm)
    if stack.step is None or set(reasons) - {"gantry_tilt"}:
        return Geometry(reasons, shape, (None, across, along), None, stack.error_mm)
    axes = stack.orientations[0].reshape(2, 3)
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    affine = np.eye(4)
    affine[:3] = np.column_stack([stack.step, axes[1] * across, axes[0] * along, stack.positions[0]])
    spacing = (float(np.linalg.norm(stack.step)), across, along)
    return Geometry(reasons, shape, spacing, tuple(map(tuple, affine.tolist())), stack.error_mm)
