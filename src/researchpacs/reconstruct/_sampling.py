"""Values of a volume on another grid, block by block: a block reads no more than the box of the volume it lies in.

Lazy volumes give lazy results, one task for each block; what is in memory is done at once, on all threads.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from dask.system import CPU_COUNT
from numpy.typing import NDArray

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.reconstruct._deformation import Deformation
from researchpacs.reconstruct._kernels import METHODS, Interpolation, Piece, sample
from researchpacs.reconstruct.grid import Grid, grid_of, leading_of
from researchpacs.volume.frame import AXES
from researchpacs.volume.padding import padding_of

__all__ = ["fill_of", "sampled", "unseen_of"]

Floats = NDArray[np.floating[Any]]
Box = tuple[slice, slice, slice]

BLOCK_VOXELS = 1 << 21
SPLINE_MARGIN = 16
"""Voxels: a spline coefficient depends on one that is so far away by less than 1e-9."""
AIR_HU = -1000.0


@dataclass(frozen=True, slots=True)
class Job:
    """What turns one volume into another."""

    grid: Grid
    whole: tuple[int, int, int]
    matrix: Floats
    """(4, 4): index of the grid to index of the volume; before a deformation, to LPS mm."""
    deformation: Deformation | None
    interpolation: Interpolation
    fill: float
    padding: float
    dtype: str


def sampled(
    vol: xr.DataArray,
    grid: Grid,
    *,
    interpolation: Interpolation = "linear",
    fill: float | None = None,
    transform: Floats | Deformation | None = None,
    unseen_as_nan: bool = False,
) -> Any:
    """Interpolate a volume at the voxels of a grid.

    Parameters
    ----------
    vol
        Dimensions z, y, x in any order, and leading ones.
    transform
        Where a point of the grid is in the volume, LPS mm to LPS mm: (4, 4), or a deformation. None: where it is.
    fill
        The value outside of the volume, by default that of `fill_of`.
    unseen_as_nan
        Give floating point, NaN for padding and for what lies outside.

    Returns
    -------
    values
        (leading..., z, y, x), dask where `vol` is lazy, else numpy; of the type of `vol`.
    """
    if interpolation not in METHODS:
        raise InvalidInputError(f"interpolation={interpolation!r}: expected {', '.join(map(repr, METHODS))}")
    leading = leading_of(vol)
    if vol.dtype.kind not in "buif":
        raise GeometryError(f"values of type {vol.dtype} cannot be interpolated")
    dtype = vol.dtype
    if unseen_as_nan and dtype.kind != "f":
        dtype = np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
    told = vol.attrs.get("padding")
    source = grid_of(vol)
    matrix, deformation = _way(source, grid, transform)
    job = Job(
        grid, source.shape, matrix, deformation, interpolation,
        np.nan if unseen_as_nan else fill_of(vol, fill),
        np.nan if unseen_as_nan or told is None else float(told[0]), str(dtype),
    )  # fmt: skip
    ordered = vol.transpose(*leading, *AXES)
    padding = padding_of(ordered).data if told is not None else None
    shape = tuple(vol.sizes[name] for name in leading)
    made = [
        _volume(ordered.data[at], None if padding is None else padding[at], job) for at in np.ndindex(shape)
    ]  # fmt: skip
    if not leading:
        return made[0]
    stack = da.stack(made) if isinstance(made[0], da.Array) else np.stack(made)
    return stack.reshape(shape + grid.shape)


def fill_of(vol: xr.DataArray, fill: float | None) -> float:
    """Give the value outside of a volume: by default air for CT in HU, else 0.

    Raises
    ------
    InvalidInputError
        The type of the volume does not hold it.
    """
    kind = vol.dtype.kind
    low, high = (
        (0, 1) if kind == "b" else (np.iinfo(vol.dtype).min, np.iinfo(vol.dtype).max) if kind in "iu" else (0, 0)
    )
    if fill is None:
        is_hounsfield = vol.attrs.get("Modality") == "CT" and vol.attrs.get("units") == "HU"
        return AIR_HU if is_hounsfield and (kind == "f" or low <= AIR_HU) else 0.0
    if kind != "f" and not low <= fill <= high:
        raise InvalidInputError(f"fill={fill!r} does not fit {vol.dtype}; expected {low} to {high}")
    return float(fill)


def unseen_of(vol: xr.DataArray, fill: float | None) -> float:
    """Give the value for what was not seen: that of padding where the volume has any, else as `fill_of`."""
    told = vol.attrs.get("padding")
    return fill_of(vol, fill) if fill is not None or told is None else float(told[0])


def _way(source: Grid, grid: Grid, transform: Floats | Deformation | None) -> tuple[Floats, Deformation | None]:
    to_index = np.linalg.inv(source.affine_lps)
    if isinstance(transform, Deformation):
        return grid.affine_lps, transform.followed_by(to_index)
    return to_index @ (np.eye(4) if transform is None else transform) @ grid.affine_lps, None


def _volume(data: Any, padding: Any, job: Job) -> Any:
    blocks = list(_blocks(job))
    if isinstance(data, da.Array):
        return _lazy(data, padding, job, blocks)
    out = np.empty(job.grid.shape, job.dtype)

    def fill(block: Box) -> None:
        box, piece = _piece(job, block)
        out[block] = sample(data[box], None if padding is None else padding[box], piece)

    with ThreadPoolExecutor(CPU_COUNT) as pool:
        list(pool.map(fill, blocks))
    return out


def _lazy(data: da.Array, padding: Any, job: Job, blocks: list[Box]) -> da.Array:
    do: Callable[..., Any] = delayed(sample, pure=True)
    made: dict[tuple[int, ...], da.Array] = {}
    starts = [sorted({block[k].start for block in blocks}) for k in range(3)]
    for block in blocks:
        box, piece = _piece(job, block)
        place = tuple(starts[k].index(block[k].start) for k in range(3))
        if any(one.start == one.stop for one in box):
            made[place] = da.full(piece.shape, job.fill, dtype=job.dtype)
            continue
        task = do(data[box], None if padding is None else padding[box], piece)
        made[place] = da.from_delayed(task, piece.shape, dtype=job.dtype)
    counts = [len(one) for one in starts]
    lazy: da.Array = da.block(
        [[[made[z, y, x] for x in range(counts[2])] for y in range(counts[1])] for z in range(counts[0])]
    )
    return lazy


def _blocks(job: Job) -> Iterator[Box]:
    """Cut the grid: into slabs where it is parallel to the volume, else into cubes, which lie in smaller boxes."""
    shape = job.grid.shape
    turn = np.abs(job.matrix[:3, :3])
    is_parallel = job.deformation is None and np.sort(turn, axis=0)[:2].max() < 1e-6 * turn.max()
    if is_parallel:
        depth = max(1, min(BLOCK_VOXELS // max(1, shape[1] * shape[2]), -(-shape[0] // (2 * CPU_COUNT))))
        sizes = (depth, shape[1], shape[2])
    else:
        side = round(BLOCK_VOXELS ** (1 / 3))
        sizes = (side, side, side) if shape[0] > 1 else (1, 4 * side, 4 * side)
    for corner in product(*(range(0, n, size) for n, size in zip(shape, sizes, strict=True))):
        z, y, x = (
            slice(start, min(start + size, n)) for start, size, n in zip(corner, sizes, shape, strict=True)
        )  # fmt: skip
        yield z, y, x


def _piece(job: Job, block: Box) -> tuple[Box, Piece]:
    """What a block needs of the volume, and how it is made of that."""
    start = np.array([one.start for one in block])
    shape = tuple(one.stop - one.start for one in block)
    shift = np.eye(4)
    shift[:3, 3] = start
    matrix = job.matrix @ shift
    low, high = _reached(matrix, shape, job.deformation)
    margin = SPLINE_MARGIN if job.interpolation == "bspline" else 1
    whole = np.array(job.whole)
    first = np.clip(np.floor(low).astype(np.intp) - margin, 0, whole)
    last = np.clip(np.ceil(high).astype(np.intp) + margin + 1, first, whole)
    if (high < -1).any() or (low > whole).any():
        last = first
    z, y, x = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    piece = Piece(
        matrix, tuple(first.tolist()), job.whole, shape, job.interpolation, job.fill, job.padding, job.dtype,
        job.deformation,
    )  # fmt: skip
    return (z, y, x), piece


def _reached(matrix: Floats, shape: tuple[int, ...], deformation: Deformation | None) -> tuple[Floats, Floats]:
    """Lowest and highest index (z, y, x) of the volume that a block comes to."""
    ends = [(0, n - 1) for n in shape]
    corners = np.array(list(product(*ends))) @ matrix[:3, :3].T + matrix[:3, 3]
    if deformation is not None:
        reach = deformation.reach_mm
        moved = np.array([corner + reach * signs for corner in corners for signs in product((-1, 1), repeat=3)])
        corners = moved @ deformation.after[:3, :3].T + deformation.after[:3, 3]
    return corners.min(axis=0), corners.max(axis=0)
