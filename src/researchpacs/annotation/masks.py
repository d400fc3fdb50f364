"""Masks of named segments on the grid of a volume; nothing is interpolated.

A segmentation's frames lie where its object says. They fit a volume where each pixel falls on a voxel, whatever the
order of the slices and the direction of rows and columns.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from researchpacs.dicom.seg import Plane, planes, segments
from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.volume.frame import AXES, PatientFrame, frame_of

__all__ = ["fill", "placed_frames", "segment_masks", "spatial"]

_ABSOLUTE_MM, _RELATIVE = 0.02, 0.05
"""How far a pixel may be off the voxel it falls on, as for the planes of volumes."""

Spot = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]
"""Indices along z, y, x of the pixels of a frame, to be broadcast; -1 is outside."""
Placed = tuple[Plane, NDArray[Any]]
"""Where a frame is, and its stored values, ``(rows, columns)``."""


def segment_masks(
    ds: Dataset, frames: Iterable[NDArray[Any]], labels: Sequence[str], *, like: xr.DataArray
) -> dict[str, xr.DataArray]:
    """Read segments of a segmentation as masks.

    Parameters
    ----------
    ds
        Its header.
    frames
        Decoded frames, ``(rows, columns)``, in the object's order; one at a time is held.
    labels
        Segment Labels (0062,0005). Segments of one label are one mask.
    like
        The volume that was segmented, dimensions (z, y, x); along leading dimensions the mask is the same.

    Returns
    -------
    masks
        By label: bool, on the grid of `like`. Of a fractional segment the voxels that are filled by half or more.

    Raises
    ------
    GeometryError
        Another Frame of Reference, another grid, frames without a place, or a segment that reaches out of the volume.
    InvalidInputError
        No segment has one of the labels.
    """
    vol = spatial(like)
    numbers = {label: {one.number for one in segments(ds) if one.label == label} for label in labels}
    for label, found in numbers.items():
        if not found:
            raise InvalidInputError(f"the segmentation has no segment {label!r}")
    if str(ds.get("FrameOfReferenceUID") or "") != frame_of(vol).uid:
        raise GeometryError("the segmentation has another Frame of Reference than the volume; register them first")
    masks = {label: np.zeros(vol.shape, np.bool_) for label in labels}
    half = 0.5 * (ds.get("MaximumFractionalValue") or 255) if ds.get("SegmentationType") == "FRACTIONAL" else 1
    fill(masks, placed_frames(ds, frames), numbers, vol, of_pixels=lambda pixels: pixels >= half)
    return {label: _as_volume(mask, vol, label) for label, mask in masks.items()}


def spatial(vol: xr.DataArray) -> xr.DataArray:
    """Give one volume of several along leading dimensions, as z, y, x."""
    return vol.isel(dict.fromkeys((name for name in vol.dims if name not in AXES), 0), drop=True).transpose(*AXES)


def fill(
    arrays: Mapping[str, NDArray[Any]],
    placed: Iterable[Placed],
    numbers: Mapping[str, Collection[int]],
    vol: xr.DataArray,
    *,
    of_pixels: Callable[[NDArray[Any]], NDArray[Any]],
    clip: bool = False,
) -> None:
    """Put frames where they are into arrays on the grid of a volume.

    Parameters
    ----------
    arrays
        By label, (z, y, x); where segments meet the higher value stays.
    placed
        Frames; those of a labelmap have no segment.
    numbers
        By label, the segments that are wanted.
    vol
        The volume, dimensions (z, y, x).
    of_pixels
        Makes values of the arrays from those of a frame of one segment.
    clip
        Leave out what is beyond the volume.

    Raises
    ------
    GeometryError
        Another grid, or a segment that reaches out of the volume.
    """
    frame = frame_of(vol)
    for plane, pixels in placed:
        wanted = [label for label in arrays if plane.segment is None or plane.segment in numbers[label]]
        if not wanted:
            continue
        spot = _spot(plane, pixels.shape, vol, frame)
        for label in wanted:
            values = np.isin(pixels, list(numbers[label])) if plane.segment is None else of_pixels(pixels)
            _add(arrays[label], spot, values, clip=clip)


def placed_frames(ds: Dataset, frames: Iterable[NDArray[Any]]) -> Iterator[Placed]:
    """Say where each frame of a segmentation is.

    Raises
    ------
    GeometryError
        A frame has no place, or there are more or fewer frames than places.
    """
    places, count = planes(ds), 0
    for count, pixels in enumerate(frames, start=1):
        plane = places[count - 1] if count <= len(places) else None
        if plane is None:
            raise GeometryError(f"frame {count - 1} of the segmentation has no place in the patient")
        yield plane, pixels
    if count < len(places):
        raise GeometryError(f"the segmentation places {len(places)} frames and has {count}")


def _add(array: NDArray[Any], spot: Spot, values: NDArray[Any], *, clip: bool) -> None:
    is_outside = np.logical_or.reduce(np.broadcast_arrays(*(index < 0 for index in spot)))
    inside = values != 0
    if (inside & is_outside).any():
        if not clip:
            raise GeometryError("the segment reaches out of the volume")
        inside &= ~is_outside
    z, y, x = (index[inside] for index in np.broadcast_arrays(*spot))
    array[z, y, x] = np.maximum(array[z, y, x], values[inside])


def _spot(plane: Plane, shape: Sequence[int], vol: xr.DataArray, frame: PatientFrame) -> Spot:
    """Where the pixels of a frame are in the array."""
    inverse = np.linalg.inv(frame.matrix)
    along_columns, along_rows = np.reshape(plane.orientation, (2, 3))
    # Coordinates along z, y, x: of the first pixel, and from row to row and from column to column.
    first = inverse @ plane.position
    steps = [inverse @ along_rows * plane.pixel_spacing[0], inverse @ along_columns * plane.pixel_spacing[1]]
    owners = [int(np.argmax(np.abs(step))) for step in steps]
    if owners[0] == owners[1]:
        raise _other_grid()
    found: list[NDArray[np.intp]] = [np.zeros(0, np.intp)] * 3
    for place, (owner, step, count) in enumerate(zip(owners, steps, shape, strict=True)):
        index = np.arange(count)
        _refuse_slant(np.delete(step, owner) * (count - 1), vol)
        indices = _nearest(vol[AXES[owner]].values, first[owner] + step[owner] * index, abs(float(step[owner])))
        found[owner] = np.expand_dims(indices, 1 - place)
    (normal,) = {0, 1, 2} - set(owners)
    step_mm = plane.between_mm if vol.sizes[AXES[normal]] > 1 else None
    found[normal] = _nearest(vol[AXES[normal]].values, first[normal : normal + 1], step_mm)[None]
    return found[0], found[1], found[2]


def _nearest(values: NDArray[np.float64], wanted: NDArray[np.float64], step_mm: float | None) -> NDArray[np.intp]:
    """Indices of the coordinates that are wanted; -1 beyond both ends."""
    gap = abs(float(values[1] - values[0])) if len(values) > 1 else step_mm
    allowed = max(_ABSOLUTE_MM, _RELATIVE * (gap or 0.0))
    # A segmentation of every second slice would leave holes, of every half one would count voxels twice.
    if gap and step_mm and abs(gap - step_mm) > max(_ABSOLUTE_MM, _RELATIVE * gap) / max(1, len(wanted) - 1):
        raise _other_grid()
    indices = np.abs(values[None, :] - wanted[:, None]).argmin(axis=1)
    off = np.abs(values[indices] - wanted)
    is_beyond = (wanted < values.min() - allowed) | (wanted > values.max() + allowed)
    if (off > allowed)[~is_beyond].any():
        raise _other_grid()
    return np.where(is_beyond, -1, indices)


def _refuse_slant(drift_mm: NDArray[np.float64], vol: xr.DataArray) -> None:
    """Rows and columns run along the axes of the volume, from end to end."""
    if (np.abs(drift_mm) > _ABSOLUTE_MM + _RELATIVE * _smallest_step(vol)).any():
        raise _other_grid()


def _smallest_step(vol: xr.DataArray) -> float:
    gaps = [abs(float(vol[axis].values[1] - vol[axis].values[0])) for axis in AXES if vol.sizes[axis] > 1]
    return min(gaps, default=0.0)


def _other_grid() -> GeometryError:
    return GeometryError("the segmentation has another grid than the volume: pixels do not fall on voxels one by one")


def _as_volume(mask: NDArray[np.bool_], vol: xr.DataArray, label: str) -> xr.DataArray:
    found = vol.copy(deep=False, data=mask)
    found.name, found.attrs = label, {}
    return found
