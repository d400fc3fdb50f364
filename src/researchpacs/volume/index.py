"""The index of one axis of a volume: millimetres that know their patient frame.

xarray aligns by labels. Plain float labels lose slices without a word where two grids differ by 1e-9 mm; this index
aligns what coincides within `TOLERANCE_MM` and raises where frames or grids differ.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from xarray import Index, Variable
from xarray.indexes import PandasIndex

from researchpacs.errors import GeometryError
from researchpacs.volume.frame import PatientFrame

__all__ = ["TOLERANCE_MM", "AxisIndex", "even_step"]

TOLERANCE_MM = 1e-3
"""Coordinates are rounded to 1e-4 mm, so this must be well above that."""


def even_step(values: Any) -> float | None:
    """Give the step of evenly spaced coordinates, negative where they descend; None for one, none or uneven ones."""
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return None
    # From end to end: the rounding of one difference would grow to 0.01 mm over 512 columns.
    step = float(values[-1] - values[0]) / (len(values) - 1)
    off = np.abs(values - values[0] - step * np.arange(len(values))).max()
    return step if abs(step) > TOLERANCE_MM and off <= TOLERANCE_MM else None


class AxisIndex(PandasIndex):
    """A pandas index over mm along one axis that holds the patient frame.

    Equal within `TOLERANCE_MM`. Crops and strides of one grid align; other frames and shifted grids raise
    GeometryError.
    """

    frame: PatientFrame
    _single_step: float | None = None

    @classmethod
    def from_variables(cls, variables: Mapping[Any, Variable], *, options: Mapping[str, Any]) -> Self:
        """Build the index as `set_xindex` asks for it; options are ``frame`` and ``step``."""
        built = super().from_variables(variables, options={})
        return built._with(options["frame"], options.get("step"))  # type: ignore[attr-defined, no-any-return]

    @property
    def step(self) -> float | None:
        """Signed mm from one coordinate to the next, also where only one is left; None for uneven ones."""
        return self._single_step if len(self.index) == 1 else even_step(self.index)

    def _with(self, frame: PatientFrame, single_step: float | None) -> Self:
        self.frame = frame
        self._single_step = single_step
        return self

    def _replace(self, index: pd.Index, dim: Hashable | None = None, coord_dtype: Any = None) -> Self:
        replaced: Self = super()._replace(index, dim, coord_dtype)  # type: ignore[no-untyped-call]
        return replaced._with(self.frame, self.step if len(index) == 1 else None)

    def isel(self, indexers: Mapping[Any, int | slice | np.ndarray[Any, Any] | Variable]) -> Self | None:
        """Keep the frame; a stride that leaves one coordinate leaves its own step."""
        taken: Self | None = super().isel(indexers)  # type: ignore[assignment]
        stride = getattr(indexers[self.dim], "step", None)
        if taken is not None and taken is not self and len(taken.index) == 1 and stride and taken._single_step:
            taken._single_step *= stride
        return taken

    def equals(self, other: Index, *, exclude: frozenset[Hashable] | None = None) -> bool:
        """Whether other holds the same frame and, within the tolerance, the same coordinates."""
        return (
            isinstance(other, AxisIndex)
            and self.frame.key == other.frame.key
            and self.dim == other.dim
            and len(self.index) == len(other.index)
            and np.allclose(self.index, other.index, rtol=0, atol=TOLERANCE_MM)
        )

    def join(self, other: Self, how: str = "inner") -> Self:
        """Align two stretches of one grid.

        Raises
        ------
        GeometryError
            The frames differ, or the grids do not coincide over their overlap, or do not overlap.
        """
        self._require_same_frame(other)
        if not (self.index.is_unique and other.index.is_unique):
            raise GeometryError(f"coordinates along {self.dim!r} repeat, so the arrays cannot be aligned")
        a, b = self.index.sort_values(), other.index.sort_values()
        in_b, in_a = _met(a, b), _met(b, a)
        if not in_b.any() or not (in_b[_within(a, b)].all() or in_a[_within(b, a)].all()):
            raise GeometryError(
                f"the grids do not coincide along {self.dim!r}: {_extent(a)} against {_extent(b)}; "
                "resample one onto the other with researchpacs.reconstruct.resample(vol, like=other)"
            )
        return self._replace(a[in_b] if how == "inner" else a.append(b[~in_a]).sort_values())

    def reindex_like(self, other: Self, method: str | None = None, tolerance: Any = None) -> dict[Hashable, Any]:
        """Find other's coordinates here, within the tolerance."""
        self._require_same_frame(other)
        tolerance = TOLERANCE_MM if tolerance is None else tolerance
        found: dict[Hashable, Any] = super().reindex_like(other, method or "nearest", tolerance)
        return found

    @classmethod
    def concat(cls, indexes: Sequence[Self], dim: Hashable, positions: Iterable[Iterable[int]] | None = None) -> Self:
        """Join stretches of one axis end to end."""
        for other in indexes[1:]:
            indexes[0]._require_same_frame(other)
        return indexes[0]._replace(cls._concat_indexes(indexes, dim, positions))

    def __repr__(self) -> str:
        return f"AxisIndex({_extent(self.index)}, frame={self.frame.key})"

    def _require_same_frame(self, other: "AxisIndex") -> None:
        mine, others = self.frame, other.frame
        if mine.key == others.key:
            return
        apart = float(np.abs(np.subtract(mine.directions, others.directions)).max())
        uids = "the same" if mine.uid == others.uid else f"...{mine.uid[-8:]} and ...{others.uid[-8:]}"
        raise GeometryError(
            f"the arrays lie in different patient frames: directions differ by up to {apart:.1e}, Frames of Reference "
            f"are {uids}; in the same Frame of Reference resample one onto the other, or, where only noise tells the "
            "directions apart, researchpacs.adopt(vol, like=other); in another one register them"
        )


def _met(a: pd.Index, b: pd.Index) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of a's coordinates b has; both ascend."""
    return np.asarray(b.get_indexer(a, method="nearest", tolerance=TOLERANCE_MM) >= 0)


def _within(a: pd.Index, b: pd.Index) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of a's coordinates lie in the stretch both have; both ascend."""
    low, high = max(a[0], b[0]) - TOLERANCE_MM, min(a[-1], b[-1]) + TOLERANCE_MM
    return np.asarray((a >= low) & (a <= high))


def _extent(index: pd.Index) -> str:
    return f"{len(index)} from {index[0]:.4f} to {index[-1]:.4f} mm" if len(index) else "none"
