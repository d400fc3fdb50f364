"""A series as frozen plans: which frames, in which order, where in the patient, as which type. No file is opened."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from researchpacs.dicom.geometry import Geometry, classify
from researchpacs.dicom.stacks import Dimension, Part, geometry_of, rank_of, split
from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.model import Frame, SeriesSource
from researchpacs.volume._attributes import attributes_of, describe, regions, text
from researchpacs.volume._labels import Label, frame_labels, stack_labels
from researchpacs.volume._layouts import colours_of, require_known_values, values_dtype
from researchpacs.volume._philips import on_the_scale_of_philips
from researchpacs.volume._refusal import refusal, refusal_of_parts

__all__ = ["Plan", "Rescale", "plan", "plan_of_frames", "plans"]

Rescale = bool | Literal["philips"]
"""Whether values are rescaled; ``"philips"`` gives those of the scanner, by a private attribute."""
Affine = tuple[tuple[float, ...], ...]

_REPAIRABLE = frozenset({"gantry_tilt", "missing_slices", "nonuniform_spacing"})


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is known about a volume before a byte of it is read."""

    series_uid: str
    frame_of_reference_uid: str
    frames: tuple[Frame, ...]
    """In the order of (dimensions..., slices), slices along +normal; mosaics have all slices in a frame."""
    dimensions: tuple[Dimension, ...]
    """That lead; none for a plain volume."""
    shape: tuple[int, ...]
    """(dimensions..., slices, rows, columns), of colour followed by 3."""
    affine_lps: Affine | None
    """(4, 4): voxel index (z, y, x, 1) to LPS mm; for a single slice the z column is the unit normal; None where the
    slices are on no line."""
    spacing_z_known: bool
    """False for a single slice."""
    offsets_mm: tuple[float, ...] | None
    """Of the slices along the z axis from the first one, where they are uneven."""
    tiles: tuple[int, ...] | None
    """Of mosaics: which tile each slice is."""
    dtype: str
    """Of the volume: after the rescale, or as stored."""
    rescale: bool
    repair: bool
    """Whether the stack is resampled onto a regular grid with right angles once it is there."""
    attrs: Mapping[str, object]
    """Of the DataArray."""
    labels: tuple[Label, ...] = ()
    """What else is known of its stacks, or of frames one by one."""


def plan(series: SeriesSource, *, on_irregular: str = "raise", rescale: Rescale = True) -> Plan:
    """Check a series and decide how it becomes one volume.

    Parameters
    ----------
    series
        A handle, or whatever else gives frames.
    on_irregular
        ``"raise"``, ``"keep"`` or ``"repair"``, as `researchpacs.open_volume` has it.
    rescale
        Apply Rescale Slope and Intercept, frame by frame (PS3.3 C.11.1); ``"philips"`` the private scale too.

    Raises
    ------
    GeometryError
        The frames are not one uniform volume; has the reasons and the slices to blame.
    UnsupportedError
        Mosaics that do not tell how their slices lie.
    PixelDataError
        The header describes pixels that cannot be.
    InvalidInputError
        What was given is no series, or `on_irregular` is none of the three.
    """
    _require_arguments(series, on_irregular, rescale)
    given = series.frames()
    parts = split(given)
    if len(parts) == 1:
        return _planned(series, given, parts[0], on_irregular, rescale=rescale)
    if on_irregular == "keep" and len({frame.layout.frame_shape for frame in given}) == 1:
        return _planned(series, given, _heap(given, geometry_of(given, parts)), on_irregular, rescale=rescale)
    raise refusal_of_parts(series.uid, given, parts)


def plans(series: SeriesSource, *, on_irregular: str = "raise", rescale: Rescale = True) -> tuple[Plan, ...]:
    """Decide how each part of a series becomes a volume; arguments and errors as for `plan`."""
    _require_arguments(series, on_irregular, rescale)
    given = series.frames()
    parts = split(given)
    if not parts:
        raise refusal_of_parts(series.uid, given, parts)
    return tuple(_planned(series, given, part, on_irregular, rescale=rescale) for part in parts)


def plan_of_frames(series: SeriesSource, *, rescale: Rescale = True) -> Plan:
    """Lay all frames of a series one behind the other, by Instance Number, wherever they are in the patient.

    Raises
    ------
    GeometryError
        There are none, or they differ in size.
    InvalidInputError, UnsupportedError, PixelDataError
        As for `plan`.
    """
    _require_arguments(series, "keep", rescale)
    given = series.frames()
    order = sorted(range(len(given)), key=lambda k: rank_of(given[k]))
    sizes = {frame.layout.frame_shape for frame in given}
    if len(sizes) != 1:
        found = f"frames of {len(sizes)} sizes; open_volumes() opens them one by one" if sizes else "no image"
        reasons = ("multiple_stacks",) if sizes else ("not_an_image",)
        raise GeometryError(f"series ...{series.uid[-8:]} holds {found}", reasons=reasons, series_uid=series.uid)
    rows, columns, *_ = next(iter(sizes))
    geometry = Geometry((), (len(given), rows, columns), (None, None, None), None)
    planned = _planned(series, given, Part(geometry, tuple(order), (), {}), "keep", rescale=rescale)
    header = attributes_of(series).maps[-1]
    return replace(
        planned,
        attrs={**planned.attrs, **regions(header), "history": ("opened: frames one by one",)},
        labels=frame_labels(planned.frames, header),
    )


