"""One block of a resampled volume, from the box of the volume that it needs.

Everything is in indices (z, y, x) of the whole volume. Where grids are parallel, planes, rows and columns are mixed one
axis after the other, which is several times faster than eight neighbours at once; all else is done by ITK. Both take
a point for outside that is more than half a voxel beyond the outermost centres, and clamp what is nearer.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from researchpacs.reconstruct._deformation import Deformation, affine_of

__all__ = ["Interpolation", "Piece", "sample"]

Floats = NDArray[np.floating[Any]]
Interpolation = Literal["linear", "nearest", "bspline"]

METHODS = {
    "linear": SimpleITK.sitkLinear,
    "nearest": SimpleITK.sitkNearestNeighbor,
    "bspline": SimpleITK.sitkBSpline,
}
NEGLIGIBLE = 1e-5
"""Voxels: what a skew may move a voxel of a block and still be none."""
SAME = 1e-4
"""Voxels: nearer than this to a centre is at it, for coordinates are rounded to 1e-4 mm."""
EXTENDED = (2, 6)
"""Voxels on each side over which the values beside padding are averaged to continue into it."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What a block is made of, and where."""

    matrix: Floats
    """(4, 4): index in the block (z, y, x, 1) to index in the whole volume; before a deformation, to LPS mm."""
    offset: tuple[int, int, int]
    """Of the box within the whole volume."""
    whole: tuple[int, int, int]
    """Shape of the whole volume."""
    shape: tuple[int, int, int]
    """Of the block."""
    interpolation: Interpolation
    fill: float
    """The value outside of the volume."""
    padding: float
    """The value where padding was."""
    dtype: str
    """Of the block."""
    deformation: Deformation | None = None


def sample(data: NDArray[Any], padding: NDArray[np.bool_] | None, piece: Piece) -> NDArray[Any]:
    """Interpolate one block.

    Parameters
    ----------
    data
        The box of the volume, (z, y, x); empty where the block lies outside.
    padding
        Which of its voxels are padding; they are never mixed with others.
    """
    dtype = np.dtype(piece.dtype)
    if not data.size:
        return np.full(piece.shape, piece.fill, dtype)
    is_padded = padding is not None and bool(padding.any())
    if padding is not None and is_padded and piece.interpolation != "nearest":
        return _as_type(_seen(data, padding, piece), dtype)
    values = _interpolated(data, piece, piece.interpolation, piece.fill, dtype)
    if padding is not None and is_padded and np.isnan(piece.padding):
        values = np.where(_interpolated(padding, piece, "nearest", 0), np.nan, values)
    return _as_type(values, dtype)


def _seen(data: NDArray[Any], padding: NDArray[np.bool_], piece: Piece) -> NDArray[Any]:
    """Interpolate between voxels that are no padding; where less than half of the weight is theirs, padding stands."""
    real = _real(data.dtype)
    seen = (~padding).astype(np.float32)
    within = _interpolated(np.ones_like(seen), piece, "linear", 0)
    weights = _interpolated(seen, piece, "linear", 0)
    if piece.interpolation == "linear":
        sums = _interpolated(np.where(padding, 0, data).astype(real), piece, "linear", 0)
    else:
        sums = _interpolated(_continued(data.astype(real), seen), piece, piece.interpolation, 0) * weights
    mixed = np.full(sums.shape, piece.padding, real)
    np.divide(sums, weights, out=mixed, where=(weights >= within / 2) & (weights > 0))
    mixed[within == 0] = piece.fill
    return mixed


def _continued(values: NDArray[Any], seen: NDArray[np.float32]) -> NDArray[Any]:
    """Continue what was seen into the padding, so that no edge rings: means of ever more around."""
    known = seen > 0
    filled = np.where(known, values, values[known].mean() if known.any() else 0)
    for radius in reversed(EXTENDED):
        sums, weights = (_box_mean(one, radius) for one in (np.where(known, values, 0).astype(seen.dtype), seen))
        near = ~known & (weights > 1e-6)
        filled[near] = (sums / np.maximum(weights, 1e-6))[near]
    return filled


def _box_mean(values: NDArray[Any], radius: int) -> NDArray[Any]:
    image = SimpleITK.BoxMean(SimpleITK.GetImageFromArray(values), [radius] * 3)
    mean: NDArray[Any] = SimpleITK.GetArrayFromImage(image)
    return mean


def _interpolated(
    data: NDArray[Any], piece: Piece, interpolation: Interpolation, fill: float, dtype: np.dtype[Any] | None = None
) -> NDArray[Any]:
    """Interpolate in `dtype`, or in any that holds the result."""
    axes = _axes(piece) if piece.deformation is None and interpolation != "bspline" else None
    # A weight of zero does not hide what is not finite, and ITK leaves such neighbours out.
    if axes is None or (interpolation == "linear" and data.dtype.kind == "f" and not np.isfinite(data).all()):
        return _by_itk(data, piece, interpolation, fill)
    order, positions = axes
    turned = data.transpose(order)
    whole = [piece.whole[k] for k in order]
    inside = [(p >= -0.5 - SAME) & (p <= n - 0.5 + SAME) for p, n in zip(positions, whole, strict=True)]
    steps = [(np.clip(p, 0, n - 1) - piece.offset[k]) for p, n, k in zip(positions, whole, order, strict=True)]
    values = _nearest(turned, steps) if interpolation == "nearest" else _linear(turned, steps, dtype)
    if not all(one.all() for one in inside):
        outside = ~(inside[0][:, None, None] & inside[1][:, None] & inside[2])
        if values.dtype.kind != "f" and not _fits(fill, values.dtype):
            values = values.astype(np.float64)
        values[outside] = fill
    return values


