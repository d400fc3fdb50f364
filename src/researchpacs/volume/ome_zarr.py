"""Volumes as OME-Zarr 0.5: an image pyramid in Zarr 3, with the coordinates of each level beside it.

Level ``k`` is the array ``k/image``, and ``k`` a group that xarray opens. Scale and translation are in mm along the
axes of the volume, for OME-Zarr 0.5 has no rotation. Where the axes point is in the coordinate ``frame``.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from researchpacs.errors import ConflictError, InvalidInputError, UnsupportedError
from researchpacs.volume import coordinates
from researchpacs.volume._zarr_layout import as_stored, require_zarr
from researchpacs.volume.arguments import as_target
from researchpacs.volume.dataset import IMAGE
from researchpacs.volume.frame import AXES

__all__ = ["to_zarr"]

VERSION = "0.5"
_CHUNK = {"z": 32, "y": 256, "x": 256}
_SMALLEST = 128
"""Voxels along the longest axis of the last level, at most."""
_ALIKE = 1.5
"""Axes whose spacing is less than this many times the finest are halved: voxels get as cubic as they can."""


def to_zarr(vol: xr.DataArray, path: str | os.PathLike[str], *, labels: bool | None = None) -> None:
    """Write a volume as OME-Zarr 0.5, with a pyramid.

    Parameters
    ----------
    vol
        Dimensions z, y, x, beside them at most ``time``, and one other such as ``echo`` or ``rgb``. A lazy volume is
        read and written piece by piece.
    path
        Ends in ``.zarr``; nothing is there yet. It is complete once it is there.
    labels
        Whether values are names, so that levels take every other voxel and not means. By default those of booleans and
        of segmentations are.

    Raises
    ------
    InvalidInputError
        Another suffix, or no path of a folder to make.
    ConflictError
        There is something at the path.
    NotFoundError
        The folder to write into does not exist.
    GeometryError
        The volume has no affine.
    UnsupportedError
        OME-Zarr has no place for its dimensions.
    MissingExtraError
        Zarr is not installed.
    """
    require_zarr("OME-Zarr")
    target = _as_new_folder(path)
    if labels is None:
        labels = vol.dtype == np.bool_ or vol.attrs.get("Modality") == "SEG"
    first = _ascending(vol.transpose(*_order(vol)))
    with tempfile.TemporaryDirectory(prefix=".researchpacs-", dir=target.parent) as folder:
        unfinished = Path(folder) / target.name
        datasets = [_dataset(k, level) for k, level in enumerate(_levels(first, unfinished, labels=labels))]
        _describe(unfinished, first, datasets, labels=labels)
        unfinished.rename(target)


def _as_new_folder(path: str | os.PathLike[str]) -> Path:
    if isinstance(path, str | os.PathLike) and os.fspath(path) and Path(path).expanduser().is_dir():
        raise ConflictError("there is a folder at the path already; give another name, or remove it")
    target = as_target(path)
    if target.suffix.lower() != ".zarr":
        raise InvalidInputError(f"{target.suffix or 'no suffix'}: expected a name that ends in .zarr")
    if target.exists():
        raise ConflictError("there is a file at the path already; give another name, or remove it")
    return target


def _order(vol: xr.DataArray) -> tuple[str, ...]:
    """Order dimensions as OME-Zarr demands: time, one other, space."""
    others = [str(name) for name in vol.dims if name not in (*AXES, "time")]
    if len(others) > 1:
        raise UnsupportedError(
            f"OME-Zarr has a place for time and one other dimension beside z, y, x; the volume has "
            f"{', '.join(others)}: select or reduce all but one"
        )
    return (*(["time"] if "time" in vol.dims else []), *others, *AXES)


def _ascending(vol: xr.DataArray) -> xr.DataArray:
    """Turn axes over whose coordinates descend, and their voxels with them: all stay where they are."""
    turned = [axis for axis, step in zip(AXES, coordinates.steps(vol), strict=True) if step < 0]
    return vol.isel({axis: slice(None, None, -1) for axis in turned})


def _levels(vol: xr.DataArray, folder: Path, *, labels: bool) -> Iterator[xr.DataArray]:
    """Write levels, each made of what was written of the one before; give them as they are made."""
    level, number = vol, 0
    while True:
        _write(level, folder, str(number))
        yield level
        halved = _halved(level)
        if not halved:
            return
        number += 1
        written = xr.open_zarr(folder, group=str(number - 1), consolidated=False, chunks=_pieces(level))[IMAGE]
        level = _coarser(coordinates.restore(written), halved, labels=labels).astype(vol.dtype)


def _write(level: xr.DataArray, folder: Path, group: str) -> None:
    chunks = tuple(min(_CHUNK.get(str(name), 1), size) for name, size in level.sizes.items())
    stored = as_stored(level.chunk(_pieces(level)))
    stored.to_zarr(
        folder, group=group, mode="w-", zarr_format=3, consolidated=False, encoding={IMAGE: {"chunks": chunks}}
    )


def _pieces(level: xr.DataArray) -> dict[str, int]:
    """What is written at once: whole planes."""
    return {str(name): _CHUNK["z"] if name == "z" else -1 if name in AXES else 1 for name in level.dims}


def _halved(level: xr.DataArray) -> dict[str, int]:
    if max(level.sizes[axis] for axis in AXES) <= _SMALLEST:
        return {}
    spacing = dict(zip(AXES, np.abs(coordinates.steps(level)).tolist(), strict=True))
    finest = min(spacing[axis] for axis in AXES if level.sizes[axis] > 1)
    return {axis: 2 for axis in AXES if level.sizes[axis] > 1 and spacing[axis] < _ALIKE * finest}


def _coarser(level: xr.DataArray, halved: dict[str, int], *, labels: bool) -> xr.DataArray:
    if labels:
        return level.isel({axis: slice(None, None, 2) for axis in halved})
    means = level.coarsen(halved, boundary="trim").mean()
    means = means.round() if level.dtype.kind in "iu" else means
    return coordinates.restore(means)


def _dataset(number: int, level: xr.DataArray) -> dict[str, Any]:
    scale = [_scale(level, str(name)) for name in level.dims]
    start = [float(level[name].values[0]) if name in AXES else 0.0 for name in level.dims]
    return {
        "path": f"{number}/{IMAGE}",
        "coordinateTransformations": [
            {"type": "scale", "scale": scale},
            {"type": "translation", "translation": start},
        ],
    }


def _scale(level: xr.DataArray, name: str) -> float:
    if name in AXES:
        return float(coordinates.steps(level)[AXES.index(name)])
    return _time_step(level) if name == "time" else 1.0


def _time_step(vol: xr.DataArray) -> float:
    """Seconds between even times; 1 where they are uneven, as their coordinates tell."""
    times = vol["time"].values if "time" in vol.coords else np.zeros(0)
    steps = np.diff(times)
    is_even = len(steps) and steps[0] > 0 and np.allclose(steps, steps[0], rtol=1e-3, atol=0)
    return float(steps.mean()) if is_even and vol["time"].attrs.get("units") == "s" else 1.0


def _describe(folder: Path, vol: xr.DataArray, datasets: list[dict[str, Any]], *, labels: bool) -> None:
    import zarr

    how = "every other voxel" if labels else "means of blocks"
    zarr.open_group(folder, mode="a", zarr_format=3).attrs["ome"] = {
        "version": VERSION,
        "multiscales": [{
            "name": IMAGE,
            "type": "nearest" if labels else "mean",
            "metadata": {"description": f"Levels are {how} of the level before."},
            "axes": [_axis(vol, str(name)) for name in vol.dims],
            "datasets": datasets,
        }],
    }  # fmt: skip


def _axis(vol: xr.DataArray, name: str) -> dict[str, str]:
    if name in AXES:
        return {"name": name, "type": "space", "unit": "millimeter"}
    if name == "time":
        is_told = _time_step(vol) != 1.0
        return {"name": name, "type": "time", **({"unit": "second"} if is_told else {})}
    return {"name": name, "type": "channel"}
