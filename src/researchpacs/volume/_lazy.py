"""Frames as an array that is read where it is indexed, and as a dask array made of such arrays.

A task carries plain data (`researchpacs.volume._slices.Slice`) and an index. dask moves the index of a crop or a plane
into the task that reads, so that no more is read than was asked for.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import dask.array as da
import numpy as np
from dask._task_spec import DataNode, Task
from dask.array.core import getter
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from researchpacs.volume._slices import Slice, fill, fill_window, frame_shape
from researchpacs.volume.plan import Plan

__all__ = ["FrameArray", "chunks_of", "frame_array", "lazy"]

Index: TypeAlias = int | slice | Sequence[int] | NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FrameArray:
    """Frames of one shape as an array; what it is indexed with is read, and nothing is kept."""

    slices: tuple[Slice, ...]
    shape: tuple[int, ...]
    """Axes that count the frames, then those of a frame."""
    dtype: np.dtype[Any]
    threads: int = 1
    """That read at the same time."""

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Index | tuple[Index, ...]) -> NDArray[Any]:
        """Read what numpy would give for whole numbers, slices, and one list of numbers."""
        given = index if isinstance(index, tuple) else (index,)
        full = (*given, *(slice(None),) * (self.ndim - len(given)))
        rows = self.ndim - self._behind - 2
        takes = [
            _frames_at(one, length) if k < self._counted
            else _between(one, length) if k in (rows, rows + 1)
            else (range(length), one)
            for k, (one, length) in enumerate(zip(full, self.shape, strict=True))
        ]  # fmt: skip
        places = [found for found, _ in takes]
        out = np.empty([len(found) for found in places], self.dtype)
        if out.size:
            numbers = np.arange(len(self.slices)).reshape(self.shape[: self._counted])[np.ix_(*places[: self._counted])]
            wanted = [self.slices[k] for k in numbers.ravel()]
            planes = out.reshape(-1, *out.shape[self._counted :])
            self._fill(wanted, planes, _reach(places[rows]), _reach(places[rows + 1]))
        # By numpy itself, so that lists and numbers together mean what they mean to it.
        taken: NDArray[Any] = out[tuple(rest for _, rest in takes)]
        return taken

    def __repr__(self) -> str:
        return f"<FrameArray {self.shape} {self.dtype}>"

    @property
    def _counted(self) -> int:
        """Axes that count frames."""
        return self.ndim - len(frame_shape(self.slices[0]))

    @property
    def _behind(self) -> int:
        """Axes behind rows and columns: colour."""
        return int(len(frame_shape(self.slices[0])) == 3 and self.slices[0].tiles is None)

    def _fill(self, wanted: Sequence[Slice], planes: NDArray[Any], rows: slice, columns: slice) -> None:
        if self.threads == 1 or len(wanted) == 1:
            _fill_run(wanted, planes, rows, columns)
            return
        step = -(-len(wanted) // (4 * self.threads))
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                runs = [
                    pool.submit(_fill_run, wanted[k : k + step], planes[k : k + step], rows, columns)
                    for k in range(0, len(wanted), step)
                ]
                for run in runs:
                    run.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def frame_array(planned: Plan, pieces: tuple[Slice, ...], *, threads: int = 1) -> FrameArray:
    """Give all frames of a plan as one array."""
    return FrameArray(pieces, planned.shape, np.dtype(planned.dtype), threads)


def chunks_of(planned: Plan, sizes: Mapping[str, int]) -> tuple[tuple[int, ...], ...]:
    """Lay out chunks: one along leading dimensions, of the sizes that are given along z, y and x, else whole frames."""
    leading = len(planned.dimensions)
    count, *plane = planned.shape[leading:]
    # A mosaic has all slices in one frame, which is read as a whole.
    depth = count if planned.tiles is not None else sizes.get("z", 1)
    wanted = (depth, *(sizes.get(axis, length) for axis, length in zip("yx", plane, strict=False)), *plane[2:])
    chunks = [_split(length, size) for length, size in zip((count, *plane), wanted, strict=True)]
    return (*((1,) * length for length in planned.shape[:leading]), *chunks)


def lazy(planned: Plan, pieces: tuple[Slice, ...], sizes: Mapping[str, int]) -> da.Array:
    """Lay the frames out as tasks; the name is a hash of what they read, so equal volumes share results."""
    chunks = chunks_of(planned, sizes)
    dtype = np.dtype(planned.dtype)
    name = f"volume-{_content_hash(planned, pieces, chunks)}"
    graph: dict[Any, Any] = {
        key: Task(key, getter, node, index) for key, node, index in _tasks(name, chunks, pieces, planned, dtype)
    }
    layered = HighLevelGraph.from_collections(name, graph, dependencies=())
    return da.Array(layered, name, chunks=chunks, dtype=dtype)


def _tasks(
    name: str, chunks: tuple[tuple[int, ...], ...], pieces: tuple[Slice, ...], planned: Plan, dtype: np.dtype[Any]
) -> Iterator[tuple[tuple[Any, ...], DataNode, tuple[slice, ...]]]:
    leading = len(planned.dimensions)
    depths, *in_plane = chunks[leading:]
    is_whole = planned.tiles is not None
    reader = iter(pieces)
    ones, plane = (1,) * leading, planned.shape[leading + 1 :]
    windows = list(product(*(list(enumerate(_spans(sizes))) for sizes in in_plane)))
    for at in product(*map(range, planned.shape[:leading])):
        for k, depth in enumerate(depths):
            taken = tuple(next(reader) for _ in range(1 if is_whole else depth))
            node = DataNode((f"{name}-frames", *at, k), FrameArray(taken, (*ones, depth, *plane), dtype))
            for window in windows:
                key = (name, *at, k, *(number for number, _ in window))
                yield key, node, (*(slice(None),) * (leading + 1), *(span for _, span in window))


def _split(length: int, size: int) -> tuple[int, ...]:
    return tuple(min(size, length - start) for start in range(0, length, size))


def _spans(sizes: Sequence[int]) -> list[slice]:
    ends = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _content_hash(planned: Plan, pieces: tuple[Slice, ...], chunks: tuple[tuple[int, ...], ...]) -> str:
    """Hash all that the values depend on; as plain tuples, for the repr of dataclasses takes ten times longer."""
    layouts = {layout: k for k, layout in enumerate(dict.fromkeys(piece.layout for piece in pieces))}
    places = [(u.location.url, u.location.path, u.location.size, u.location.mtime_ns) for u in pieces]
    reads = [
        (u.frame_index, u.byte_offset, u.byte_length, layouts[u.layout], u.slope, u.intercept, u.tiles, u.table)
        for u in pieces
    ]
    content = repr((planned.dtype, planned.shape, chunks, tuple(layouts), places, reads))
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _frames_at(index: Index, length: int) -> tuple[Any, Any]:
    """Give which frames along an axis are read, and what is left to index then."""
    numbers = np.arange(length)[index]
    if numbers.ndim == 0:
        return numbers.reshape(1), 0
    return numbers, slice(None) if isinstance(index, slice) else np.arange(numbers.size)


def _between(index: Index, length: int) -> tuple[range, Any]:
    """Give the rows or columns to read, all from the first to the last, and what is left to index then."""
    numbers = np.arange(length)[index]
    if numbers.ndim == 0:
        return range(int(numbers), int(numbers) + 1), 0
    low, high = (int(numbers.min()), int(numbers.max()) + 1) if numbers.size else (0, 0)
    return range(low, high), slice(None, None, index.step) if isinstance(index, slice) else numbers - low


def _reach(places: range) -> slice:
    return slice(places.start, places.stop)


def _fill_run(slices: Sequence[Slice], planes: NDArray[Any], rows: slice, columns: slice) -> None:
    is_whole = planes.shape[1:] == frame_shape(slices[0])
    for piece, plane in zip(slices, planes, strict=True):
        if is_whole and piece.layout.is_native:
            fill(piece, plane)
        else:
            fill_window(piece, plane, rows, columns)
