"""Windows: which rescaled values become black and white (VOI LUT, PS3.3 C.11.2).

The function is LINEAR_EXACT (C.11.2.1.3.2), black at ``center - width / 2`` and white at ``center + width / 2``: unlike
LINEAR it is also right for quantities narrower than one, such as an SUV.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["CT_PRESETS", "Window", "as_window", "automatic", "displayed", "presets"]


@dataclass(frozen=True, slots=True)
class Window:
    """Window center and width, in the unit of the volume's values."""

    center: float
    width: float

    def __post_init__(self) -> None:
        try:
            sound = math.isfinite(self.center) and math.isfinite(self.width) and self.width > 0
        except TypeError:
            sound = False
        if not sound:
            from researchpacs.errors import InvalidInputError

            raise InvalidInputError(
                "a window needs a finite center and a width above zero, "
                f"not center {self.center!r}, width {self.width!r}"
            )

    @property
    def lower(self) -> float:
        """The largest value that is black."""
        return self.center - self.width / 2

    @property
    def upper(self) -> float:
        """The smallest value that is white."""
        return self.center + self.width / 2


CT_PRESETS: Mapping[str, Window] = {
    "soft tissue": Window(40, 400),
    "lung": Window(-600, 1500),
    "bone": Window(400, 1800),
    "brain": Window(40, 80),
    "mediastinum": Window(50, 350),
    "liver": Window(70, 150),
    "vessels": Window(300, 600),
}
"""In HU; the first is what a CT opens with."""


def presets(modality: str, values: np.ndarray) -> dict[str, Window]:
    """The windows offered for a volume, the first being the one it opens with.

    Parameters
    ----------
    modality
        Modality (0008,0060).
    values
        Rescaled values of any shape that stand for the volume; NaN is no value.
    """
    auto = {"auto": automatic(modality, values)}
    return {**CT_PRESETS, **auto} if modality == "CT" else auto


def automatic(modality: str, values: np.ndarray) -> Window:
    """The window that fits the values: from 0 for PT, else between the 1st and the 99th percentile."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return Window(0.5, 1.0)
    low, high = (0.0, np.percentile(known, 99.5)) if modality == "PT" else np.percentile(known, (1, 99))
    if not high > low:
        low, high = float(known.min()), float(known.max())
    return Window((low + high) / 2, high - low) if high > low else Window(low, 1.0)


def as_window(value: object, offered: Mapping[str, Window]) -> Window:
    """Read a window from a `Window` or the name of an offered one.

    Raises
    ------
    InvalidInputError
        For anything else; the message lists the names.
    """
    from researchpacs.errors import InvalidInputError

    if isinstance(value, Window):
        return value
    if isinstance(value, str) and value.strip().lower() in offered:
        return offered[value.strip().lower()]
    names = ", ".join(repr(name) for name in offered)
    raise InvalidInputError(f"no window {value!r}: pass a Window(center, width) or one of {names}")


def displayed(values: np.ndarray, window: Window, *, inverted: bool = False) -> np.ndarray:
    """Grey levels of rescaled values; NaN is black, inverted or not.

    Parameters
    ----------
    values
        Any shape.

    Returns
    -------
    grey
        uint8, the shape of `values`.
    """
    scaled = np.clip((np.asarray(values, dtype=np.float64) - window.lower) / window.width, 0.0, 1.0)
    if inverted:
        scaled = 1.0 - scaled
    return np.rint(np.nan_to_num(scaled, nan=0.0) * 255).astype(np.uint8)
