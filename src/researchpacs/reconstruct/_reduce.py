"""One value out of many along an axis: the largest, the smallest, the mean; what is not a number is passed over."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import dask.array as da
import numpy as np
from dask.system import CPU_COUNT
from numpy.typing import NDArray

from researchpacs.errors import InvalidInputError

__all__ = ["How", "as_how", "mean_type", "reduced", "slid"]

How = Literal["max", "min", "mean"]

PICK = {"max": np.fmax, "min": np.fmin}
EXTREME = {"max": np.maximum, "min": np.minimum}
"""The same for integers, which are always numbers; quicker."""


def as_how(how: Any) -> How:
    """Parse a way to take values together.

    Raises
    ------
    InvalidInputError
        Another one.
    """
    if how not in ("max", "min", "mean"):
        raise InvalidInputError(f"how={how!r}: expected 'max', 'min' or 'mean'")
    return how  # type: ignore[no-any-return]


def mean_type(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """The type of a mean."""
    return np.float64 if dtype == np.float64 else np.float32


def reduced(data: Any, axis: int, how: How) -> Any:
    """Take values along an axis together; NaN where there is nothing else.

    Parameters
    ----------
    data
        numpy, which is done on all threads, or dask, which stays lazy.

    Returns
    -------
    values
        Without the axis; of a mean float32, or float64 of float64, else the type of `data`.
    """
    axis %= data.ndim
    if not isinstance(data, da.Array):
        return _in_memory(data, axis, how)
    if how != "mean":
        return da.reduction(
            data, chunk=_Extreme(how), aggregate=_Extreme(how), axis=axis, dtype=data.dtype, concatenate=True
        )
    seen = ~da.isnan(data) if data.dtype.kind == "f" else da.ones_like(data, dtype=bool)
    count = seen.sum(axis=axis)
    total = da.where(seen, data, 0).sum(axis=axis, dtype=np.float64)
    return da.where(count > 0, total / da.maximum(count, 1), np.nan).astype(mean_type(data.dtype))


def slid(data: NDArray[Any], axis: int, reach: int, how: How) -> NDArray[Any]:
    """Take planes k - reach to k + reach together, for each k along an axis; cut at the ends."""
    ordered = np.moveaxis(data, axis, 0)
    slab = _sliding_mean(ordered, reach) if how == "mean" else _sliding_extreme(ordered, reach, how)
    return np.moveaxis(slab, 0, axis)


class _Extreme:
    """The largest or smallest along axes, as dask calls it."""

    def __init__(self, how: How) -> None:
        self.how = how

    def __call__(self, data: NDArray[Any], axis: Any, keepdims: bool) -> Any:
        return _pick(data, self.how).reduce(data, axis=axis, keepdims=keepdims)

    def __dask_tokenize__(self) -> str:
        return f"researchpacs-extreme-{self.how}"


def _pick(data: NDArray[Any], how: str) -> np.ufunc:
    return (PICK if data.dtype.kind == "f" else EXTREME)[how]


def _in_memory(data: NDArray[Any], axis: int, how: How) -> NDArray[Any]:
    shape = data.shape[:axis] + data.shape[axis + 1 :]
    out = np.empty(shape, mean_type(data.dtype) if how == "mean" else data.dtype)
    across = 0 if axis else 1  # cut along the first axis that stays
    if data.ndim == 1:
        return np.asarray(_along(data, 0, how), out.dtype)
    bounds = np.linspace(0, data.shape[across], CPU_COUNT + 1).astype(int)

    def do(k: int) -> None:
        part = slice(bounds[k], bounds[k + 1])
        out[part] = _along(data[part] if axis else data[:, part], axis, how)

    with ThreadPoolExecutor(CPU_COUNT) as pool:
        list(pool.map(do, range(CPU_COUNT)))
    return out


def _along(data: NDArray[Any], axis: int, how: How) -> Any:
    if how != "mean":
        return _pick(data, how).reduce(data, axis=axis)
    if data.dtype.kind != "f":
        return data.mean(axis=axis, dtype=np.float64)
    seen = ~np.isnan(data)
    count = np.count_nonzero(seen, axis=axis)
    total = np.sum(data, axis=axis, dtype=np.float64, where=seen)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _sliding_extreme(data: NDArray[Any], reach: int, how: str) -> NDArray[Any]:
    """Largest or smallest over planes k - reach to k + reach, in steps that double the window."""
    pick = _pick(data, how)
    reach = min(reach, len(data) - 1)
    # `best[k]` covers planes k to k + width - 1, cut at the end.
    best, width, wanted = data.copy(), 1, 2 * reach + 1
    while width < wanted:
        shift = min(width, wanted - width)
        # In ascending order of planes each is combined with a later one that is still of the old width.
        best[: len(best) - shift] = pick(best[: len(best) - shift], best[shift:])
        width += shift
    # A window around k starts at k - reach; at the beginning it is cut, and grows plane by plane.
    slab = np.empty_like(data)
    slab[reach:] = best[: len(data) - reach]
    start = pick.reduce(data[: reach + 1], axis=0)
    for k in range(reach):
        slab[k] = start
        if k + reach + 1 < len(data):
            start = pick(start, data[k + reach + 1])
    return slab


def _sliding_mean(data: NDArray[Any], reach: int) -> NDArray[Any]:
    """Mean over planes k - reach to k + reach; no running sum, which an infinite or huge value would spoil for good."""
    slab = np.full(data.shape, np.nan, mean_type(data.dtype))
    for k in range(len(data)):
        slab[k] = _along(data[max(0, k - reach) : k + reach + 1], 0, "mean")
    return slab
