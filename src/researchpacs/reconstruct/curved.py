"""Curved planar reformation: a volume along a line in the patient, such as a vessel, a spine or a jaw."""

from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import ArrayLike, NDArray

from researchpacs.errors import InvalidInputError
from researchpacs.reconstruct._sampling import fill_of
from researchpacs.reconstruct.grid import grid_of, require_plain
from researchpacs.reconstruct.spline import Curve, curve_through
from researchpacs.volume import Dicom
from researchpacs.volume.arguments import as_number, as_triples
from researchpacs.volume.frame import AXES
from researchpacs.volume.padding import padding_of

__all__ = ["curved"]

Floats = NDArray[np.floating[Any]]


def curved(
    vol: xr.DataArray,
    points_lps: ArrayLike,
    *,
    width: float = 80.0,
    how: Literal["straightened", "stretched"] = "straightened",
    across: ArrayLike | None = None,
    spacing: float | None = None,
    fill: float | None = None,
) -> xr.DataArray:
    """Look along a curve: a row of the picture for each step along it.

    Parameters
    ----------
    vol
        Dimensions z, y, x. No more of it is read than the box around the picture.
    points_lps
        (n, 3), at least two different ones, (x, y, z) mm: a smooth curve (cubic spline) goes through all of them.
    width
        mm of the picture across the curve; the curve is in its middle.
    how
        ``"straightened"``: rows are perpendicular to the curve, and turn with it as little as they can; lengths along
        the curve are true, what is far from it in a bend is not. ``"stretched"``: rows all run along `across`, and the
        surface they make is unrolled flat, so that all lengths in it are true; the curve then swings in the picture.
    across
        (3,) LPS direction of the rows. By default the direction in which the curve bends least, so that a stretched
        picture shows its whole sweep; straightened rows start with the part of it that is perpendicular to the curve.
    spacing
        mm between rows and between columns, by default the smallest spacing of `vol`.
    fill
        The value outside of the volume, by default air, -1000, for CT in HU, else 0.

    Returns
    -------
    picture
        Dimensions (along, across), coordinates in mm along the curve, or along the unrolled surface, and from the
        middle; linear interpolation, type as `vol`, lazy if `vol` is. It is curved, so it has no affine and
        geometry calls refuse it; ``x_lps``, ``y_lps`` and ``z_lps`` say where each pixel is in the patient.

    Raises
    ------
    InvalidInputError
        Fewer than two different points, a width or spacing that is no positive number, or, stretched, a curve that
        runs along `across`.
    GeometryError
        The volume has no affine.
    """
    if how not in ("straightened", "stretched"):
        raise InvalidInputError(f"how={how!r}: expected 'straightened' or 'stretched'")
    require_plain(vol)
    step = min(Dicom(vol).spacing) if spacing is None else as_number(spacing, "spacing")
    if step <= 0 or as_number(width, "width") <= 0:
        raise InvalidInputError(f"width={width!r}, spacing={spacing!r}: expected mm as positive numbers")
    curve = curve_through(as_triples(points_lps, "points_lps", "x, y, z in LPS mm").reshape(-1, 3))
    direction = _least_bent(curve) if across is None else _unit(across)
    offsets = (np.arange(max(1, round(width / step))) - (max(1, round(width / step)) - 1) / 2) * step
    if how == "straightened":
        along, places = _straightened(curve, direction, offsets, step)
    else:
        along, places = _stretched(curve, direction, offsets, step)
    attrs = dict(vol.attrs)
    attrs["history"] = (*vol.attrs.get("history", ()), f"curved: {how}, {along[-1] - along[0]:.1f} mm along, linear")
    coords = {name: (("along", "across"), places[..., k]) for k, name in enumerate(("x_lps", "y_lps", "z_lps"))}
    return xr.DataArray(
        _values(vol, places, fill_of(vol, fill)), dims=("along", "across"), attrs=attrs, name=vol.name,
        coords={"along": ("along", along, {"units": "mm"}), "across": ("across", offsets, {"units": "mm"}), **coords},
    )  # fmt: skip


def _straightened(curve: Curve, direction: Floats, offsets: Floats, step: float) -> tuple[Floats, Floats]:
    along = np.arange(int(curve.length_mm / step + 1e-6) + 1) * step
    centers, tangents = curve.at(along)
    rows = _turned_least(centers, tangents, direction)
    return along, centers[:, None] + offsets[:, None] * rows[:, None]


def _stretched(curve: Curve, direction: Floats, offsets: Floats, step: float) -> tuple[Floats, Floats]:
    """Unroll the surface of all lines along `direction` through the curve.

    Lengths in it are those along `direction` and those along the curve as seen in that direction.
    """
    fine = np.linspace(0, curve.length_mm, max(2, int(curve.length_mm / step * 8)))
    centers, _ = curve.at(fine)
    shadow = centers - (centers @ direction)[:, None] * direction
    run = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(shadow, axis=0), axis=1))])
    if run[-1] < step:
        raise InvalidInputError(
            "the curve runs along across=, so there is no surface to unroll; give another direction"
        )
    along = np.arange(int(run[-1] / step + 1e-6) + 1) * step
    # Where the curve runs along `direction` its shadow stands still: strictly ascending positions only.
    kept = np.concatenate([[True], np.diff(run) > 0])
    edge = np.stack([np.interp(along, run[kept], shadow[kept, k]) for k in range(3)], axis=1)
    middle = (centers @ direction).mean()
    return along, edge[:, None] + (offsets + middle)[:, None] * direction


