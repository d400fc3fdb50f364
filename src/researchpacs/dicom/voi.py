"""VOI LUT: which rescaled values are shown black and which white (PS3.3 C.11.2).

Levels run from 0, black, to 1, white; MONOCHROME1 is not looked at here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from researchpacs.dicom.attributes import items_of, numbers_of, text_of, texts_of
from researchpacs.dicom.tables import Table, table_in
from researchpacs.errors import InvalidInputError, PixelDataError

__all__ = ["Function", "Voi", "VoiTable", "VoiWindow", "voi_of"]

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


@dataclass(frozen=True, slots=True)
class VoiWindow:
    """Window Center and Window Width, in rescaled values, with their function (PS3.3 C.11.2.1)."""

    center: float
    width: float
    function: Function = "LINEAR"
    explanation: str = ""

    def __post_init__(self) -> None:
        least = 1.0 if self.function == "LINEAR" else 0.0
        if not (math.isfinite(self.center) and math.isfinite(self.width) and self.width >= least and self.width > 0):
            raise InvalidInputError("a window has a finite center, and a width of 1 or more (LINEAR) or above 0")

    def apply(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Give levels.

        Parameters
        ----------
        values
            Rescaled values of any shape; NaN stays NaN.

        Returns
        -------
        levels
            From 0 to 1, the shape of `values`.
        """
        given = np.asarray(values, np.float64)
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):
                sigmoid: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-4.0 * (given - self.center) / self.width))
            return sigmoid
        if self.function == "LINEAR_EXACT":
            return np.clip((given - self.center) / self.width + 0.5, 0.0, 1.0)
        if self.width == 1.0:
            return np.where(np.isnan(given), np.nan, given > self.center - 0.5)
        return np.clip((given - (self.center - 0.5)) / (self.width - 1.0) + 0.5, 0.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class VoiTable:
    """A VOI LUT: a level for each rescaled value (PS3.3 C.11.2.1.1)."""

    table: Table
    explanation: str = ""

    def apply(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Give levels, as `VoiWindow.apply` does; what is no integer takes the level of the nearest one."""
        given = np.asarray(values)
        if given.dtype.kind == "f":
            known = np.nan_to_num(np.rint(given), nan=0.0, posinf=2.0**31, neginf=-(2.0**31)).astype(np.int64)
        else:
            known = given
        levels = self.table.apply(known) / float((1 << self.table.bits) - 1)
        return np.where(np.isnan(given), np.nan, levels) if given.dtype.kind == "f" else levels


Voi = VoiWindow | VoiTable


def voi_of(ds: Dataset, index: int = 0, *, big: bool = False) -> tuple[Voi, ...]:
    """Read how an image asks to be shown, windows first; what cannot be a window is left out.

    Parameters
    ----------
    ds
        The instance's header.
    index
        Zero-based frame: enhanced images tell it by frame (PS3.3 C.7.6.16.2.10).
    big
        Whether the data set is big endian.

    Raises
    ------
    PixelDataError
        A VOI LUT is broken.
    """
    found = [group for group in (_frame_voi(ds, index), ds) if group is not None]
    for item in found:
        told: tuple[Voi, ...] = (*_windows(item), *_tables(item, signed=_is_signed(ds), big=big))
        if told:
            return told
    return ()


def _windows(item: Dataset) -> Iterator[VoiWindow]:
    centers, widths = numbers_of(item, "WindowCenter") or (), numbers_of(item, "WindowWidth") or ()
    function = text_of(item, "VOILUTFunction").upper()
    known: Function = function if function in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"  # type: ignore[assignment]
    explanations = texts_of(item, "WindowCenterWidthExplanation")
    for k, (center, width) in enumerate(zip(centers, widths, strict=False)):
        try:
            yield VoiWindow(center, width, known, explanations[k] if k < len(explanations) else "")
        except InvalidInputError:
            continue  # a width of zero and the like: real scanners write them


def _tables(item: Dataset, *, signed: bool, big: bool) -> Iterator[VoiTable]:
    for one in items_of(item, "VOILUTSequence"):
        try:
            table = table_in(one, "LUT", signed=signed, big=big)  # type: ignore[arg-type]
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            # The message may quote a value, so only its kind is told.
            raise PixelDataError(f"a VOI LUT is missing or broken ({type(error).__name__})") from None
        yield VoiTable(table, text_of(one, "LUTExplanation"))


def _is_signed(ds: Dataset) -> bool:
    """Whether rescaled values may be negative, so that a table's first one is read as signed."""
    intercept = numbers_of(ds, "RescaleIntercept", 1) or (0.0,)
    return ds.get("PixelRepresentation") == 1 or intercept[0] < 0


def _frame_voi(ds: Dataset, index: int) -> Dataset | None:
    groups = [*items_of(ds, "PerFrameFunctionalGroupsSequence")[index : index + 1]]
    groups += items_of(ds, "SharedFunctionalGroupsSequence")[:1]
    for group in groups:
        found = items_of(group, "FrameVOILUTSequence")
        if found:
            return found[0]  # type: ignore[return-value]
    return None
