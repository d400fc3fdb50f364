"""Marks as the measurements that are kept of them, and back."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, cast

import numpy as np

from researchpacs.annotation import Measurement, Number, default_author
from researchpacs.dicom import codes
from researchpacs.dicom.ucum import unit_of
from researchpacs.viewer._measures import Quantity

if TYPE_CHECKING:
    from researchpacs.annotation import Kind
    from researchpacs.viewer._planes import PlaneStack
    from researchpacs.viewer._scene import Scene

__all__ = ["measurement_of", "outline", "quantities_of"]

Points = tuple[tuple[float, float, float], ...]

QUANTITIES = {
    "length": codes.LENGTH,
    "angle": codes.ANGLE,
    "long axis": codes.LONG_AXIS,
    "short axis": codes.SHORT_AXIS,
    "area": codes.AREA,
    "mean": codes.MEAN,
    "sd": codes.STANDARD_DEVIATION,
    "min": codes.MINIMUM,
    "max": codes.MAXIMUM,
    "value": codes.PIXEL_VALUE,
}
UNITS = {"HU": "[hnsf'U]", "": "1"}
"""UCUM of units that have another name in a volume's attributes."""


def measurement_of(
    shape: str,
    points_lps: Points,
    quantities: Sequence[Quantity],
    *,
    label: str,
    scene: "Scene",
    stack: "PlaneStack",
    created_at: datetime,
) -> Measurement:
    """Make the measurement of a mark: a circle is kept as an ellipse, a rectangle as a polygon."""
    kind, points = shape, points_lps
    if shape == "circle":
        kind, points = "ellipse", _ends_of_axes(points_lps, stack.normal)
    elif shape == "rectangle":
        kind, points = "polygon", outline(points_lps)
    first, *more = quantities
    return Measurement(
        kind=cast("Kind", kind),
        points_lps=points,
        value=first.value,
        unit=_ucum(first.unit),
        label=label,
        series_uid=str(scene.attrs.get("SeriesInstanceUID", "")),
        frame_of_reference_uid=scene.frame_of_reference_uid,
        author=default_author(),
        created_at=created_at,
        more=tuple(Number(QUANTITIES[one.name], one.value, _ucum(one.unit)) for one in more),
    )


def quantities_of(measurement: Measurement) -> list[Quantity]:
    """Give the numbers of a measurement, the one it is named for first."""
    names = {code: name for name, code in QUANTITIES.items()}
    own = {"bidirectional": "long axis", "ellipse": "area", "polygon": "area", "probe": "value", "cobb": "angle"}
    found = [Quantity(own.get(measurement.kind, measurement.kind), measurement.value, _shown(measurement.unit))]
    return [*found, *(Quantity(names.get(n.code, n.code.meaning), n.value, _shown(n.unit)) for n in measurement.more)]


def outline(corners: Points) -> Points:
    """Give the corners of a rectangle, which come in no order, as one goes around it."""
    first, *others = corners
    opposite = max(others, key=lambda corner: math.dist(first, corner))
    second, fourth = (corner for corner in others if corner is not opposite)
    return first, second, opposite, fourth


def _ends_of_axes(points: Points, normal: np.ndarray) -> Points:
    """Give the ends of two diameters of a circle, at right angles, of its centre and a point on the rim."""
    centre, rim = np.array(points)
    one = rim - centre
    other = np.cross(normal, one)
    return cast("Points", tuple(tuple(end.tolist()) for end in (centre - one, rim, centre - other, centre + other)))


def _ucum(unit: str) -> str:
    """A unit that UCUM does not know is told in braces, as it tells what is counted."""
    told = UNITS.get(unit, unit)
    return told if unit_of(told) else "{" + "".join(c for c in unit if "!" <= c <= "z") + "}"


def _shown(unit: str) -> str:
    names = {ucum: name for name, ucum in UNITS.items()}
    return names.get(unit, unit.strip("{}"))
