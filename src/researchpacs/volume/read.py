"""Read a series now, straight into one preallocated array."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from researchpacs.model import SeriesSource
from researchpacs.volume._finished import finished
from researchpacs.volume._slices import Slice, fill, frame_shape, slices_of
from researchpacs.volume.plan import Rescale, plan

__all__ = ["read_volume"]

_WAITING = 8
_RUN = 16
"""Slices that a thread reads one after another: handing over each by itself costs as much as reading it."""


def read_volume(series: SeriesSource, *, on_irregular: str = "raise", rescale: Rescale = True) -> xr.DataArray:
    """Read a series as a volume in memory.

    Parameters
    ----------
    series, on_irregular, rescale
        As for `open_volume`.

    Returns
    -------
    vol
        numpy data; dimensions and coordinates as `open_volume` gives them.

    Raises
    ------
    GeometryError
        The frames are not one uniform stack, or several; `reasons` and `slices` say why.
    PixelDataError
        Pixels cannot be read or decoded.
    UnsupportedError
        Mosaics that do not tell how their slices lie.
    """
    planned = plan(series, on_irregular=on_irregular, rescale=rescale)
    pieces = slices_of(planned, series)
    data = np.empty(planned.shape, planned.dtype)
    _fill_all(pieces, data.reshape(len(pieces), *frame_shape(pieces[0])))
    return finished(planned, data)


def _fill_all(pieces: Sequence[Slice], planes: NDArray[Any]) -> None:
    # Reads and codecs release the GIL. Slices are few hundred KB, so more threads than cores bring nothing, unless they
    # wait for a server.
    remote = any(piece.location.url is not None for piece in pieces)
    threads = _WAITING if remote else _threads()
    run = 1 if remote else max(1, min(_RUN, len(pieces) // (4 * threads)))
    starts = range(0, len(pieces), run)
    with ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            for _ in pool.map(_fill_run, (pieces[k : k + run] for k in starts), (planes[k : k + run] for k in starts)):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fill_run(pieces: Sequence[Slice], out: NDArray[Any]) -> None:
    for piece, plane in zip(pieces, out, strict=True):
        fill(piece, plane)


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores)
