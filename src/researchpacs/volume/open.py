"""Open a series as lazy volumes: a dask graph made by hand, one task for each chunk, no pixel read."""

from collections.abc import Mapping
from typing import Literal

import xarray as xr

from researchpacs.errors import InvalidInputError
from researchpacs.model import SeriesSource
from researchpacs.volume._finished import finished
from researchpacs.volume._lazy import lazy
from researchpacs.volume._slices import slices_of
from researchpacs.volume.frame import AXES
from researchpacs.volume.plan import Plan, Rescale, plan, plan_of_frames, plans

__all__ = ["open_frames", "open_volume", "open_volumes"]

Chunks = Literal["frame"] | int | Mapping[str, int]


def open_volume(
    series: SeriesSource, *, on_irregular: str = "raise", rescale: Rescale = True, chunks: Chunks = "frame"
) -> xr.DataArray:
    """Open a series as a lazy volume; no pixel is read until values are asked for.

    Parameters
    ----------
    series
        A handle of a series of images with places: classic or enhanced, mosaics, over time, in colour.
    on_irregular
        What becomes of slices that are no regular stack. ``"raise"``: GeometryError. ``"keep"``: stacked as they are,
        with the exact sheared affine for a tilt and without an affine otherwise. ``"repair"``: tilts are sheared
        upright, gaps and uneven slices interpolated; a coordinate ``interpolated`` along z marks what was invented,
        ``attrs["history"]`` says what was done.
    rescale
        Give rescaled values, such as HU; else stored ones. Integral rescaling keeps int16, int32 where that is needed;
        all other gives float32. Colour and single bits have nothing to rescale. ``"philips"`` gives values on the scale
        of the scanner, by the private attribute (2005,xx0E) of Philips MR, which is left out otherwise.
    chunks
        ``"frame"``: one frame a chunk; a number of slices; or sizes by axis, such as ``{"z": 16, "y": 128}``.

    Returns
    -------
    vol
        dask data, dimensions (z, y, x) = (slice, row, column), slices sorted along the normal of their planes,
        coordinates in mm that ascend, ``vol.dicom`` with affine and spacing. A single slice has z of length one and no
        z spacing: geometry calls that need it refuse. Frames that repeat at the same positions have leading dimensions:
        ``echo`` in ms, ``b_value`` in s/mm2, ``time`` in s after the first, ``phase`` in ms after the trigger,
        ``dynamic`` where only their order is known. Colour has ``rgb`` behind.

    Raises
    ------
    GeometryError
        The frames are not one uniform stack, or several; `reasons` and `slices` say why.
    PixelDataError
        The header describes pixels, or a table for their values, that cannot be.
    UnsupportedError
        Mosaics that do not tell how their slices lie; a private scale that is not told.

    See Also
    --------
    open_volumes : a series of several stacks.
    """
    sizes = _as_sizes(chunks)
    return _opened(plan(series, on_irregular=on_irregular, rescale=rescale), series, sizes)


def open_volumes(
    series: SeriesSource, *, on_irregular: str = "raise", rescale: Rescale = True, chunks: Chunks = "frame"
) -> list[xr.DataArray]:
    """Open each part of a series as a lazy volume.

    Parts differ in orientation, size, pixel spacing, Frame of Reference, component, segment, or, where they lie in the
    same place, in image type or stack; an interrupted repetition is one too. Parameters and errors are those of
    `open_volume`.

    Returns
    -------
    vols
        By the lowest Instance Number in each; every frame of the series is in one of them.
    """
    sizes = _as_sizes(chunks)
    planned = plans(series, on_irregular=on_irregular, rescale=rescale)
    return [_opened(one, series, sizes) for one in planned]


def open_frames(series: SeriesSource, *, rescale: Rescale = True) -> xr.DataArray:
    """Open all frames of a series lazily, one behind the other: cine, radiographs, whatever is no volume.

    Parameters
    ----------
    series
        A handle of a series of images of one size.
    rescale
        As for `open_volume`.

    Returns
    -------
    frames
        dask data, dimensions (frame, row, column), of colour (frame, row, column, rgb), by Instance Number; without a
        place in the patient.

    Raises
    ------
    GeometryError
        The images differ in size, or there are none.
    PixelDataError
        The header describes pixels, or a table for their values, that cannot be.
    UnsupportedError
        Mosaics that do not tell how their slices lie; a private scale that is not told.
    """
    planned = plan_of_frames(series, rescale=rescale)
    opened = finished(planned, lazy(planned, slices_of(planned, series), {}))
    return opened.rename({"z": "frame", "y": "row", "x": "column"})


def _opened(planned: Plan, series: SeriesSource, sizes: Mapping[str, int]) -> xr.DataArray:
    return finished(planned, lazy(planned, slices_of(planned, series), sizes))


def _as_sizes(chunks: Chunks) -> dict[str, int]:
    """Chunk sizes by axis; an axis not named keeps its natural size."""
    sizes: Mapping[str, int]
    if chunks == "frame":
        sizes = {"z": 1}
    elif isinstance(chunks, Mapping):
        sizes = chunks
    elif isinstance(chunks, int):
        sizes = {"z": chunks}
    else:
        raise InvalidInputError(f"chunks={chunks!r}: expected 'frame', a number of slices, or sizes by axis")
    if not all(axis in AXES and isinstance(size, int) and size > 0 for axis, size in sizes.items()):
        raise InvalidInputError(f"chunks={chunks!r}: expected positive sizes of the axes z, y and x")
    return dict(sizes)
