"""Contours to a mask on the grid of a volume: which plane each is on, and the voxels whose centre it encloses."""

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from researchpacs.dicom.polygons import even_odd_mask
from researchpacs.errors import GeometryError
from researchpacs.volume.frame import AXES, frame_of

__all__ = ["mask_of_contours"]

_ABSOLUTE_MM, _RELATIVE = 0.02, 0.05
"""How far a contour may be off the plane it is on, as for the planes of volumes."""
_EDGE = 0.5 + 1e-3
"""Pixels that a contour may reach beyond the centres of the outermost ones: it may run along their edge."""

Floats = NDArray[np.float64]


def mask_of_contours(contours: Sequence[Floats], vol: xr.DataArray, *, name: str, clip: bool) -> NDArray[np.bool_]:
    """Fill contours, even-odd on each plane.

    Parameters
    ----------
    contours
        ``(n, 3)`` each, LPS mm.
    vol
        Dimensions (z, y, x).
    name
        Of the region, for messages.
    clip
        Leave out what is beyond the volume.

    Returns
    -------
    mask
        (z, y, x).

    Raises
    ------
    GeometryError
        A contour of less than three points, one that lies in no plane of the volume or between two, or, unless `clip`,
        beyond it.
    """
    short = [at for at, one in enumerate(contours) if len(one) < 3]
    if short:
        raise GeometryError(f"contour {short[0]} of {name} has {len(contours[short[0]])} points; an area takes three")
    inverse = np.linalg.inv(frame_of(vol).matrix)
    along = [one @ inverse.T for one in contours]
    normal = _normal(along, vol, name)
    planes = _by_plane(along, normal, vol, name, clip=clip)
    mask = np.zeros(vol.shape, np.bool_)
    # A view, so that what is filled in lands in the mask.
    stacked = np.moveaxis(mask, normal, 0)
    others = [axis for axis in range(3) if axis != normal]
    for plane, found in planes.items():
        polygons = _once([_as_pixels(along[at], others, vol) for at in found], name)
        for polygon in polygons:
            _refuse_beyond(polygon, stacked.shape[1:], name, clip=clip)
        stacked[plane] = even_odd_mask(polygons, (stacked.shape[1], stacked.shape[2]))
    _tell_gaps(sorted(planes), name)
    return mask


def _normal(along: Sequence[Floats], vol: xr.DataArray, name: str) -> int:
    """The axis across the contours' planes."""
    spread = np.array([np.ptp(one, axis=0) for one in along]).max(axis=0)
    allowed = [max(_ABSOLUTE_MM, _RELATIVE * _gap(vol, axis)) for axis in range(3)]
    flat = [axis for axis in range(3) if spread[axis] <= allowed[axis]]
    if not flat:
        raise GeometryError(
            f"the contours of {name} lie in no planes of the volume; take the volume that they were drawn on"
        )
    return flat[0]


def _by_plane(
    along: Sequence[Floats], normal: int, vol: xr.DataArray, name: str, *, clip: bool
) -> Mapping[int, list[int]]:
    """Which contours are on which plane, each in the middle of its points."""
    places, gap = vol[AXES[normal]].values, _gap(vol, normal)
    heights = np.array([float(one[:, normal].min() + one[:, normal].max()) / 2 for one in along])
    nearest = np.abs(places[None, :] - heights[:, None]).argmin(axis=1)
    off = np.abs(places[nearest] - heights)
    is_off = off > max(_ABSOLUTE_MM, _RELATIVE * gap)
    is_beyond = is_off & ((heights < places.min()) | (heights > places.max()))
    if is_beyond.any() and not clip:
        raise GeometryError(
            f"{is_beyond.sum()} of {len(along)} contours of {name} lie beyond the volume, by up to "
            f"{off[is_beyond].max():.2f} mm; pass clip=True to leave them out"
        )
    if (is_off & ~is_beyond).any():
        raise GeometryError(
            f"{(is_off & ~is_beyond).sum()} of {len(along)} contours of {name} lie between slices of the volume, by up "
            f"to {off[is_off & ~is_beyond].max():.2f} mm; make the mask on the series they were drawn on, and resample "
            "that"
        )
    planes: dict[int, list[int]] = defaultdict(list)
    for at in np.flatnonzero(~is_off):
        planes[int(nearest[at])].append(int(at))
    return planes


def _as_pixels(along: Floats, axes: Sequence[int], vol: xr.DataArray) -> Floats:
    """Coordinates in mm as fractional indices along two axes."""
    pixels = np.empty((len(along), 2))
    for place, axis in enumerate(axes):
        index = vol.xindexes[AXES[axis]]
        step = getattr(index, "step", None)
        if step is None:
            raise GeometryError(
                f"the volume is not evenly spaced along {AXES[axis]!r}, within the planes of the contours"
            )
        pixels[:, place] = (along[:, axis] - vol[AXES[axis]].values[0]) / step
    return pixels


def _once(polygons: list[Floats], name: str) -> list[Floats]:
    """Leave out repetitions: the same contour twice would cancel itself."""
    found = {polygon.tobytes(): polygon for polygon in polygons}
    if len(found) < len(polygons):
        warnings.warn(f"{name} repeats a contour; it counts once", UserWarning, stacklevel=2)
    return list(found.values())


def _refuse_beyond(polygon: Floats, shape: tuple[int, ...], name: str, *, clip: bool) -> None:
    over = max(float(-polygon.min()), *(float(polygon[:, axis].max()) - size + 1 for axis, size in enumerate(shape)))
    if over > _EDGE and not clip:
        raise GeometryError(
            f"a contour of {name} reaches {over - 0.5:.1f} pixels out of the volume; pass clip=True to cut it off"
        )


def _tell_gaps(planes: Sequence[int], name: str) -> None:
    """Say where a region is drawn on every second or nth slice only, as some programs do that interpolate."""
    gaps = np.diff(planes)
    if len(gaps) > 1 and gaps.min() > 1 and gaps.min() == gaps.max():
        warnings.warn(
            f"{name} is drawn on every {gaps[0]}. slice of the volume; the mask is empty between",
            UserWarning,
            stacklevel=2,
        )


def _gap(vol: xr.DataArray, axis: int) -> float:
    values = vol[AXES[axis]].values
    return float(np.abs(np.diff(values)).min()) if len(values) > 1 else 0.0