def _turned_least(centers: Floats, tangents: Floats, direction: Floats) -> Floats:
    """Directions perpendicular to a curve that do not turn around it (double reflection)."""
    start = direction - (direction @ tangents[0]) * tangents[0]
    if np.linalg.norm(start) < 1e-6:
        start = np.cross(tangents[0], np.eye(3)[np.abs(tangents[0]).argmin()])
    rows = np.empty_like(tangents)
    rows[0] = start / np.linalg.norm(start)
    for k in range(len(rows) - 1):
        chord = centers[k + 1] - centers[k]
        mirrored = _mirrored(rows[k], chord)
        rows[k + 1] = _mirrored(mirrored, tangents[k + 1] - _mirrored(tangents[k], chord))
    return rows


def _mirrored(vector: Floats, normal: Floats) -> Floats:
    squared = float(normal @ normal)
    mirrored: Floats = vector if squared < 1e-24 else vector - 2 * (vector @ normal) / squared * normal
    return mirrored


def _least_bent(curve: Curve) -> Floats:
    """The direction in which the curve spreads least."""
    centers, _ = curve.at(np.linspace(0, curve.length_mm, 200))
    *_, axes = np.linalg.svd(centers - centers.mean(axis=0))
    last: Floats = axes[-1]
    # One sense of the two, the same on every machine: left, back or up.
    return last * (1.0 if last[np.abs(last).argmax()] > 0 else -1.0)


def _unit(vector: ArrayLike) -> Floats:
    found = as_triples(vector, "across", "x, y, z, a direction in LPS")
    length = float(np.linalg.norm(found)) if found.shape == (3,) else 0.0
    if not np.isfinite(length) or length < 1e-9:
        raise InvalidInputError(f"across={vector!r}: expected three finite numbers that are not all zero")
    return found / length


def _values(vol: xr.DataArray, places: Floats, fill: float) -> Any:
    """Linear interpolation at any places, of the box of the volume that they lie in; lazy if the volume is."""
    index = Dicom(vol).to_index(places)
    shape = np.array(grid_of(vol).shape)
    low = np.clip(np.floor(index.reshape(-1, 3).min(axis=0)).astype(int) - 1, 0, shape - 1)
    high = np.clip(np.ceil(index.reshape(-1, 3).max(axis=0)).astype(int) + 2, low + 1, shape)
    box = {axis: slice(int(a), int(b)) for axis, a, b in zip(AXES, low, high, strict=True)}
    told = vol.attrs.get("padding")
    data = vol.transpose(*AXES).isel(box).data
    padding = None if told is None else padding_of(vol).transpose(*AXES).isel(box).data
    outside = np.asarray(((index < -0.5) | (index > shape - 0.5)).any(axis=-1))
    instead = (fill, 0.0 if told is None else float(told[0]))
    if not isinstance(data, da.Array):
        return _interpolated(data, padding, index - low, outside, instead)
    task = delayed(_interpolated, pure=True)(data, padding, index - low, outside, instead)
    return da.from_delayed(task, places.shape[:-1], dtype=vol.dtype)


def _interpolated(
    data: NDArray[Any], padding: NDArray[np.bool_] | None, at: Floats, outside: NDArray[np.bool_],
    instead: tuple[float, float],
) -> NDArray[Any]:  # fmt: skip
    """Values between voxels that are no padding; padding stands where less than half of the weight is theirs."""
    fill, padding_value = instead
    at = np.clip(at, 0, np.array(data.shape) - 1)
    real = data.astype(np.float64)
    if padding is None:
        out = _linear(real, at)
    else:
        weights = _linear((~padding).astype(np.float64), at)
        out = np.full(weights.shape, padding_value)
        np.divide(_linear(np.where(padding, 0, real), at), weights, out=out, where=weights >= 0.5)
    out[outside] = fill
    return (np.rint(out) if data.dtype.kind in "biu" else out).astype(data.dtype)


def _linear(values: Floats, at: Floats) -> Floats:
    below = np.minimum(np.floor(at), np.maximum(np.array(values.shape) - 2, 0)).astype(np.intp)
    after = at - below
    above = np.minimum(below + 1, np.array(values.shape) - 1)
    out = np.zeros(at.shape[:-1])
    for corner in np.ndindex(2, 2, 2):
        spot = tuple((above if corner[k] else below)[..., k] for k in range(3))
        weight = np.prod([after[..., k] if corner[k] else 1 - after[..., k] for k in range(3)], axis=0)
        # A weight of zero hides what is not finite.
        out += np.where(weight > 0, weight * np.where(weight > 0, values[spot], 0), 0)
    return out
