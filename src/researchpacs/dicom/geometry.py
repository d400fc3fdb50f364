"""Slices in patient space: sort, check and classify them (PS3.3 C.7.6.2).

Index order is (z, y, x) = (slice, row, column), points are (x, y, z) LPS mm.
"""

from dataclasses import dataclass

__all__ = ["REASONS", "Geometry"]

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
"""Why a series is not one uniform volume, gravest first."""


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
    """(4, 4): voxel index (z, y, x, 1) to LPS mm; None where no affine is true."""
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
