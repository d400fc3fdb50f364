"""Open a series as lazy volumes: a dask graph made by hand, one task for each chunk, no pixel read."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from researchpacs.errors import InvalidInputError
from researchpacs.model import SeriesSource
from researchpacs.volume._finished import finished
from researchpacs.volume._slices import Slice, fill, frame_shape, slices_of
from researchpacs.volume.frame import AXES
from researchpacs.volume.plan import Plan, plan, plan_of_frames, plans

__all__ = ["open_frames", "open_volume", "open_volumes"]

Chunks = Literal["frame"] | int | Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Block:
    """What one task reads: some frames, one after another."""

    slices: tuple[Slice, ...]
    shape: tuple[int, ...]
    """Of the chunk."""
    dtype: str


def open_volume(
    series: SeriesSource, *, on_irregular: str = "raise", rescale: bool = True, chunks: Chunks = "frame"
) -> xr.DataArray:
    """Open a series as a lazy volume; no pixel is read until values are asked for.

    Parameters
    ----------
    series
        A handle of a series of images with places: classic or enhanced, mosaics, over time, in colour.
    on_irregular
        What becomes of slices that are no regular stack. ``"raise"``: GeometryError. ``"keep"``: stacked as they are,
        with the exact sheared affine for a tilt and without an affine otherwise. ``"repair"``: tilts are sheared
        upright, gaps and uneven slices interpolated; a coordinate ``interpolated`` along z marks what was invented,
        ``attrs["history"]`` says what was done.
    rescale
        Give rescaled values, such as HU; else stored ones. Integral rescaling keeps int16, int32 where that is needed;
        all other gives float32. Colour and single bits have nothing to rescale.
    chunks
        ``"frame"``: one frame a chunk; a number of slices; or sizes by axis, such as ``{"z": 16, "y": 128}``.

    Returns
    -------
    vol
        dask data, dimensions (z, y, x) = (slice, row, column), slices sorted along the normal of their planes,
        coordinates in mm that ascend, ``vol.dicom`` with affine and spacing. A single slice has z of length one and no
        z spacing: geometry calls that need it refuse. Frames that repeat at the same positions have leading dimensions:
        ``echo`` in ms, ``b_value`` in s/mm2, ``time`` in s after the first, ``phase`` in ms after the trigger,
        ``dynamic`` where only their order is known. Colour has ``rgb`` behind.

    Raises
    ------
    GeometryError
        The frames are not one uniform stack, or several; `reasons` and `slices` say why.
    UnsupportedError
        Palettes, Modality LUTs.

    See Also
    --------
    open_volumes : a series of several stacks.
    """
    sizes = _as_sizes(chunks)
    return _opened(plan(series, on_irregular=on_irregular, rescale=rescale), series, sizes)


def open_volumes(
    series: SeriesSource, *, on_irregular: str = "raise", rescale: bool = True, chunks: Chunks = "frame"
) -> list[xr.DataArray]:
    """Open each part of a series as a lazy volume.

    Parts differ in orientation, size, pixel spacing, Frame of Reference, component, segment, or, where they lie in the
    same place, in image type or stack; an interrupted repetition is one too. Parameters and errors are those of
    `open_volume`.

    Returns
    -------
    vols
        By the lowest Instance Number in each; every frame of the series is in one of them.
    """
    sizes = _as_sizes(chunks)
    planned = plans(series, on_irregular=on_irregular, rescale=rescale)
    return [_opened(one, series, sizes) for one in planned]


def open_frames(series: SeriesSource, *, rescale: bool = True) -> xr.DataArray:
    """Open all frames of a series lazily, one behind the other: cine, radiographs, whatever is no volume.

    Parameters
    ----------
    series
        A handle of a series of images of one size.
    rescale
        As for `open_volume`.

    Returns
    -------
    frames
        dask data, dimensions (frame, row, column), of colour (frame, row, column, rgb), by Instance Number; without a
        place in the patient.

    Raises
    ------
    GeometryError
        The images differ in size, or there are none.
    UnsupportedError
        Palettes, Modality LUTs.
    """
    planned = plan_of_frames(series, rescale=rescale)
    opened = finished(planned, _lazy(planned, slices_of(planned, series), 1))
    return opened.rename({"z": "frame", "y": "row", "x": "column"})


def _opened(planned: Plan, series: SeriesSource, sizes: Mapping[str, int]) -> xr.DataArray:
    leading = len(planned.dimensions)
    data = _lazy(planned, slices_of(planned, series), min(sizes.get("z", 1), planned.shape[leading]))
    in_plane = {leading + AXES.index(axis): size for axis, size in sizes.items() if axis != "z"}
    return finished(planned, data.rechunk(in_plane) if in_plane else data)


def _as_sizes(chunks: Chunks) -> dict[str, int]:
    """Chunk sizes by axis; an axis not named keeps its natural size."""
    sizes: Mapping[str, int]
    if chunks == "frame":
        sizes = {"z": 1}
    elif isinstance(chunks, Mapping):
        sizes = chunks
    elif isinstance(chunks, int):
        sizes = {"z": chunks}
    else:
        raise InvalidInputError(f"chunks={chunks!r}: expected 'frame', a number of slices, or sizes by axis")
    if not all(axis in AXES and isinstance(size, int) and size > 0 for axis, size in sizes.items()):
        raise InvalidInputError(f"chunks={chunks!r}: expected positive sizes of the axes z, y and x")
    return dict(sizes)


def _lazy(planned: Plan, pieces: tuple[Slice, ...], depth: int) -> da.Array:
    """Lay the frames out as tasks; the name is a hash of what they read, so equal volumes share results."""
    leading = planned.shape[: len(planned.dimensions)]
    count, *plane = planned.shape[len(leading) :]
    # A mosaic has all slices in one frame, which is read as a whole.
    depth = count if planned.tiles is not None else depth
    depths = tuple(min(depth, count - k) for k in range(0, count, depth))
    name = f"volume-{_content_hash(planned, pieces, depth)}"
    graph: dict[Any, Any] = {}
    reader = iter(pieces)
    ones, zeros = (1,) * len(leading), (0,) * len(plane)
    for at in product(*map(range, leading)):
        for k, slices in enumerate(depths):
            taken = tuple(islice(reader, 1 if planned.tiles is not None else slices))
            graph[name, *at, k, *zeros] = (_read_block, Block(taken, (*ones, slices, *plane), planned.dtype))
    chunks = (*((1,) * length for length in leading), depths, *((length,) for length in plane))
    return da.Array(
        HighLevelGraph.from_collections(name, graph, dependencies=()),
        name,
        chunks=chunks,
        dtype=np.dtype(planned.dtype),
    )


def _content_hash(planned: Plan, pieces: tuple[Slice, ...], depth: int) -> str:
    """Hash all that the values depend on; as plain tuples, for the repr of dataclasses takes ten times longer."""
    layouts = {layout: k for k, layout in enumerate(dict.fromkeys(piece.layout for piece in pieces))}
    places = [(u.location.url, u.location.path, u.location.size, u.location.mtime_ns) for u in pieces]
    reads = [
        (u.frame_index, u.byte_offset, u.byte_length, layouts[u.layout], u.slope, u.intercept, u.tiles) for u in pieces
    ]
    content = repr((planned.dtype, planned.shape, depth, tuple(layouts), places, reads))
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _read_block(block: Block) -> NDArray[Any]:
    out = np.empty(block.shape, block.dtype)
    planes = out.reshape(len(block.slices), *frame_shape(block.slices[0]))
    for piece, plane in zip(block.slices, planes, strict=True):
        fill(piece, plane)
    return out
