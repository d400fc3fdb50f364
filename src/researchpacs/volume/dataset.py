"""A series as datasets for xarray's own laziness: no dask, one read for what is indexed."""

import os
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from researchpacs.errors import GeometryError
from researchpacs.model import SeriesSource
from researchpacs.volume._finished import finished
from researchpacs.volume._lazy import FrameArray, chunks_of, frame_array, lazy
from researchpacs.volume._slices import slices_of
from researchpacs.volume.plan import Plan, plan, plan_of_frames, plans

__all__ = ["IMAGE", "open_dataset", "open_datasets"]

IMAGE = "image"
"""The variable that holds the volume."""
_MOST_THREADS = 8
_WAITING = 8
"""Threads that wait for a server."""


def open_dataset(series: SeriesSource, *, on_irregular: str = "raise", rescale: bool = True) -> xr.Dataset:
    """Open a series as a Dataset whose variable ``image`` is the volume that `open_volume` gives.

    Values are read where they are indexed; ``chunks={}`` of `xarray.open_dataset` makes them a dask array of frames.
    Parameters and errors are those of `open_volume`.
    """
    return _dataset(plan(series, on_irregular=on_irregular, rescale=rescale), series)


def open_datasets(series: SeriesSource, *, on_irregular: str = "raise", rescale: bool = True) -> list[xr.Dataset]:
    """Open all volumes of a series; frame by frame where they are none; none at all of what has no images.

    Returns
    -------
    datasets
        ``attrs["refused"]`` of frames says why they are no volume.
    """
    if not series.frames():
        return []
    try:
        return [_dataset(one, series) for one in plans(series, on_irregular=on_irregular, rescale=rescale)]
    except GeometryError as refused:
        try:
            planned = plan_of_frames(series, rescale=rescale)
        except GeometryError:  # of several sizes: no array holds them
            return [xr.Dataset(attrs={"refused": str(refused)})]
        found = _dataset(planned, series).rename({"z": "frame", "y": "row", "x": "column"})
        return [found.assign_attrs(refused=str(refused))]


def _dataset(planned: Plan, series: SeriesSource) -> xr.Dataset:
    pieces = slices_of(planned, series)
    if planned.repair:
        vol = finished(planned, lazy(planned, pieces, {}))
    else:
        remote = any(piece.location.url is not None for piece in pieces)
        frames = frame_array(planned, pieces, threads=_WAITING if remote else _threads())
        vol = finished(planned, indexing.LazilyIndexedArray(_Frames(frames)))
        chunks = dict(zip(vol.dims, (sizes[0] for sizes in chunks_of(planned, {})), strict=True))
        if all(piece.layout.is_native for piece in pieces):  # whose rows and columns are read as well in parts
            chunks = {name: size for name, size in chunks.items() if name not in ("y", "x")}
        vol.encoding["preferred_chunks"] = chunks
    return vol.to_dataset(name=IMAGE)


class _Frames(BackendArray):
    """What xarray indexes."""

    def __init__(self, frames: FrameArray) -> None:
        self.frames = frames
        self.shape = frames.shape
        self.dtype = frames.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._outer)

    def _outer(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Index each axis by itself; numpy would move an axis where numbers and a list meet."""
        single = tuple(k for k, one in enumerate(key) if isinstance(one, int | np.integer))
        found = self.frames[tuple(slice(int(one), int(one) + 1) if k in single else one for k, one in enumerate(key))]
        return found.squeeze(axis=single)


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_THREADS, cores)
