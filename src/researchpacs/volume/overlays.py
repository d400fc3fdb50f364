"""Overlays of a series as lazy masks on its grid (PS3.3 C.9.2)."""

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydicom import dcmread

from researchpacs.dicom.overlays import Overlay, overlays_of
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import PixelDataError, UnsupportedError
from researchpacs.model import SeriesSource
from researchpacs.volume._finished import finished
from researchpacs.volume._slices import Slice, fill, slices_of
from researchpacs.volume._source import header_at
from researchpacs.volume.plan import Plan, plan, plan_of_frames

__all__ = ["open_overlays"]

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_FLOATS = ("FloatPixelData", "DoubleFloatPixelData")


def open_overlays(
    series: SeriesSource, *, as_frames: bool = False, on_irregular: str = "raise"
) -> dict[str, xr.DataArray]:
    """Open the overlays of a series as masks.

    Parameters
    ----------
    series
        As for `open_volume`.
    as_frames
        Lay the masks out as `open_frames` does the images, not as `open_volume` does.
    on_irregular
        ``"raise"`` or ``"keep"``, as for `open_volume`.

    Returns
    -------
    overlays
        By group, such as ``"6000"``: booleans with the dimensions and coordinates of the images, False where an image
        has no such overlay; lazy, with ``label``, ``description`` and ``type`` (GRAPHICS or ROI) of the first that has
        it among the attributes. Empty where the first instance of the series has none.

    Raises
    ------
    GeometryError
        As for `open_volume`.
    PixelDataError
        An overlay is broken.
    UnsupportedError
        ``on_irregular="repair"``: a mask is not interpolated; mosaics and colour.
    """
    if on_irregular == "repair":
        raise UnsupportedError("overlays are not interpolated: on_irregular='keep' gives them slice by slice")
    if as_frames:
        planned = plan_of_frames(series, rescale=False)
    else:
        planned = plan(series, on_irregular=on_irregular, rescale=False)
    pieces = slices_of(planned, series)
    if planned.tiles is not None or len(pieces[0].layout.frame_shape) > 2:
        raise UnsupportedError("overlays of mosaics and of colour images are not opened as masks")
    found = {}
    for overlay in _overlays(pieces[0]):
        opened = finished(planned, _lazy(planned, pieces, overlay.group))
        told = {"label": overlay.label, "description": overlay.description}
        kept = {name: opened.attrs[name] for name in ("Modality", "SeriesInstanceUID", "StudyInstanceUID")}
        opened.attrs = {**kept, **told, "type": "ROI" if overlay.is_region else "GRAPHICS"}
        if as_frames:
            opened = opened.rename({"z": "frame", "y": "row", "x": "column"})
        found[f"{overlay.group:04X}"] = opened
    return found


def _lazy(planned: Plan, pieces: Sequence[Slice], group: int) -> da.Array:
    rows, columns = pieces[0].layout.frame_shape
    numbers = da.arange(len(pieces), chunks=1)
    masks = da.map_blocks(
        _mask, numbers, pieces, group, dtype=np.bool_, new_axis=[1, 2], meta=np.empty((0, 0, 0), np.bool_),
        chunks=(numbers.chunks[0], (rows,), (columns,)),
    )  # fmt: skip
    laid_out: da.Array = masks.reshape(planned.shape)
    return laid_out


def _mask(numbers: NDArray[Any], pieces: Sequence[Slice], group: int) -> NDArray[np.bool_]:
    """Read the masks of some images."""
    out = np.zeros((len(numbers), *pieces[0].layout.frame_shape), np.bool_)
    for mask, number in zip(out, numbers, strict=True):
        piece = pieces[int(number)]
        for overlay in _overlays(piece):
            if overlay.group == group:
                cells = _cells(piece) if overlay.bits is None else None
                mask[...] = overlay.mask(mask.shape, piece.frame_index, cells=cells)
    return out


def _overlays(piece: Slice) -> tuple[Overlay, ...]:
    name = f"instance ...{piece.location.sop_uid[-8:]} in series {piece.series_uid}"
    with reading_quietly():
        header = BytesIO(header_at(piece.location, name))
        ds = dcmread(header, force=True, stop_before_pixels=True)
        try:
            return overlays_of(ds, big=piece.layout.transfer_syntax_uid == _BIG_ENDIAN)
        except PixelDataError as error:
            raise PixelDataError(f"{name}: {error}") from None


def _cells(piece: Slice) -> NDArray[np.unsignedinteger[Any]]:
    """All bits of an image's pixels, those of overlays among them."""
    layout = piece.layout
    if layout.pixel_keyword in _FLOATS or layout.bits_allocated < 8:
        raise PixelDataError("an overlay cannot stand in the pixels of this image")
    whole = replace(layout, bits_stored=layout.bits_allocated, high_bit=None, pixel_representation=0)
    cells = np.empty(layout.frame_shape, f"u{layout.bits_allocated // 8}")
    fill(replace(piece, layout=whole, slope=1.0, intercept=0.0, table=False), cells)
    return cells
