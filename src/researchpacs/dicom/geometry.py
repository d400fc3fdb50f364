"""Slices in patient space: sort, check and classify them (PS3.3 C.7.6.2).

Index order is (z, y, x) = (slice, row, column), points are (x, y, z) LPS mm. Only measured positions make geometry:
SliceThickness and SpacingBetweenSlices are never read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from researchpacs.dicom.pixels import PixelLayout

__all__ = ["REASONS", "FrameLike", "Geometry", "blame", "classify", "is_on_grid"]

REASONS = (
    "not_an_image",
    "no_position",
    "multiple_stacks",
    "mixed_orientation",
    "duplicate_positions",
    "missing_slices",
    "nonuniform_spacing",
    "gantry_tilt",
    "single_slice",
)
"""Why a series is not one uniform volume, gravest first.

``not_an_image``
    There is no frame, or one without rows and columns.
``no_position``
    A frame lacks a usable position, orientation or pixel spacing: absent, not finite, zero, cosines not orthonormal.
``multiple_stacks``
    Frames differ in size or pixel spacing, or do not lie on one line.
``mixed_orientation``
    Planes are turned against each other by 0.1 degree or more.
``duplicate_positions``
    A position is met more than once.
``missing_slices``
    All gaps are whole multiples of one spacing, and some are more than one.
``nonuniform_spacing``
    A slice is further from the regular grid than the tolerance.
``gantry_tilt``
    The step from slice to slice is 0.1 degree or more off the normal of the planes.
``single_slice``
    One frame: it has no spacing along z.
"""


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a stack of frames physically is."""

    reasons: tuple[str, ...]
    """Empty for a uniform volume, else out of `REASONS`, gravest first."""
    shape: tuple[int, int, int]
    """Slices, rows, columns."""
    spacing: tuple[float | None, float | None, float | None]
    """mm between voxel centres along z, y, x, from positions; None where there is none."""
    affine_lps: tuple[tuple[float, ...], ...] | None
    """(4, 4): voxel index (z, y, x, 1) to LPS mm; sheared for a tilt; None where no affine is true."""
    spacing_error_mm: float | None = None
    """Largest distance of a slice from the regular grid."""

    @property
    def kind(self) -> str:
        """``"uniform"``, or the gravest reason."""
        return self.reasons[0] if self.reasons else "uniform"

    @property
    def is_volume(self) -> bool:
        """Whether `open_volume` opens it as it is."""
        return self.reasons in ((), ("single_slice",))


class FrameLike(Protocol):
    """What classification must know of a frame; `researchpacs.model.Frame` fits."""

    @property
    def position(self) -> Sequence[float] | None:
        """Image Position (Patient): (x, y, z) LPS mm."""
        ...

    @property
    def orientation(self) -> Sequence[float] | None:
        """Image Orientation (Patient): six cosines."""
        ...

    @property
    def pixel_spacing(self) -> Sequence[float] | None:
        """Pixel Spacing: mm between rows, mm between columns."""
        ...

    @property
    def layout(self) -> PixelLayout | None:
        """How the pixels are written; None for what is no image."""
        ...


def classify(frames: Sequence[FrameLike]) -> tuple[Geometry, tuple[int, ...]]:
    """Sort frames along the normal of their planes and say what they physically are.

    The normal is row cosines x column cosines; z increases along it. The affine comes from positions,
    ``first + k (last - first) / (n - 1)``, and from the orientation and pixel spacing of the first slice in sorted
    order.

    Uniform means: no slice further from the regular grid than max(0.02 mm, 5 % of the spacing), though never more
    than a quarter of the spacing, and a tilt under 0.1 degree.

    Parameters
    ----------
    frames
        All frames of a series, in any order. Values are those of the headers: NaN, zero and worse are expected.

    Returns
    -------
    geometry
        What the frames are; it never raises for what they are not.
    order
        (n,) Indices into `frames`, sorted along +normal. Frames that cannot be placed come last; frames of mixed
        orientation are sorted plane by plane.

    See Also
    --------
    blame : which slices are the reason.
    """
    from researchpacs.dicom import _stack

    return _stack.classify(frames)


def blame(frames: Sequence[FrameLike]) -> Mapping[str, tuple[int, ...]]:
    """Say which slices are the reason, for each of the reasons that `classify` gives.

    Parameters
    ----------
    frames
        All frames of a series, in any order.

    Returns
    -------
    slices
        Reason to zero-based indices in sorted order; for ``missing_slices`` and ``nonuniform_spacing`` the slice
        after the gap.
    """
    from researchpacs.dicom import _stack

    return _stack.examine(frames).reasons


def is_on_grid(off_mm: float, spacing_mm: float) -> bool:
    """Whether a slice so far from its place on a grid of that spacing still is at it, as in a uniform volume."""
    from researchpacs.dicom import _stack

    return off_mm <= _stack.grid_tolerance(spacing_mm)
