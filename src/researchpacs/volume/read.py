"""Read a series now, straight into one preallocated array."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import xarray as xr

from researchpacs.model import SeriesSource
from researchpacs.volume._slices import fill, slices_of
from researchpacs.volume.coordinates import as_volume
from researchpacs.volume.plan import plan

__all__ = ["read_volume"]

_WAITING = 8


def read_volume(series: SeriesSource, *, on_irregular: str = "raise", rescale: bool = True) -> xr.DataArray:
    """Read a uniform series as a volume in memory.

    Parameters
    ----------
    series
        A handle of a CT, MR, PET or other series of one value per pixel.
    on_irregular
        ``"raise"``; ``"keep"`` and ``"repair"`` come with a later version.
    rescale
        Give rescaled values, such as HU; else stored ones.

    Returns
    -------
    vol
        numpy data, dimensions (z, y, x), coordinates in mm; see `open_volume`.

    Raises
    ------
    GeometryError
        The frames are not one uniform stack; `reasons` and `slices` say why.
    PixelDataError
        Pixels cannot be read or decoded.
    UnsupportedError
        Colour, mosaics, one bit per pixel.
    """
    planned = plan(series, on_irregular=on_irregular, rescale=rescale)
    pieces = slices_of(planned, series)
    data = np.empty(planned.shape, planned.dtype)
    # Reads and codecs release the GIL. Slices are few hundred KB, so more threads than cores bring nothing, unless they
    # wait for a server.
    remote = any(piece.location.url is not None for piece in pieces)
    with ThreadPoolExecutor(max_workers=_WAITING if remote else _threads()) as pool:
        try:
            for _ in pool.map(fill, pieces, data):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return as_volume(
        data,
        planned.affine_lps,
        planned.frame_of_reference_uid,
        attrs=planned.attrs,
        spacing_z_known=planned.spacing_z_known,
    )


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores)
