"""The place of slices in the patient, as their headers tell it (PS3.3 C.7.6.2), checked against what was meant."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.valuerep import format_number_as_ds

from researchpacs.dicom.geometry import classify
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.errors import GeometryError
from researchpacs.model import SeriesSource

__all__ = ["Grid", "corners_lps", "grid_of", "require_overlap"]

Floats = NDArray[np.float64]
_SKEW = 1e-4
"""Cosine between row and column: 0.006 degree. Affines in single precision stay a hundred times below."""
_OFF_MM = 1e-3


@dataclass(frozen=True, slots=True)
class Grid:
    """The geometry of all slices, as decimal strings."""

    orientation: tuple[str, ...]
    pixel_spacing: tuple[str, str]
    positions: tuple[tuple[str, str, str], ...]
    """By slice index of the source: nothing is sorted or flipped."""
    spacing_z: str
    """Empty for one slice."""


class _Plane(NamedTuple):
    """A slice as `classify` wants it."""

    position: list[float]
    orientation: list[float]
    pixel_spacing: list[float]
    layout: PixelLayout


def grid_of(affine_lps: Floats, shape: tuple[int, ...], *, spacing_z_known: bool) -> Grid:
    """Write an affine as positions and an orientation.

    Parameters
    ----------
    affine_lps
        (4, 4): voxel index (z, y, x, 1) to LPS mm.
    shape
        Slices, rows, columns.
    spacing_z_known
        Whether the length of the affine's z column means anything.

    Raises
    ------
    GeometryError
        The affine is not finite, not invertible or sheared, or the headers would not say the same.
    """
    affine = np.asarray(affine_lps, np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise GeometryError(
            "the affine of the source is not finite or not invertible, so its voxels have no place in a patient; "
            "pass affine_lps=, (4, 4) from voxel index (z, y, x) to LPS mm"
        )
    step, down, right = affine[:3, 0], affine[:3, 1], affine[:3, 2]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    _require_right_angles(affine[:3, :3] / spacing)
    grid = Grid(
        orientation=_decimals([*(right / spacing[2]), *(down / spacing[1])]),
        pixel_spacing=tuple(_decimals(spacing[1:])),  # type: ignore[arg-type]
        positions=tuple(_decimals(affine[:3, 3] + k * step) for k in range(shape[0])),  # type: ignore[misc]
        spacing_z=_decimals(spacing[:1])[0] if spacing_z_known and shape[0] > 1 else "",
    )
    _require_same(grid, affine, shape)
    return grid


def corners_lps(affine_lps: Floats, shape: Sequence[int]) -> Floats:
    """Place the eight corner voxels, (8, 3) LPS mm."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], (1,), indexing="ij"), np.float64).reshape(4, -1)
    places: Floats = (affine_lps @ corners)[:3].T
    return places


def require_overlap(points_lps: Floats, series: SeriesSource, what: str) -> None:
    """Refuse what is nowhere near a series whose Frame of Reference it would claim.

    Parameters
    ----------
    points_lps
        (n, 3): corners of what is converted.
    series
        The series in ``like=``.
    what
        What is converted, for the message.

    Raises
    ------
    GeometryError
        The two boxes share no place, by more than 10 mm.
    """
    box = _box_of(series)
    if box is None:
        return
    low, high = points_lps.min(axis=0), points_lps.max(axis=0)
    apart = float(np.max(np.maximum(low - box[1], box[0] - high)))
    if not apart <= 10:
        raise GeometryError(
            f"{what} is {apart:.0f} mm away from the series in like=, so it cannot be in its Frame of Reference; "
            "give the study as like=, or correct the coordinates (they have to be LPS mm)",
            series_uid=series.uid,
        )


def _box_of(series: SeriesSource) -> tuple[Floats, Floats] | None:
    """Lowest and highest LPS corner, (3,) each, of all frames of a series; None where no frame has a place."""
    corners = [
        np.array(frame.position)
        + down * frame.layout.rows * frame.pixel_spacing[0] * np.array(frame.orientation[3:])
        + right * frame.layout.columns * frame.pixel_spacing[1] * np.array(frame.orientation[:3])
        for frame in series.frames()
        if frame.position and frame.orientation and frame.pixel_spacing
        for down in (0, 1)
        for right in (0, 1)
    ]
    return (np.min(corners, axis=0), np.max(corners, axis=0)) if corners else None


def _require_right_angles(directions: Floats) -> None:
    cosines = np.abs(directions.T @ directions - np.eye(3))
    normal = np.cross(directions[:, 2], directions[:, 1])
    tilt = np.linalg.norm(np.cross(directions[:, 0], normal))
    if cosines[1, 2] > _SKEW or tilt > np.sin(np.deg2rad(0.1)):
        angle = np.rad2deg(np.arccos(np.clip(cosines.max(), 0, 1)))
        raise GeometryError(
            f"the axes of the source meet at {angle:.2f} degrees; slices of an image have right angles. "
            "Resample it onto an unsheared grid first",
            reasons=("gantry_tilt",),
        )


def _require_same(grid: Grid, affine: Floats, shape: tuple[int, ...]) -> None:
    """Read the headers back as any reader would, and compare corners with what was meant."""
    orientation = [float(cosine) for cosine in grid.orientation]
    spacing, layout = [float(mm) for mm in grid.pixel_spacing], _layout(shape)
    planes = [_Plane([float(mm) for mm in one], orientation, spacing, layout) for one in grid.positions]
    right, down = np.array(orientation[:3]) * spacing[1], np.array(orientation[3:]) * spacing[0]
    for k in {0, shape[0] - 1}:
        for y, x in ((0, 0), (shape[1] - 1, 0), (0, shape[2] - 1)):
            told = planes[k].position + down * y + right * x
            off = float(np.linalg.norm(told - (affine @ [k, y, x, 1])[:3]))
            if not off <= _OFF_MM:
                raise GeometryError(f"decimal strings would move a voxel by {off:.3g} mm; are the coordinates in mm?")
    geometry, _ = classify(planes)
    if not geometry.is_volume:
        raise GeometryError(f"the slices would make no volume: {', '.join(geometry.reasons)}", reasons=geometry.reasons)


def _layout(shape: tuple[int, ...]) -> PixelLayout:
    return PixelLayout(
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        rows=shape[1],
        columns=shape[2],
        samples_per_pixel=1,
        bits_allocated=16,
        bits_stored=16,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
        planar_configuration=0,
    )


def _decimals(values: Iterable[float]) -> tuple[str, ...]:
    # Rounded to a picometre: what is left of a zero would only make strings long.
    return tuple(format_number_as_ds(round(float(value), 9) + 0.0) for value in values)
