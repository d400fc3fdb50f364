"""One frame of a volume, mostly a slice: from bytes in a file to values in a preallocated array.

A `Slice` is what a dask task carries: plain, picklable data; never an open file, a dataset or a connection.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from io import BytesIO, FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from researchpacs.dicom.mosaics import tile_layout
from researchpacs.dicom.pixels import PixelLayout, decode_frame, decode_instance, stored_dtype
from researchpacs.errors import AccessError, ConflictError, NotFoundError, PixelDataError
from researchpacs.model import Location, SeriesSource
from researchpacs.volume.plan import Plan

__all__ = ["Slice", "fill", "frame_shape", "slices_of"]

LITTLE_ENDIAN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
"""Implicit and Explicit VR Little Endian: pixels stand in the file as they stand in memory here."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Where one frame is and what its bytes mean."""

    location: Location
    frame_index: int
    byte_offset: int | None
    byte_length: int | None
    layout: PixelLayout
    slope: float
    intercept: float
    tiles: tuple[int, ...] | None = None
    """Of a mosaic: the tile of each slice, row by row from the top left."""


def slices_of(planned: Plan, series: SeriesSource) -> tuple[Slice, ...]:
    """Ask the series where the planned frames are, in the order of the plan."""
    uids = tuple(dict.fromkeys(frame.sop_uid for frame in planned.frames))
    located = dict(zip(uids, series.locate(uids), strict=True))
    colour = len(planned.frames) > 0 and planned.frames[0].layout.samples_per_pixel > 1
    rescale = planned.rescale and not colour
    return tuple(
        Slice(
            location=located[frame.sop_uid],
            frame_index=frame.index,
            byte_offset=frame.byte_offset,
            byte_length=frame.byte_length,
            layout=frame.layout,
            slope=frame.rescale_slope if rescale else 1.0,
            intercept=frame.rescale_intercept if rescale else 0.0,
            tiles=planned.tiles,
        )
        for frame in planned.frames
    )


def frame_shape(piece: Slice) -> tuple[int, ...]:
    """Tell what `fill` fills: (rows, columns), of colour (rows, columns, 3), of a mosaic (slices, rows, columns)."""
    if piece.tiles is None:
        return piece.layout.frame_shape
    tile = tile_layout(piece.layout, len(piece.tiles))
    return (len(piece.tiles), tile.rows, tile.columns)


def fill(piece: Slice, out: NDArray[Any]) -> None:
    """Read, decode and rescale one frame into `out`, C-contiguous.

    Uncompressed grey pixels of the size of `out`'s are read straight into it: no copy of the frame is made.

    Parameters
    ----------
    piece
        What to read.
    out
        Of the shape that `frame_shape` gives.

    Raises
    ------
    NotFoundError, AccessError
        The file is gone, or may not be read.
    ConflictError
        A referenced file is no longer the one that was ingested.
    PixelDataError
        The file ends too early, or its pixels cannot be decoded.
    RemoteError
        The server that has it does not answer.
    """
    if piece.location.url is not None:
        piece, data = _fetched(piece)
        opened: AbstractContextManager[FileIO | BytesIO] = BytesIO(data)
    else:
        opened = _opened(piece.location)
    with opened as file:
        stored = _read_array(file, piece, out) if _stands_as_in_memory(piece) else _decode(file, piece)
    if piece.tiles is not None:
        stored = _untiled(stored, piece.tiles, out)
    if stored.shape != out.shape:
        raise PixelDataError(f"{_name(piece)} decoded to {stored.shape} pixels; expected {out.shape}")
    _rescale(stored, piece, out)


