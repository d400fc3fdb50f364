"""The voxels behind a viewer: planes of a volume that may still be on disk.

Planes along the first array axis are single frames and are read one by one. A plane across them needs every frame, so
the first one makes the whole volume be read into memory, once, in the background; all planes come from there
afterwards.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import xarray as xr

from researchpacs.viewer._planes import PlaneStack, stored_type

__all__ = ["Voxels"]


class Voxels:
    """Planes of one volume, safe to read from any thread.

    Parameters
    ----------
    vol
        Dims (z, y, x), on numpy or dask.
    """

    def __init__(self, vol: xr.DataArray) -> None:
        self._data = vol.data
        self._lock = threading.Lock()
        self._whole: Future[np.ndarray] | None = None
        if isinstance(self._data, np.ndarray):
            self._whole = Future()
            self._whole.set_result(self._data)

    @property
    def dtype(self) -> np.dtype:
        """Of the volume's values."""
        dtype: np.dtype[Any] = self._data.dtype
        return dtype

    def ready(self, stack: PlaneStack) -> "Future[np.ndarray] | None":
        """What has to finish before planes of the stack can be read without waiting; None if nothing."""
        whole = self._whole
        if whole is not None and whole.done() and whole.exception() is None:
            return None
        return None if stack.axes[0] == 0 else self.load()

    def load(self) -> "Future[np.ndarray]":
        """Start to read the whole volume, unless it is read already; a failed reading is tried again."""
        with self._lock:
            if self._whole is None or (self._whole.done() and self._whole.exception() is not None):
                pool = ThreadPoolExecutor(1, thread_name_prefix="researchpacs-volume")
                self._whole = pool.submit(np.asarray, self._data)
                pool.shutdown(wait=False)
            return self._whole

    def values(self, stack: PlaneStack, index: int) -> np.ndarray:
        """Rescaled values of a picture, ``(rows, columns)``, in the volume's type; waits where it must."""
        pending = self.ready(stack)
        data = pending.result() if pending is not None else self._at_hand()
        cut: list[int | slice] = [slice(None)] * 3
        cut[stack.axes[0]] = index
        return stack.picture(np.asarray(data[tuple(cut)]))

    def pixels(self, stack: PlaneStack, index: int) -> np.ndarray:
        """The same as it travels: contiguous, int16 or float32; what is not finite becomes the lowest finite value."""
        values = np.ascontiguousarray(self.values(stack, index).astype(stored_type(self.dtype), copy=False))
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            known = values[np.isfinite(values)]
            lowest, highest = (known.min(), known.max()) if known.size else (0.0, 0.0)
            values = np.nan_to_num(values, nan=lowest, posinf=highest, neginf=lowest)
        return values

    def _at_hand(self) -> np.ndarray:
        """The array in memory if it is, else the lazy one."""
        whole = self._whole
        if whole is not None and whole.done() and whole.exception() is None:
            return whole.result()
        lazy: np.ndarray = self._data
        return lazy
