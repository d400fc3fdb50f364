"""Values of Philips MR on the scale of the scanner, which its private attribute (2005,xx0E) tells.

Rescale Slope and Intercept turn stored values into what is displayed. Divided by Rescale Slope times Scale Slope these
can be compared between series and dynamics.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from researchpacs.dicom.attributes import HeaderLike, items_of, numbers_of, private_of
from researchpacs.errors import UnsupportedError
from researchpacs.model import Frame

__all__ = ["on_the_scale_of_philips"]

_CREATOR, _SCALE_SLOPE = "Philips MR Imaging DD 001", 0x0E
_PER_FRAME_CREATOR, _PER_FRAME = "Philips MR Imaging DD 005", 0x0F


def on_the_scale_of_philips(uid: str, frames: Sequence[Frame], header: HeaderLike) -> tuple[Frame, ...]:
    """Give frames the slopes and intercepts that lead from stored values to the scanner's.

    Parameters
    ----------
    uid
        SeriesInstanceUID.
    frames
        Of a volume.
    header
        Attributes that all instances of the series have in common.

    Raises
    ------
    UnsupportedError
        The scale is not told, or instances differ in it.
    """
    groups = items_of(header, "PerFrameFunctionalGroupsSequence")
    if len({frame.sop_uid for frame in frames}) > 1:
        groups = ()  # in common means of the same count, not of the same frames
    scaled = []
    for frame in frames:
        own = _own(groups[frame.index]) if frame.index < len(groups) else None
        slope = _scale_slope(header) if own is None else own
        if slope is None or not slope * frame.rescale_slope or not math.isfinite(slope * frame.rescale_slope):
            raise UnsupportedError(
                f"series ...{uid[-8:]} has no private scale of Philips, (2005,xx0E), that all of its images share; "
                "rescale=True gives the values that are displayed"
            )
        intercept = frame.rescale_intercept / (frame.rescale_slope * slope)
        scaled.append(replace(frame, rescale_slope=1 / slope, rescale_intercept=intercept))
    return tuple(scaled)


def _own(group: HeaderLike) -> float | None:
    """What an enhanced image tells of one frame, in a private sequence."""
    told = private_of(group, 0x2005, _PER_FRAME_CREATOR, _PER_FRAME)
    inner = next(iter(told), None) if isinstance(told, Sequence) and not isinstance(told, str) else None
    return None if inner is None else _scale_slope(inner)


def _scale_slope(header: HeaderLike) -> float | None:
    found = numbers_of({"value": private_of(header, 0x2005, _CREATOR, _SCALE_SLOPE)}, "value", 1)
    return None if found is None else found[0]
