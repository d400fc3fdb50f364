"""A series as a frozen plan: which frames, in which order, where in the patient, as which type. No file is opened."""

import hashlib
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from researchpacs.dicom.geometry import blame, classify
from researchpacs.dicom.pixels import PixelLayout, stored_dtype
from researchpacs.errors import GeometryError, InvalidInputError, PixelDataError, UnsupportedError
from researchpacs.model import Frame, SeriesSource
from researchpacs.volume._attributes import attributes_of, describe, text
from researchpacs.volume._refusal import refusal

__all__ = ["Plan", "plan"]

Affine = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is known about a volume before a byte of it is read."""

    series_uid: str
    frame_of_reference_uid: str
    frames: tuple[Frame, ...]
    """Sorted along +normal."""
    shape: tuple[int, int, int]
    """Slices, rows, columns."""
    affine_lps: Affine
    """(4, 4): voxel index (z, y, x, 1) to LPS mm; for a single slice the z column is the unit normal."""
    spacing_z_known: bool
    """False for a single slice."""
    dtype: str
    """Of the volume: after the rescale, or as stored."""
    rescale: bool
    attrs: Mapping[str, object]
    """Of the DataArray."""


def plan(series: SeriesSource, *, on_irregular: str = "raise", rescale: bool = True) -> Plan:
    """Check a series and decide how it becomes a volume.

    Parameters
    ----------
    series
        A handle, or whatever else gives frames.
    on_irregular
        ``"raise"``; ``"keep"`` and ``"repair"`` are not there yet.
    rescale
        Apply Rescale Slope and Intercept, frame by frame (PS3.3 C.11.1).

    Raises
    ------
    GeometryError
        The frames are not one uniform stack; has the reasons and the slices to blame.
    UnsupportedError
        Colour, segmentations of one bit a pixel, mosaics, and irregular stacks that should be kept or repaired.
    PixelDataError
        The header describes pixels that cannot be.
    InvalidInputError
        What was given is no series, or `on_irregular` is none of the three.
    """
    _require_policy(on_irregular)
    if not isinstance(rescale, bool):
        raise InvalidInputError(f"rescale={rescale!r}: expected True or False")
    if not all(hasattr(series, name) for name in ("uid", "attributes", "frames", "locate")):
        raise InvalidInputError(
            f"a volume is opened from a series, not from {type(series).__name__}: "
            "take one from pacs.search('series', ...) or pacs.series(uid); files are ingested first"
        )
    given = series.frames()
    attributes = attributes_of(series)
    geometry, order = classify(given)
    if not geometry.is_volume:
        raise refusal(series.uid, geometry, blame(given))
    _require_one_frame_of_reference(series.uid, attributes)
    frames = tuple(given[k] for k in order)
    layouts = tuple(dict.fromkeys(frame.layout for frame in frames))
    _require_one_value_per_pixel(series.uid, layouts)
    _require_known_values(series.uid, frames, attributes, rescale=rescale)
    stored = np.result_type(*map(stored_dtype, layouts))
    return Plan(
        series_uid=series.uid,
        frame_of_reference_uid=text(attributes, "FrameOfReferenceUID") or _own_frame_of_reference(series.uid),
        frames=frames,
        shape=geometry.shape,
        affine_lps=geometry.affine_lps or _single_slice_affine(frames[0]),
        spacing_z_known=geometry.affine_lps is not None,
        dtype=(rescaled_dtype(frames) if rescale else stored).str,
        rescale=rescale,
        attrs=describe(series.uid, attributes, geometry, rescale=rescale),
    )


def rescaled_dtype(frames: Iterable[Frame]) -> np.dtype[np.generic]:
    """Give the type that holds every rescaled value.

    Integral slopes and intercepts keep int16, int32 where that is needed, int64 where 32 stored bits need it; all
    others give float32, double float pixels float64.
    """
    low, high = 0, 0
    for layout, slope, intercept in {(u.layout, u.rescale_slope, u.rescale_intercept) for u in frames}:
        if layout.pixel_keyword == "DoubleFloatPixelData":
            return np.dtype(np.float64)
        if layout.pixel_keyword != "PixelData" or not (slope.is_integer() and intercept.is_integer()):
            return np.dtype(np.float32)
        ends = [value * int(slope) + int(intercept) for value in stored_range(layout)]
        low, high = min(low, *ends), max(high, *ends)
    for kind in (np.int16, np.int32, np.int64):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float64)


def stored_range(layout: PixelLayout) -> tuple[int, int]:
    """Give the smallest and largest integer that Bits Stored can hold."""
    bits = layout.bits_stored
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if layout.pixel_representation else (0, (1 << bits) - 1)


def _require_policy(on_irregular: str) -> None:
    if on_irregular in ("keep", "repair"):
        raise UnsupportedError(f"on_irregular={on_irregular!r} comes with a later version; this one has 'raise' only")
    if on_irregular != "raise":
        raise InvalidInputError(f"on_irregular={on_irregular!r}: expected 'raise', 'keep' or 'repair'")


def _require_one_frame_of_reference(uid: str, attributes: ChainMap[str, object]) -> None:
    columns, *common = attributes.maps
    if common and text(columns, "FrameOfReferenceUID") and "FrameOfReferenceUID" not in common[0]:
        raise GeometryError(
            f"series ...{uid[-8:]} has images in different Frames of Reference, or some in none: where these are to "
            "each other is not known",
            reasons=("multiple_stacks",),
            series_uid=uid,
        )


def _require_one_value_per_pixel(uid: str, layouts: Iterable[PixelLayout]) -> None:
    series = f"series ...{uid[-8:]}"
    for layout in layouts:
        if layout.samples_per_pixel != 1 or layout.photometric_interpretation == "PALETTE COLOR":
            raise UnsupportedError(
                f"{series} is in colour ({layout.photometric_interpretation}), and a volume has one value per voxel; "
                "open_frames, which opens colour, comes with a later version"
            )
        if layout.bits_allocated == 1:
            raise UnsupportedError(f"{series} is a segmentation of one bit per pixel; those come with a later version")


def _require_known_values(
    uid: str, frames: Sequence[Frame], attributes: Mapping[str, object], *, rescale: bool
) -> None:
    series = f"series ...{uid[-8:]}"
    if "MOSAIC" in str(attributes.get("ImageType", "")):
        raise UnsupportedError(
            f"{series} holds mosaics, many slices tiled in one image; they come with a later version"
        )
    if rescale and "ModalityLUTSequence" in attributes:
        raise UnsupportedError(
            f"{series} maps its values by a table (Modality LUT), which comes with a later version; "
            "rescale=False gives the stored values"
        )
    numbers = np.array([(u.rescale_slope, u.rescale_intercept) for u in frames])
    if rescale and (not np.isfinite(numbers).all() or not numbers[:, 0].all()):
        raise PixelDataError(
            f"{series} has slices whose RescaleSlope or RescaleIntercept is zero, not a number, or a table; "
            "rescale=False gives the stored values"
        )


def _own_frame_of_reference(series_uid: str) -> str:
    """Make up a Frame of Reference for a series that names none: nothing else may seem to share it (PS3.5 B.2)."""
    return f"2.25.{int(hashlib.sha256(series_uid.encode()).hexdigest()[:32], 16)}"


def _single_slice_affine(frame: Frame) -> Affine:
    if frame.position is None or frame.orientation is None or frame.pixel_spacing is None:
        raise GeometryError("a slice without a place cannot be opened", reasons=("no_position",))
    axes = np.reshape(frame.orientation, (2, 3))
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    down, right = axes[1] * frame.pixel_spacing[0], axes[0] * frame.pixel_spacing[1]
    normal = np.cross(axes[0], axes[1])
    affine = np.eye(4)
    affine[:3] = np.column_stack([normal / np.linalg.norm(normal), down, right, frame.position])
    return tuple(map(tuple, affine.tolist()))
