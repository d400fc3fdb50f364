"""The values behind a viewer: planes of arrays that may still be on disk.

Planes along the first array axis are single frames and are read one by one. A plane across them needs every frame, so
the first one makes the whole volume be read into memory, once, in the background; all planes come from there
afterwards. Of repeated volumes, as over time, the few that were shown last are kept.
"""

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod
from typing import Any

import numpy as np

from researchpacs.viewer._planes import PlaneStack, stored_type

__all__ = ["Voxels"]

KEPT_VOLUMES = 3


class Voxels:
    """Planes of one volume or of its repetitions, safe to read from any thread.

    Parameters
    ----------
    data
        ``(..., z, y, x)``, of colour ``(..., z, y, x, 3)``; numpy or dask.
    is_colour
        Whether there is colour behind.
    """

    def __init__(self, data: Any, *, is_colour: bool = False) -> None:
        self._data = data
        self._is_colour = is_colour
        self._leading = tuple(data.shape[: data.ndim - (4 if is_colour else 3)])
        self._lock = threading.Lock()
        self._whole: OrderedDict[int, Future[np.ndarray]] = OrderedDict()

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        dtype: np.dtype[Any] = self._data.dtype
        return dtype

    @property
    def count(self) -> int:
        """How many volumes there are."""
        return prod(self._leading)

    @property
    def is_colour(self) -> bool:
        """Whether a value is red, green and blue."""
        return self._is_colour

    def ready(self, stack: PlaneStack, volume: int = 0) -> "Future[np.ndarray] | None":
        """What has to finish before planes of the stack can be read without waiting; None if nothing."""
        if isinstance(self._data, np.ndarray) or _succeeded(self._whole.get(volume)):
            return None
        return None if stack.axes[0] == 0 else self.load(volume)

    def load(self, volume: int = 0) -> "Future[np.ndarray]":
        """Start to read a whole volume, unless it is read already; a failed reading is tried again."""
        with self._lock:
            known = self._whole.get(volume)
            if known is None or (known.done() and known.exception() is not None):
                pool = ThreadPoolExecutor(1, thread_name_prefix="researchpacs-volume")
                known = pool.submit(np.asarray, self._lazy(volume))
                pool.shutdown(wait=False)
                self._whole[volume] = known
            self._whole.move_to_end(volume)
            while len(self._whole) > KEPT_VOLUMES:
                self._whole.popitem(last=False)
            return known

    def values(self, stack: PlaneStack, index: int, volume: int = 0) -> np.ndarray:
        """Rescaled values of a picture, ``(rows, columns)``, in the volume's type; waits where it must."""
        pending = self.ready(stack, volume)
        data = pending.result() if pending is not None else self._at_hand(volume)
        cut: list[int | slice] = [slice(None)] * 3
        cut[stack.axes[0]] = index
        return stack.picture(np.asarray(data[tuple(cut)]))

    def pixels(self, stack: PlaneStack, index: int, volume: int = 0) -> tuple[np.ndarray, bool]:
        """The same as it travels, and whether every value is the volume's own.

        Contiguous: int16 or float32, of colour uint8. What is not finite becomes the lowest finite value.
        """
        values = self.values(stack, index, volume)
        if self._is_colour:
            return np.ascontiguousarray(_as_bytes(values)), True
        values = np.ascontiguousarray(values.astype(stored_type(self.dtype), copy=False))
        if values.dtype.kind != "f" or np.isfinite(values).all():
            return values, True
        known = values[np.isfinite(values)]
        lowest, highest = (known.min(), known.max()) if known.size else (0.0, 0.0)
        return np.nan_to_num(values, nan=lowest, posinf=highest, neginf=lowest), False

    def _lazy(self, volume: int) -> Any:
        return self._data[np.unravel_index(volume, self._leading)] if self._leading else self._data

    def _at_hand(self, volume: int) -> Any:
        """The array in memory if it is, else the lazy one."""
        whole = self._whole.get(volume)
        return whole.result() if whole is not None and _succeeded(whole) else self._lazy(volume)


def _succeeded(whole: "Future[np.ndarray] | None") -> bool:
    return whole is not None and whole.done() and whole.exception() is None


def _as_bytes(colour: np.ndarray) -> np.ndarray:
    """Eight bits a colour, the upper ones of more; fractions from 0 to 1 are spread over them."""
    if colour.dtype.kind == "f":
        scaled: np.ndarray = np.clip(np.nan_to_num(colour), 0, 1) * 255
        return np.asarray(np.rint(scaled), dtype=np.uint8)
    upper = np.right_shift(colour, 8 * (colour.dtype.itemsize - 1))
    return np.asarray(upper, dtype=np.uint8)
