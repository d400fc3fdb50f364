"""Open a series as a lazy volume: a dask graph made by hand, one task for each chunk, no pixel read."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from researchpacs.errors import InvalidInputError
from researchpacs.model import SeriesSource
from researchpacs.volume._slices import Slice, fill, slices_of
from researchpacs.volume.coordinates import as_volume
from researchpacs.volume.frame import AXES
from researchpacs.volume.plan import Plan, plan

__all__ = ["open_volume"]

Chunks = Literal["frame"] | int | Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Block:
    """What one task reads: some slices, one after another."""

    slices: tuple[Slice, ...]
    dtype: str


def open_volume(
    series: SeriesSource, *, on_irregular: str = "raise", rescale: bool = True, chunks: Chunks = "frame"
) -> xr.DataArray:
    """Open a uniform series as a lazy volume; no pixel is read until values are asked for.

    Parameters
    ----------
    series
        A handle of a CT, MR, PET or other series of one value per pixel.
    on_irregular
        ``"raise"``; ``"keep"`` and ``"repair"`` come with a later version.
    rescale
        Give rescaled values, such as HU; else stored ones. Integral rescaling keeps int16, int32 where that is needed;
        all other gives float32.
    chunks
        ``"frame"``: one slice a chunk; a number of slices; or sizes by axis, such as ``{"z": 16, "y": 128}``.

    Returns
    -------
    vol
        dask data, dimensions (z, y, x) = (slice, row, column), slices sorted along the normal of their planes,
        coordinates in mm that ascend, ``vol.dicom`` with affine and spacing. A single slice has z of length one and no
        z spacing: geometry calls that need it refuse.

    Raises
    ------
    GeometryError
        The frames are not one uniform stack; `reasons` and `slices` say why.
    UnsupportedError
        Colour, mosaics, one bit per pixel.
    """
    sizes = _as_sizes(chunks)
    planned = plan(series, on_irregular=on_irregular, rescale=rescale)
    data = _lazy(planned, slices_of(planned, series), min(sizes.get("z", 1), planned.shape[0]))
    in_plane = {AXES.index(axis): size for axis, size in sizes.items() if axis != "z"}
    return as_volume(
        data.rechunk(in_plane) if in_plane else data,
        planned.affine_lps,
        planned.frame_of_reference_uid,
        attrs=planned.attrs,
        spacing_z_known=planned.spacing_z_known,
    )


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
    """Lay the slices out as tasks; the name is a hash of what they read, so equal volumes share results."""
    count, rows, columns = planned.shape
    blocks = [Block(pieces[k : k + depth], planned.dtype) for k in range(0, count, depth)]
    name = f"volume-{_content_hash(planned, pieces, depth)}"
    graph: dict[Any, Any] = {(name, k, 0, 0): (_read_block, block) for k, block in enumerate(blocks)}
    depths = tuple(len(block.slices) for block in blocks)
    return da.Array(
        HighLevelGraph.from_collections(name, graph, dependencies=()),
        name,
        chunks=(depths, (rows,), (columns,)),
        dtype=np.dtype(planned.dtype),
    )


def _content_hash(planned: Plan, pieces: tuple[Slice, ...], depth: int) -> str:
    """Hash all that the values depend on; as plain tuples, for the repr of dataclasses takes ten times longer."""
    layouts = {layout: k for k, layout in enumerate(dict.fromkeys(piece.layout for piece in pieces))}
    places = [(u.location.url, u.location.path, u.location.size, u.location.mtime_ns) for u in pieces]
    reads = [(u.frame_index, u.byte_offset, u.byte_length, layouts[u.layout], u.slope, u.intercept) for u in pieces]
    content = repr((planned.dtype, planned.shape, depth, tuple(layouts), places, reads))
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _read_block(block: Block) -> NDArray[Any]:
    layout = block.slices[0].layout
    out = np.empty((len(block.slices), layout.rows, layout.columns), block.dtype)
    for piece, plane in zip(block.slices, out, strict=True):
        fill(piece, plane)
    return out
