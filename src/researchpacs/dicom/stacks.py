"""A series as parts: what of it lies on one grid, split by what its frames are, and along which dimensions they repeat.

Frames belong apart where they differ in Frame of Reference, size, pixel spacing, orientation, component, segment, image
type or stack; where they repeat at the same positions they differ in echo, b-value, cardiac phase or time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from researchpacs.dicom.frame_traits import Timing, Traits
from researchpacs.dicom.geometry import REASONS, FrameLike, Geometry, classify

__all__ = ["Dimension", "Part", "StackedFrame", "are_turned", "geometry_of", "rank_of", "split"]

_LAST = 2**31


class StackedFrame(FrameLike, Protocol):
    """What splitting must know of a frame beside its place; `researchpacs.model.Frame` fits."""

    @property
    def sop_uid(self) -> str:
        """SOPInstanceUID."""
        ...

    @property
    def index(self) -> int:
        """Zero-based in its instance."""
        ...

    @property
    def instance_number(self) -> int | None:
        """Instance Number of its instance."""
        ...

    @property
    def traits(self) -> Traits:
        """What most frames of a stack share."""
        ...

    @property
    def timing(self) -> Timing:
        """When it was taken."""
        ...


@dataclass(frozen=True, slots=True)
class Dimension:
    """What frames at one position differ in."""

    name: str
    """``echo``, ``b_value``, ``phase``, ``time``, or ``dynamic`` where nothing but their order tells them apart."""
    values: tuple[float, ...]
    """One for each stack along it; ascending but for b-values, which stand as they were acquired."""
    units: str
    """``ms``, ``s/mm2``, ``s``; empty for ``dynamic``, which counts from zero."""


@dataclass(frozen=True, slots=True)
class Part:
    """Frames of one grid: one stack, or several at the same positions."""

    geometry: Geometry
    """Of each of its stacks."""
    order: tuple[int, ...]
    """Indices into the frames as given, in the order of (dimensions..., slices); mosaics have all slices in a frame."""
    dimensions: tuple[Dimension, ...]
    """Outermost first; none for a single stack."""
    blamed: Mapping[str, tuple[int, ...]]
    """Reason to slices, as `researchpacs.dicom.geometry.blame` gives it."""
    step: tuple[float, float, float] | None = None
    """LPS mm from slice to slice of the regular grid nearest to the slices; None where they lie on no line."""
    orientation: tuple[float, ...] | None = None
    """Image Orientation (Patient) of the first slice; None where it is not known."""
    tiles: tuple[int, ...] | None = None
    """Of mosaics: which tile each slice is, row by row from the top left."""

    @property
    def stack_count(self) -> int:
        """Stacks that it holds."""
        count = 1
        for dimension in self.dimensions:
            count *= len(dimension.values)
        return count


def split(frames: Sequence[StackedFrame]) -> tuple[Part, ...]:
    """Split a series into parts, each of which opens as one array if it is regular.

    Nothing is split without need: slices of other image types or stacks that only together make a regular stack stay
    together. Frames that repeat at all positions alike get leading dimensions; an interrupted repetition is a part of
    its own.

    Parameters
    ----------
    frames
        All frames of a series, in any order, with whatever their headers say.

    Returns
    -------
    parts
        By the lowest Instance Number in each; every frame is in one of them. The time it takes grows linearly.
    """
    from researchpacs.dicom import _parts

    return _parts.split(frames)


def geometry_of(frames: Sequence[StackedFrame], parts: Sequence[Part]) -> Geometry:
    """Say what a series is as a whole: what its only part is, else with ``multiple_stacks`` among the reasons.

    Parameters
    ----------
    frames
        All frames of the series.
    parts
        What `split` made of them.
    """
    if len(parts) == 1:
        return parts[0].geometry
    if not parts:
        return classify(frames)[0]
    found = {reason for part in parts for reason in part.geometry.reasons} - {"single_slice"} | {"multiple_stacks"}
    if are_turned(parts):
        found.add("mixed_orientation")
    reasons = tuple(reason for reason in REASONS if reason in found)
    rows, columns = parts[0].geometry.shape[1:]
    return Geometry(reasons, (len(frames), rows, columns), (None, None, None), None)


def are_turned(parts: Sequence[Part]) -> bool:
    """Whether the planes of some parts are turned against those of others."""
    cosines = {tuple(round(value, 2) + 0.0 for value in part.orientation) for part in parts if part.orientation}
    return len(cosines) > 1


def rank_of(frame: StackedFrame) -> tuple[int, str, int]:
    """What sorts frames that nothing else does: Instance Number, those without one last, instance, index."""
    number = frame.instance_number
    return (_LAST if number is None else number, frame.sop_uid, frame.index)
