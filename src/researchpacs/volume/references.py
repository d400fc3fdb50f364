"""Where the frames of an uncompressed volume stand in their files, as references that fsspec and Zarr read (kerchunk).

The form is version 1 of fsspec's reference file system: keys of Zarr 2, each with its text, its bytes in base64, or
path, offset and length.
"""

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr
from dask._task_spec import DataNode, Task

from researchpacs.dicom.pixels import stored_dtype
from researchpacs.errors import InvalidInputError, PixelDataError, UnsupportedError
from researchpacs.volume._layouts import stored_range
from researchpacs.volume._lazy import FrameArray
from researchpacs.volume._slices import Slice, stands_as_in_memory
from researchpacs.volume._source import opened, read_into
from researchpacs.volume._zarr_layout import as_stored, require_zarr
from researchpacs.volume.arguments import as_target
from researchpacs.volume.dataset import IMAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from zarr.core.buffer import Buffer

__all__ = ["to_kerchunk"]


def to_kerchunk(vol: xr.DataArray, path: str | os.PathLike[str]) -> None:
    """Write where the frames of a volume stand, as JSON that ``reference://`` of fsspec opens.

    The array has stored values, and ``scale_factor`` and ``add_offset`` as its attributes, which xarray applies.

    Parameters
    ----------
    vol
        As `open_volume` gives it, with whole frames as chunks; of uncompressed grey images in files of this machine.
    path
        Ends in ``.json``. Who reads it needs the image files where they are now.

    Raises
    ------
    InvalidInputError
        Another suffix, or an array that was computed, cut or changed.
    UnsupportedError
        Frames are compressed, in colour, tiled, behind a server, scaled each by itself, or have something in the bits
        above Bits Stored: a range of bytes is not their values.
    NotFoundError
        The folder to write into does not exist, or an image file is gone.
    PixelDataError
        An image file is too short.
    MissingExtraError
        Zarr is not installed.
    """
    require_zarr("references for Zarr")
    target = as_target(path)
    if target.suffix.lower() != ".json":
        raise InvalidInputError(f"{target.suffix or 'no suffix'}: expected a name that ends in .json")
    pieces = _pieces(vol)
    _require_plain(pieces)
    references = {**_around(vol, pieces[0]), **_frames(vol, pieces)}
    target.write_text(json.dumps({"version": 1, "refs": references}))


def _pieces(vol: xr.DataArray) -> tuple[Slice, ...]:
    """Find the frames in the tasks of a volume that nothing was done to."""
    refused = InvalidInputError(
        "references are of a volume as open_volume gives it: not computed, cut or changed, with chunks='frame' or a "
        "number of slices"
    )
    if not isinstance(vol.data, da.Array) or list(vol.data.dask.layers) != [vol.data.name]:
        raise refused
    leading = vol.ndim - 2 if vol.dims[-1] != "rgb" else vol.ndim - 3
    if any(count != 1 for count in vol.data.numblocks[leading:]):
        raise refused
    found: list[Slice] = []
    for at in np.ndindex(*vol.data.numblocks[:leading]):
        task = vol.data.dask[(vol.data.name, *at, *(0,) * (vol.ndim - leading))]
        node = task.args[0] if isinstance(task, Task) else None
        if not (isinstance(node, DataNode) and isinstance(node.value, FrameArray)):
            raise refused
        found.extend(node.value.slices)
    return tuple(found)


def _require_plain(pieces: tuple[Slice, ...]) -> None:
    if any(piece.location.url is not None or not stands_as_in_memory(piece) for piece in pieces):
        raise UnsupportedError(
            "the frames are compressed, in colour, tiled or behind a server: a range of bytes in a file is not their "
            "values; write a copy with vol.dicom.to_zarr(), or show them with vol.dicom.as_zarr_store()"
        )
    if len({(piece.slope, piece.intercept, piece.layout) for piece in pieces}) > 1:
        raise UnsupportedError(
            "the frames are scaled or written each in its own way, where references have one way for all; "
            "rescale=False gives the stored values"
        )
    for piece in pieces:
        _require_clean_bits(piece)


def _require_clean_bits(piece: Slice) -> None:
    """Look that the file is there, and nothing above Bits Stored: it would come back as pixels (PS3.5 8.1.1)."""
    layout = piece.layout
    name = f"frame {piece.frame_index} of instance ...{piece.location.sop_uid[-8:]} in series {piece.series_uid}"
    stored: NDArray[Any] = np.empty((layout.rows, layout.columns), stored_dtype(layout))
    if piece.byte_offset is None or piece.byte_offset + stored.nbytes > piece.location.size:
        raise PixelDataError(f"{name} is said to end beyond its file: run verify")
    with opened(piece.location, name) as file:
        if layout.bits_stored == layout.bits_allocated:
            return
        read_into(file, piece.byte_offset, stored.data.cast("B"), name)
    low, high = stored_range(layout)
    if int(stored.min()) < low or int(stored.max()) > high:
        raise UnsupportedError(
            f"{name} has more than pixels in its pixels: bits above Bits Stored are set, such as an overlay; "
            "write a copy with vol.dicom.to_zarr()"
        )


def _around(vol: xr.DataArray, piece: Slice) -> dict[str, str]:
    """Everything but the voxels, as xarray writes it; the array itself is left empty."""
    from zarr.storage import MemoryStore

    stored = stored_dtype(piece.layout)
    chunks = (*(1,) * (vol.ndim - 2), *vol.shape[-2:])
    empty = vol.copy(data=da.zeros(vol.shape, dtype=stored, chunks=chunks))
    if (piece.slope, piece.intercept) != (1.0, 0.0):
        empty.attrs |= {"scale_factor": piece.slope, "add_offset": piece.intercept}
    held = as_stored(empty)
    plain = {str(name): {"compressors": None, "filters": None} for name in held.coords if name != "frame"}
    written: dict[str, Buffer] = {}
    held.to_zarr(
        MemoryStore(written), mode="w", zarr_format=2, consolidated=False, compute=False,
        encoding={**plain, "frame": {"compressors": None}, IMAGE: {"chunks": chunks, "compressors": None}},
    )  # fmt: skip
    return {key: _inline(key, value.to_bytes()) for key, value in written.items()}


def _inline(key: str, value: bytes) -> str:
    is_text = key.rpartition("/")[2].startswith(".z")
    return value.decode() if is_text else f"base64:{base64.b64encode(value).decode()}"


def _frames(vol: xr.DataArray, pieces: tuple[Slice, ...]) -> dict[str, list[str | int]]:
    found: dict[str, list[str | int]] = {}
    for at, piece in zip(np.ndindex(*vol.shape[:-2]), pieces, strict=True):
        length = piece.layout.rows * piece.layout.columns * piece.layout.bits_allocated // 8
        place = str(Path(piece.location.path).absolute())
        found[f"{IMAGE}/{'.'.join(map(str, (*at, 0, 0)))}"] = [place, piece.byte_offset or 0, length]
    return found