def _axes(piece: Piece) -> tuple[tuple[int, ...], list[Floats]] | None:
    """Which axis of the volume each axis of the block runs along, and its positions there; None where none does."""
    turn = piece.matrix[:3, :3]
    reach = np.abs(turn) * piece.shape
    order = tuple(int(k) for k in np.abs(turn).argmax(axis=0))
    if len(set(order)) != 3:
        return None
    main = np.zeros((3, 3), bool)
    main[order, range(3)] = True
    if reach[~main].max() > NEGLIGIBLE:
        return None
    positions = []
    for k, axis in enumerate(order):
        along = piece.matrix[axis, 3] + turn[axis, k] * np.arange(piece.shape[k])
        at = np.rint(along)
        positions.append(at if np.abs(along - at).max() < SAME else along)
    return order, positions


def _nearest(data: NDArray[Any], steps: list[Floats]) -> NDArray[Any]:
    # Half a voxel goes up, as ITK has it.
    at = [np.floor(one + 0.5).astype(np.intp).clip(0, n - 1) for one, n in zip(steps, data.shape, strict=True)]
    taken: NDArray[Any] = data[np.ix_(*at)]
    return taken


def _linear(data: NDArray[Any], steps: list[Floats], dtype: np.dtype[Any] | None) -> NDArray[Any]:
    """Mix planes, then rows, then columns, with buffers of one plane that stay in the processor's cache."""
    real = _real(data.dtype)
    (below_z, after_z), (below_y, after_y), (below_x, after_x) = (
        _between(one, n, real) for one, n in zip(steps, data.shape, strict=True)
    )
    # A mean of integers is within their range: rounded, it fits. NaN, for what lies outside, only floats hold.
    whole = dtype is not None and dtype.kind in "iu" and dtype == data.dtype
    out = np.empty([len(one) for one in steps], dtype if whole else real)
    first, second = np.empty(data.shape[1:], real), np.empty(data.shape[1:], real)
    rows = np.empty((len(steps[1]), data.shape[2]), real)
    more_rows = np.empty_like(rows)
    plane, more = np.empty(out.shape[1:], real), np.empty(out.shape[1:], real)
    for k, made in enumerate(out):
        _mix(data[below_z[k]], data[min(below_z[k] + 1, len(data) - 1)], after_z[k], first, second)
        source = first
        if _moves(steps[1], data.shape[1]):
            np.take(first, below_y, axis=0, out=rows, mode="clip")
            np.take(first, below_y + 1, axis=0, out=more_rows, mode="clip")
            _mix(rows, more_rows, after_y[:, None], rows, more_rows)
            source = rows
        if _moves(steps[2], data.shape[2]):
            np.take(source, below_x, axis=1, out=plane, mode="clip")
            np.take(source, below_x + 1, axis=1, out=more, mode="clip")
            _mix(plane, more, after_x, plane, more)
            source = plane
        if whole:
            np.rint(source, out=source)
        np.copyto(made, source, casting="unsafe")
    return out


def _between(steps: Floats, count: int, real: Any) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """The centre before each position, and the weight of the one after it."""
    below = np.minimum(np.floor(steps), max(count - 2, 0)).astype(np.intp)
    return below, (steps - below).astype(real)


def _moves(steps: Floats, count: int) -> bool:
    return len(steps) != count or bool((steps != np.arange(count)).any())


def _mix(first: NDArray[Any], second: NDArray[Any], weight: Any, out: NDArray[Any], buffer: NDArray[Any]) -> None:
    if np.ndim(weight) == 0 and weight == 0:
        out[...] = first
        return
    np.multiply(second, weight, out=buffer)
    np.multiply(first, 1 - weight, out=out)
    np.add(out, buffer, out=out)


def _by_itk(data: NDArray[Any], piece: Piece, interpolation: Interpolation, fill: float) -> NDArray[Any]:
    kind = data.dtype.kind
    if kind in "bui" and (interpolation != "nearest" or not _fits(fill, data.dtype)):
        data = data.astype(_real(data.dtype))  # ITK cuts interpolated integers off towards zero
    elif kind == "b":
        data = data.astype(np.uint8)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(data.astype(data.dtype.newbyteorder("="), copy=False)))
    image.SetOrigin([float(v) for v in piece.offset[::-1]])
    resampler = SimpleITK.ResampleImageFilter()
    resampler.SetInterpolator(METHODS[interpolation])
    resampler.SetDefaultPixelValue(fill)
    resampler.SetSize([int(v) for v in piece.shape[::-1]])
    if piece.deformation is None:
        resampler.SetTransform(affine_of(piece.matrix[2::-1, [2, 1, 0, 3]]))
    else:
        resampler.SetTransform(piece.deformation.between(piece.matrix))
    values: NDArray[Any] = SimpleITK.GetArrayFromImage(resampler.Execute(image))
    return values


def _real(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """The type to interpolate in: it holds every value of `dtype`."""
    return np.float64 if dtype.itemsize > 2 and dtype != np.float32 else np.float32


def _fits(value: float, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "b":
        return value in (0, 1)
    return bool(np.iinfo(dtype).min <= value <= np.iinfo(dtype).max and float(value).is_integer())


def _as_type(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if values.dtype == dtype:
        return values
    if dtype.kind == "b":
        return np.asarray(values > 0.5) if values.dtype.kind == "f" else values.astype(np.bool_)
    if dtype.kind in "iu" and values.dtype.kind == "f":
        limits = np.iinfo(dtype)
        np.rint(values, out=values)
        return np.clip(values, limits.min, limits.max, out=values).astype(dtype)
    return values.astype(dtype)
