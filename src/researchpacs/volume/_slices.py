"""One frame of a volume, mostly a slice: from bytes in a file to values in a preallocated array.

A `Slice` is what a dask task carries: plain, picklable data; never an open file, a dataset or a connection.
"""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from io import BytesIO, FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from researchpacs.dicom.mosaics import tile_layout
from researchpacs.dicom.pixels import PixelLayout, decode_frame, decode_instance, stored_dtype
from researchpacs.dicom.tables import TABLE_KEYWORDS, table_of
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import PixelDataError
from researchpacs.model import Frame, Location, SeriesSource
from researchpacs.storage.frame_cache import frames as _held
from researchpacs.volume._layouts import colours_of
from researchpacs.volume._source import opened, read_into
from researchpacs.volume._strips import Window, read_window
from researchpacs.volume.plan import Plan

__all__ = ["Slice", "fill", "fill_window", "frame_shape", "slices_of", "stands_as_in_memory"]

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
    table: bool = False
    """Whether values are looked up, in the palette or the Modality LUT of the instance."""
    series_uid: str = ""


def slices_of(planned: Plan, series: SeriesSource) -> tuple[Slice, ...]:
    """Ask the series where the planned frames are, in the order of the plan."""
    uids = tuple(dict.fromkeys(frame.sop_uid for frame in planned.frames))
    located = dict(zip(uids, series.locate(uids), strict=True))
    colour = len(planned.frames) > 0 and planned.frames[0].layout.samples_per_pixel > 1
    rescale = planned.rescale and not colour

    def scale(frame: Frame) -> tuple[float, float]:
        is_scaled = rescale and frame.layout.table_bits is None
        return (frame.rescale_slope, frame.rescale_intercept) if is_scaled else (1.0, 0.0)

    return tuple(
        Slice(
            location=located[frame.sop_uid],
            frame_index=frame.index,
            byte_offset=frame.byte_offset,
            byte_length=frame.byte_length,
            layout=frame.layout,
            slope=scale(frame)[0],
            intercept=scale(frame)[1],
            tiles=planned.tiles,
            table=rescale and frame.layout.table_bits is not None,
            series_uid=planned.series_uid,
        )
        for frame in planned.frames
    )


def frame_shape(piece: Slice) -> tuple[int, ...]:
    """Tell what `fill` fills: (rows, columns), of colour (rows, columns, 3), of a mosaic (slices, rows, columns)."""
    if piece.tiles is None:
        return (*piece.layout.frame_shape[:2], *colours_of(piece.layout, rescale=piece.table))
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
    place, source = _found(piece)
    with source as file:
        if stands_as_in_memory(place):
            stored = _read_array(file, place, out)
        else:
            stored = _looked_up(_decode(file, place), file, piece)
    if piece.tiles is not None:
        stored = _untiled(stored, piece.tiles, out.shape[1:])
    _settle(stored, piece, out)


def fill_window(piece: Slice, out: NDArray[Any], rows: slice, columns: slice) -> None:
    """Read a part of one frame into `out`; errors are those of `fill`.

    Of uncompressed files that part is read. Compressed frames are decoded whole, and held by the process's frame cache
    for other parts and later calls.

    Parameters
    ----------
    piece
        What to read.
    out
        As `frame_shape` tells, with the rows and columns of the part.
    rows, columns
        Of the frame, of a mosaic those of each slice; start and stop, without a step.
    """
    place, source = _found(piece)
    with source as file:
        if isinstance(file, FileIO) and stands_as_in_memory(place):
            stored = _read_part(file, place, rows, columns, out)
        elif piece.tiles is None:
            stored = _looked_up(_decode_once(file, place, piece)[rows, columns], file, piece)
        else:
            whole = _untiled(_decode_once(file, place, piece), piece.tiles, frame_shape(piece)[1:])
            stored = whole[:, rows, columns]
    _settle(stored, piece, out)


def _settle(stored: NDArray[Any], piece: Slice, out: NDArray[Any]) -> None:
    if stored.shape != out.shape:
        raise PixelDataError(f"{_name(piece)} decoded to {stored.shape} pixels; expected {out.shape}")
    _rescale(stored, piece, out)