def _untiled(image: NDArray[Any], tiles: tuple[int, ...], out: NDArray[Any]) -> NDArray[Any]:
    """Cut a mosaic, (rows, columns), into its slices."""
    rows, columns = out.shape[1:]
    across = image.shape[1] // columns
    cut = [image[t // across * rows :, t % across * columns :][:rows, :columns] for t in tiles]
    return np.stack(cut)


def _fetched(piece: Slice) -> tuple[Slice, bytes]:
    """Read a frame from the server that has it; where it then is: in bytes that hold it alone, or the whole file."""
    from researchpacs.archive import read_remote_frame

    frame = read_remote_frame(piece.location, piece.frame_index, piece.layout)
    return replace(
        piece,
        location=replace(piece.location, size=len(frame.data)),
        byte_offset=None if frame.is_whole_file else 0,
        byte_length=None if frame.is_whole_file else len(frame.data),
        layout=replace(piece.layout, transfer_syntax_uid=frame.transfer_syntax_uid),
    ), frame.data


@contextmanager
def _opened(location: Location) -> Iterator[FileIO]:
    """Open an instance's file and make sure that it is the file it was."""
    name = f"instance ...{location.sop_uid[-8:]}"
    # `from None`: the path may hold a name, and must not appear in a traceback.
    try:
        file = FileIO(location.path)
    except FileNotFoundError:
        raise NotFoundError(
            f"the file of {name} is gone; put it back, or delete the instance and ingest it again"
        ) from None
    except PermissionError:
        raise AccessError(f"the file of {name} may not be read by this user") from None
    except OSError as error:
        raise PixelDataError(f"the file of {name} cannot be opened: {error.strerror}") from None
    with file:
        found = os.fstat(file.fileno())
        if location.mtime_ns is not None and (found.st_size, found.st_mtime_ns) != (location.size, location.mtime_ns):
            raise ConflictError(
                f"the referenced file of {name} changed since it was ingested ({found.st_size} bytes, was "
                f"{location.size}); delete the instance and ingest the file again"
            )
        if found.st_size != location.size:
            raise PixelDataError(f"the file of {name} has {found.st_size} bytes; expected {location.size}: run verify")
        yield file


def _stands_as_in_memory(piece: Slice) -> bool:
    layout = piece.layout
    return (
        piece.byte_offset is not None
        and layout.transfer_syntax_uid in LITTLE_ENDIAN
        and layout.pixel_keyword == "PixelData"
        and layout.samples_per_pixel == 1
        and layout.bits_allocated >= 8
        and piece.tiles is None
        and layout.highest_bit == layout.bits_stored - 1
        and sys.byteorder == "little"
    )


def _read_array(file: FileIO | BytesIO, piece: Slice, out: NDArray[Any]) -> NDArray[Any]:
    """Read uncompressed integers, into the memory of `out` where their size is the same."""
    stored = stored_dtype(piece.layout)
    fits = out.dtype.kind in "iu" and out.dtype.itemsize == stored.itemsize
    pixels: NDArray[Any] = out.view(stored) if fits else np.empty(out.shape, stored)
    if piece.byte_length is not None and piece.byte_length < pixels.nbytes:
        raise PixelDataError(f"{_name(piece)} has {piece.byte_length} bytes of pixels; expected {pixels.nbytes}")
    _read_into(file, piece.byte_offset or 0, pixels.data.cast("B"), piece)
    spare = piece.layout.bits_allocated - piece.layout.bits_stored
    if spare and stored.kind == "u":
        # Bits above Bits Stored may hold anything, such as an overlay (PS3.5 8.1.1).
        np.bitwise_and(pixels, pixels.dtype.type((1 << piece.layout.bits_stored) - 1), out=pixels)
    elif spare:
        np.left_shift(pixels, spare, out=pixels)
        np.right_shift(pixels, spare, out=pixels)
    return pixels


def _decode(file: FileIO | BytesIO, piece: Slice) -> NDArray[Any]:
    if piece.byte_offset is None or piece.byte_length is None:
        whole = bytearray(piece.location.size)
        _read_into(file, 0, memoryview(whole), piece)
        return decode_instance(bytes(whole), piece.frame_index, piece.layout)
    if piece.byte_offset + piece.byte_length > piece.location.size:
        raise PixelDataError(f"{_name(piece)} is said to end beyond its file: run verify")
    data = bytearray(piece.byte_length)
    _read_into(file, piece.byte_offset, memoryview(data), piece)
    return decode_frame(memoryview(data), piece.layout)


def _read_into(file: FileIO | BytesIO, offset: int, buffer: memoryview, piece: Slice) -> None:
    done = 0
    file.seek(offset)
    while done < len(buffer):
        count = file.readinto(buffer[done:])
        if not count:
            raise PixelDataError(f"{_name(piece)} ends after {done} of {len(buffer)} bytes: run verify")
        done += count


def _rescale(stored: NDArray[Any], piece: Slice, out: NDArray[Any]) -> None:
    """Write stored values times slope plus intercept to `out`, which may share their memory."""
    if out.dtype.kind == "f":
        if (piece.slope, piece.intercept) == (1.0, 0.0):
            out[...] = stored
        else:
            out[...] = stored * np.float64(piece.slope) + np.float64(piece.intercept)
        return
    slope, intercept = int(piece.slope), int(piece.intercept)
    if not np.shares_memory(stored, out):
        _require_fit(stored, slope, intercept, piece, out.dtype)
        np.copyto(out, stored, casting="unsafe")
    # Two's complement: whatever overflows on the way comes back, because the result is known to fit.
    if slope != 1:
        np.multiply(out, np.int64(slope).astype(out.dtype), out=out)
    if intercept:
        np.add(out, np.int64(intercept).astype(out.dtype), out=out)


def _require_fit(stored: NDArray[Any], slope: int, intercept: int, piece: Slice, dtype: np.dtype[Any]) -> None:
    """Compressed pixels may exceed what Bits Stored promised."""
    limits = np.iinfo(dtype)
    ends = [int(value) * slope + intercept for value in (stored.min(), stored.max())]
    if min(ends) < limits.min or max(ends) > limits.max:
        raise PixelDataError(
            f"{_name(piece)} holds values from {min(ends)} to {max(ends)}, more than its {piece.layout.bits_stored} "
            f"stored bits can; {dtype} cannot hold them"
        )


def _name(piece: Slice) -> str:
    return f"frame {piece.frame_index} of instance ...{piece.location.sop_uid[-8:]}"
