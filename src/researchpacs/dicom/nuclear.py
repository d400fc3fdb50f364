"""Frames of Nuclear Medicine: told apart by vectors, one number for each frame (PS3.3 C.8.4.8).

Reconstructed slices lie along the normal of the first, Spacing Between Slices apart, whose sign says which way (PS3.3
C.8.4.15): beside Siemens mosaics the one place where it makes geometry. Planar images have no place in the patient.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from researchpacs.dicom.attributes import HeaderLike, items_of, numbers_of, texts_of
from researchpacs.dicom.frame_traits import Timing
from researchpacs.dicom.pixels import PixelLayout

__all__ = ["NUCLEAR", "Nuclear", "nuclear_of"]

NUCLEAR = frozenset(
    """
    DetectorInformationSequence GatedInformationSequence PhaseInformationSequence SpacingBetweenSlices
    EnergyWindowVector DetectorVector PhaseVector RRIntervalVector TimeSlotVector TimeSliceVector SliceVector
    """.split()  # noqa: SIM905 - a table of words reads better than quotes
)
"""Attributes that `nuclear_of` reads, beside Image Type."""

_APART = {"EnergyWindowVector": "energy window", "DetectorVector": "detector", "RRIntervalVector": "RR interval"}
"""What makes other images, with the words that a Stack ID gets."""

_DATA = "DataInformationSequence"

_LARGEST_MM = 1e6
_LONGEST_MS = 1e12
"""Thirty years."""

Vector = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Nuclear:
    """The frames of an image of Nuclear Medicine; every sequence has one entry for each of them."""

    positions: Sequence[tuple[float, ...] | None]
    """(x, y, z) LPS mm of the first pixel; None for planar images."""
    orientation: tuple[float, ...] | None
    stack_ids: Sequence[str]
    """Energy window, detector and RR interval, where there are several; empty where there are not."""
    timings: Sequence[Timing]


def nuclear_of(ds: HeaderLike, layout: PixelLayout, alike: Timing) -> Nuclear | None:
    """Read how frames differ; None for what is no image of Nuclear Medicine.

    Parameters
    ----------
    ds
        The instance's header.
    layout
        How its pixels are written.
    alike
        What it says of the time of all of its frames.
    """
    count = layout.number_of_frames
    told = [name for name in NUCLEAR if name.endswith("Vector") and name in ds]
    if not told and "DetectorInformationSequence" not in ds:
        return None
    vectors = {name: vector for name in told if (vector := _vector(ds, name, count))}
    are_known = len(vectors) == len(told) and (count == 1 or len(vectors) > 0)
    detectors = items_of(ds, "DetectorInformationSequence")
    first = detectors[(vectors.get("DetectorVector") or (1,))[0] - 1 :][:1]
    orientation = numbers_of(first[0], "ImageOrientationPatient", 6) if first else None
    slices = vectors.get("SliceVector", (1,) * count)
    names = [name for name in _APART if len(set(vectors.get(name, ()))) > 1]
    return Nuclear(
        positions=_positions(ds, first, orientation, slices) if are_known else [None] * count,
        orientation=orientation,
        stack_ids=[", ".join(f"{_APART[name]} {vectors[name][k]}" for name in names) for k in range(count)],
        timings=_timings(ds, vectors, alike, count),
    )


def _vector(ds: HeaderLike, keyword: str, count: int) -> Vector | None:
    """Numbers from 1, one for each frame; None where they cannot be."""
    found = numbers_of(ds, keyword, count)
    if found is None or not all(one >= 1 and one.is_integer() for one in found):
        return None
    return tuple(map(int, found))


def _positions(
    ds: HeaderLike, detector: Sequence[HeaderLike], orientation: tuple[float, ...] | None, slices: Vector
) -> list[tuple[float, ...] | None]:
    nowhere: list[tuple[float, ...] | None] = [None] * len(slices)
    corner = numbers_of(detector[0], "ImagePositionPatient", 3) if detector else None
    if corner is None or orientation is None or not {"RECON TOMO", "RECON GATED TOMO"} & set(texts_of(ds, "ImageType")):
        return nowhere
    spacing = numbers_of(ds, "SpacingBetweenSlices", 1)
    if spacing is None and len(set(slices)) > 1:
        return nowhere
    if spacing is not None and abs(spacing[0]) > _LARGEST_MM:
        return nowhere
    step = np.cross(np.clip(orientation[:3], -1, 1), np.clip(orientation[3:], -1, 1)) * (spacing[0] if spacing else 0.0)
    # Slice 1 is where the detector's position is, also where the frames begin with another one.
    placed = np.asarray(corner) + (np.array(slices)[:, None] - 1) * step
    return [(x, y, z) for x, y, z in (placed + 0.0).tolist()]


def _timings(ds: HeaderLike, vectors: dict[str, Vector], alike: Timing, count: int) -> list[Timing]:
    if "TimeSlotVector" in vectors:
        slots = vectors["TimeSlotVector"]
        frame_ms = _slot_ms(ds)
        return [
            replace(alike, temporal_position=slot, trigger_ms=None if frame_ms is None else (slot - 1) * frame_ms)
            for slot in slots
        ]
    if "TimeSliceVector" not in vectors and "PhaseVector" not in vectors:
        return [alike] * count
    phases, slices = vectors.get("PhaseVector", (1,) * count), vectors.get("TimeSliceVector", (1,) * count)
    moments = list(zip(phases, slices, strict=True))
    rank = {moment: k for k, moment in enumerate(sorted(set(moments)), 1)}
    begun = _begun_us(ds, moments)
    return [
        replace(
            alike,
            temporal_position=rank[moment],
            acquired_us=None if begun is None or alike.acquired_us is None else alike.acquired_us + begun[k],
        )
        for k, moment in enumerate(moments)
    ]


def _slot_ms(ds: HeaderLike) -> float | None:
    """How long a time slot of a heartbeat is (PS3.3 C.8.4.13); None where RR intervals differ in it."""
    gates = [data for gated in items_of(ds, "GatedInformationSequence") for data in items_of(gated, _DATA)]
    told = {numbers_of(data, "FrameTime", 1) for data in gates}
    (found,) = told if len(told) == 1 else (None,)
    return found[0] if found and 0 < found[0] < _LONGEST_MS else None


def _begun_us(ds: HeaderLike, moments: Sequence[tuple[int, int]]) -> list[int] | None:
    """From the beginning of the first phase to each frame (PS3.3 C.8.4.14): delays, durations and pauses."""
    starts, steps, start = [], [], 0.0
    for phase in items_of(ds, "PhaseInformationSequence"):
        duration, frames = numbers_of(phase, "ActualFrameDuration", 1), numbers_of(phase, "NumberOfFramesInPhase", 1)
        if duration is None or frames is None:
            return None
        (delay,), (pause,) = (numbers_of(phase, name, 1) or (0.0,) for name in ("PhaseDelay", "PauseBetweenFrames"))
        starts.append(start + delay)
        steps.append(duration[0] + pause)
        start = starts[-1] + frames[0] * steps[-1] - pause
    if any(phase > len(starts) for phase, _ in moments):
        return None
    begun = [starts[phase - 1] + (time - 1) * steps[phase - 1] for phase, time in moments]
    return [round(ms * 1000) for ms in begun] if all(0 <= ms < _LONGEST_MS for ms in begun) else None
