"""Where the voxels of a segmentation are kept: arrays in memory, or the pixels of a stored object."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from researchpacs.annotation.masks import Placed, placed_frames
from researchpacs.dicom import seg
from researchpacs.dicom.file_frames import frames_of_file
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.dicom.seg import Plane
from researchpacs.errors import GeometryError
from researchpacs.volume import as_volume
from researchpacs.volume.frame import AXES, frame_of

__all__ = ["Made", "Part", "Stored", "Voxels", "cropped", "plane_at"]

_MOST_VOXELS = 1 << 32


class Voxels(Protocol):
    """What can say where each of its frames is."""

    @property
    def highest(self) -> int:
        """The stored value of a voxel that belongs wholly to its segment."""
        ...

    def grid(self) -> xr.DataArray:
        """The grid that all its frames lie on: dimensions (z, y, x), values without meaning."""
        ...

    def placed(self, numbers: Collection[int]) -> Iterator[Placed]:
        """Its frames that may show some of the segments, one after another."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The box of a grid that a segment fills."""

    number: int | None
    """None for labels of all segments."""
    origin: tuple[int, int, int]
    values: NDArray[Any]
    """(z, y, x); empty where there is nothing."""


def cropped(values: NDArray[Any], number: int | None) -> Part:
    """Copy the box that holds all that is not zero."""
    ends: list[slice] = []
    for axis in range(3):
        filled = np.flatnonzero(values.any(axis=tuple({0, 1, 2} - {axis})))
        ends.append(slice(int(filled[0]), int(filled[-1]) + 1) if len(filled) else slice(0, 0))
    z, y, x = (one.start for one in ends)
    return Part(number, (z, y, x), values[tuple(ends)].copy())


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """Arrays in memory."""

    volume: xr.DataArray
    """The grid."""
    parts: tuple[Part, ...]
    highest: int

    def grid(self) -> xr.DataArray:
        """See `Voxels`."""
        return self.volume

    def placed(self, numbers: Collection[int]) -> Iterator[Placed]:
        """See `Voxels`."""
        for part in self.parts:
            if part.number is None or part.number in numbers:
                for at, pixels in enumerate(part.values):
                    z, y, x = part.origin
                    yield plane_at(self.volume, (z + at, y, x), part.number), pixels


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """The pixels of an object, decoded when they are wanted."""

    ds: Dataset = field(repr=False)
    """Its header."""
    data: bytes = field(repr=False)
    """The whole file."""
    layout: PixelLayout

    @property
    def highest(self) -> int:
        """See `Voxels`."""
        is_fractional = self.ds.get("SegmentationType") == "FRACTIONAL"
        return int(self.ds.get("MaximumFractionalValue") or 255) if is_fractional else 1

    def grid(self) -> xr.DataArray:
        """See `Voxels`.

        Raises
        ------
        GeometryError
            Frames without a place, of several orientations or spacings, or not on planes of one distance.
        """
        found = seg.grid(self.ds)
        if found is None:
            raise GeometryError(
                "the frames of the segmentation make no one grid; pass like=, the volume that was segmented"
            )
        affine, count = found
        shape = (count, self.layout.rows, self.layout.columns)
        if np.prod(shape, dtype=np.float64) > _MOST_VOXELS:
            raise GeometryError(f"the grid of the segmentation would have {shape} voxels; pass like=, a volume")
        return as_volume(
            np.broadcast_to(np.False_, shape), affine, str(self.ds.get("FrameOfReferenceUID") or ""),
            spacing_z_known=count > 1,
        )  # fmt: skip

    def placed(self, numbers: Collection[int]) -> Iterator[Placed]:
        """See `Voxels`."""
        return placed_frames(self.ds, frames_of_file(self.data, self.layout))


def plane_at(grid: xr.DataArray, index: tuple[int, int, int], segment: int | None) -> Plane:
    """Describe the plane of a grid whose first pixel is the voxel of an index."""
    matrix = frame_of(grid).matrix
    values = [grid[axis].values for axis in AXES]
    position = matrix @ [float(along[at]) for along, at in zip(values, index, strict=True)]
    # From end to end: the rounding of one difference would grow over hundreds of columns.
    steps = [_step(grid, axis) for axis in AXES]
    orientation = np.concatenate([matrix[:, 2] * np.sign(steps[2]), matrix[:, 1] * np.sign(steps[1])])
    return Plane(
        segment=segment,
        position=tuple(position.tolist()),
        orientation=tuple(orientation.tolist()),
        pixel_spacing=(abs(steps[1]), abs(steps[2])),
        between_mm=abs(steps[0]) or None,
    )


def _step(grid: xr.DataArray, axis: str) -> float:
    """Signed mm from one voxel to the next; 0 where they are uneven or one of unknown thickness, along z only."""
    step = getattr(grid.xindexes[axis], "step", None)
    if step is None and axis != "z":
        raise GeometryError(f"the volume is not evenly spaced along {axis!r}, so it has no planes of pixels")
    return float(step or 0.0)