def _untiled(image: NDArray[Any], tiles: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[Any]:
    """Cut a mosaic, (rows, columns), into its slices of a shape."""
    rows, columns = shape
    across = image.shape[1] // columns
    cut = [image[t // across * rows :, t % across * columns :][:rows, :columns] for t in tiles]
    return np.stack(cut)


def _found(piece: Slice) -> tuple[Slice, AbstractContextManager[FileIO | BytesIO]]:
    """Give the bytes of a frame, and where in them it is."""
    if piece.location.url is None:
        return piece, opened(piece.location, _name(piece))
    place, data = _fetched(piece)
    return place, BytesIO(data)


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


def _header(file: FileIO | BytesIO, piece: Slice) -> bytes:
    """Read an instance up to its pixel data."""
    if piece.location.url is not None:
        from researchpacs.archive import read_remote_header

        return read_remote_header(piece.location)
    header = bytearray(piece.location.header_length)
    read_into(file, 0, memoryview(header), _name(piece))
    return bytes(header)


def _looked_up(stored: NDArray[Any], file: FileIO | BytesIO, piece: Slice) -> NDArray[Any]:
    if not piece.table:
        return stored
    header = _header(file, piece)
    with reading_quietly(), _naming(piece):
        ds = dcmread(BytesIO(header), force=True, stop_before_pixels=True, specific_tags=list(TABLE_KEYWORDS))
        return table_of(ds, piece.layout).apply(stored)


@contextmanager
def _naming(piece: Slice) -> Iterator[None]:
    """Say in an error whose pixels they are."""
    try:
        yield
    except PixelDataError as error:
        raise PixelDataError(f"{_name(piece)}: {error}") from error


def stands_as_in_memory(piece: Slice) -> bool:
    """Whether the pixels of a frame are a range of bytes that need nothing but a scale."""
    layout = piece.layout
    return (
        piece.byte_offset is not None
        and layout.transfer_syntax_uid in LITTLE_ENDIAN
        and layout.pixel_keyword == "PixelData"
        and layout.samples_per_pixel == 1
        and layout.bits_allocated >= 8
        and piece.tiles is None
        and not piece.table
        and layout.highest_bit == layout.bits_stored - 1
        and sys.byteorder == "little"
    )


def _read_array(file: FileIO | BytesIO, piece: Slice, out: NDArray[Any]) -> NDArray[Any]:
    """Read uncompressed integers, into the memory of `out` where their size is the same."""
    pixels = _room(piece, out)
    if piece.byte_length is not None and piece.byte_length < pixels.nbytes:
        raise PixelDataError(f"{_name(piece)} has {piece.byte_length} bytes of pixels; expected {pixels.nbytes}")
    read_into(file, piece.byte_offset or 0, pixels.data.cast("B"), _name(piece))
    return _without_spare_bits(pixels, piece)


def _read_part(file: FileIO, piece: Slice, rows: slice, columns: slice, out: NDArray[Any]) -> NDArray[Any]:
    """Read a part of uncompressed integers, into the memory of `out` where their size is the same."""
    layout = piece.layout
    pixels = _room(piece, out)
    if piece.byte_length is not None and piece.byte_length < layout.rows * layout.columns * pixels.itemsize:
        raise PixelDataError(f"{_name(piece)} has {piece.byte_length} bytes of pixels; expected more: run verify")
    window = Window(piece.byte_offset or 0, layout.rows, layout.columns, rows, columns)
    read_window(file, window, pixels, name=_name(piece), is_ours=piece.location.mtime_ns is None)
    return _without_spare_bits(pixels, piece)


def _room(piece: Slice, out: NDArray[Any]) -> NDArray[Any]:
    """Give what stored values are read into: `out` itself where it has room for no more and no less."""
    stored = stored_dtype(piece.layout)
    fits = out.dtype.kind in "iu" and out.dtype.itemsize == stored.itemsize
    return out.view(stored) if fits else np.empty(out.shape, stored)


def _without_spare_bits(pixels: NDArray[Any], piece: Slice) -> NDArray[Any]:
    spare = piece.layout.bits_allocated - piece.layout.bits_stored
    if spare and pixels.dtype.kind == "u":
        # Bits above Bits Stored may hold anything, such as an overlay (PS3.5 8.1.1).
        np.bitwise_and(pixels, pixels.dtype.type((1 << piece.layout.bits_stored) - 1), out=pixels)
    elif spare:
        np.left_shift(pixels, spare, out=pixels)
        np.right_shift(pixels, spare, out=pixels)
    return pixels


def _decode_once(file: FileIO | BytesIO, place: Slice, piece: Slice) -> NDArray[Any]:
    """Decode a frame, or take it from the cache; not to be written to."""
    if place.layout.is_native:
        return _decode(file, place)
    at = piece.location
    name = ("decoded", at.url, at.path, at.size, at.mtime_ns, piece.frame_index, place.layout)
    held = _held.get(name)
    if isinstance(held, np.ndarray):
        return held
    decoded = _decode(file, place)
    decoded.flags.writeable = False
    _held.put(name, decoded, decoded.nbytes)
    return decoded


def _decode(file: FileIO | BytesIO, piece: Slice) -> NDArray[Any]:
    if piece.byte_offset is None or piece.byte_length is None:
        whole = bytearray(piece.location.size)
        read_into(file, 0, memoryview(whole), _name(piece))
        with _naming(piece):
            return decode_instance(bytes(whole), piece.frame_index, piece.layout)
    if piece.byte_offset + piece.byte_length > piece.location.size:
        raise PixelDataError(f"{_name(piece)} is said to end beyond its file: run verify")
    data = bytearray(piece.byte_length)
    read_into(file, piece.byte_offset, memoryview(data), _name(piece))
    with _naming(piece):
        return decode_frame(memoryview(data), piece.layout)


def _rescale(stored: NDArray[Any], piece: Slice, out: NDArray[Any]) -> None:
    """Write stored values times slope plus intercept to `out`, which may share their memory."""
    if out.dtype.kind == "f":
        if (piece.slope, piece.intercept) == (1.0, 0.0):
            out[...] = stored
        else:
            out[...] = stored * np.float64(piece.slope) + np.float64(piece.intercept)
        return
    slope, intercept = int(piece.slope), int(piece.intercept)
    if not np.may_share_memory(stored, out):  # either a view of it, or an array of its own
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
    return f"frame {piece.frame_index} of instance ...{piece.location.sop_uid[-8:]} in series {piece.series_uid}"