def _planned(series: SeriesSource, given: Sequence[Frame], part: Part, on_irregular: str, *, rescale: Rescale) -> Plan:
    geometry = part.geometry
    is_regular = geometry.is_volume
    is_repaired = on_irregular == "repair" and not is_regular
    if not (is_regular or on_irregular == "keep" or (is_repaired and set(geometry.reasons) <= _REPAIRABLE)):
        raise refusal(series.uid, geometry, part.blamed, on_irregular=on_irregular)
    if len({given[k].layout.frame_shape for k in part.order}) != 1:
        raise refusal(series.uid, geometry, part.blamed, on_irregular=on_irregular)
    attributes = attributes_of(series)
    frames = tuple(given[k] for k in part.order)
    if rescale == "philips":
        frames, rescale = on_the_scale_of_philips(series.uid, frames, attributes.maps[-1]), True
    require_known_values(series.uid, frames, attributes, rescale=rescale)
    told = frames[0].traits.frame_of_reference_uid or text(attributes, "FrameOfReferenceUID")
    colour = colours_of(frames[0].layout, rescale=rescale)
    affine, offsets = _placed(part, frames)
    return Plan(
        series_uid=series.uid,
        frame_of_reference_uid=told or _own_frame_of_reference(series.uid),
        frames=frames,
        dimensions=part.dimensions,
        shape=(*(len(dimension.values) for dimension in part.dimensions), *geometry.shape, *colour),
        affine_lps=affine,
        spacing_z_known="single_slice" not in geometry.reasons,
        offsets_mm=offsets,
        tiles=part.tiles,
        dtype=values_dtype(series.uid, frames, rescale=rescale).str,
        rescale=rescale,
        repair=is_repaired,
        attrs=describe(series.uid, attributes, frames, geometry, given, rescale=rescale),
        labels=stack_labels(frames, part.dimensions, 1 if part.tiles is not None else geometry.shape[0]),
    )


def _placed(part: Part, frames: Sequence[Frame]) -> tuple[Affine | None, tuple[float, ...] | None]:
    """Give the affine of a part; of uneven slices one along their line, and how far along it each is."""
    geometry = part.geometry
    if geometry.affine_lps is not None:
        return geometry.affine_lps, None
    if geometry.reasons == ("single_slice",):
        first = frames[0]
        return _affine(first, np.cross(*np.reshape(first.orientation or (), (2, 3)))), None
    if part.step is None or not set(geometry.reasons) <= _REPAIRABLE:
        return None, None
    positions = np.array([frame.position for frame in frames[: geometry.shape[0]]], np.float64)
    step = np.array(part.step)
    offsets = (positions - positions[0]) @ step / np.linalg.norm(step)
    return _affine(frames[0], step), tuple(offsets.tolist())


def _affine(frame: Frame, step: np.ndarray) -> Affine:
    """Lay the axes at the first pixel of a frame; a step without a known length is the unit normal."""
    if frame.position is None or frame.orientation is None or frame.pixel_spacing is None:
        raise GeometryError("a slice without a place cannot be opened", reasons=("no_position",))
    axes = np.reshape(frame.orientation, (2, 3))
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    affine = np.eye(4)
    affine[:3] = np.column_stack(
        [step, axes[1] * frame.pixel_spacing[0], axes[0] * frame.pixel_spacing[1], frame.position]
    )
    return tuple(map(tuple, affine.tolist()))


def _heap(given: Sequence[Frame], whole: Geometry) -> Part:
    """All frames of a series in one stack, though they are several: without a place."""
    order = classify(given)[1]
    return Part(replace(whole, shape=(len(given), *whole.shape[1:])), order, (), {})


def _require_arguments(series: SeriesSource, on_irregular: str, rescale: object) -> None:
    if on_irregular not in ("raise", "keep", "repair"):
        raise InvalidInputError(f"on_irregular={on_irregular!r}: expected 'raise', 'keep' or 'repair'")
    if not (isinstance(rescale, bool) or rescale == "philips"):
        raise InvalidInputError(f"rescale={rescale!r}: expected True, False or 'philips'")
    if not all(hasattr(series, name) for name in ("uid", "attributes", "frames", "locate")):
        raise InvalidInputError(
            f"a volume is opened from a series, not from {type(series).__name__}: "
            "take one from pacs.search('series', ...) or pacs.series(uid); files are ingested first"
        )


def _own_frame_of_reference(series_uid: str) -> str:
    """Make up a Frame of Reference for a series that names none: nothing else may seem to share it (PS3.5 B.2)."""
    return f"2.25.{int(hashlib.sha256(series_uid.encode()).hexdigest()[:32], 16)}"
