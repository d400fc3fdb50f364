"""One measurement as a group of a report: TID 1501 of lines and points, TID 1410 of areas (PS3.16)."""

from collections.abc import Sequence
from typing import Any

import highdicom.sr as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.sr.coding import Code as CodedEntry

from researchpacs.annotation.measurement import Measurement, Point
from researchpacs.dicom import codes

__all__ = ["coded", "group_of"]

NAMES = {
    "length": codes.LENGTH,
    "angle": codes.ANGLE,
    "cobb": codes.COBB_ANGLE,
    "bidirectional": codes.LONG_AXIS,
    "ellipse": codes.AREA,
    "polygon": codes.AREA,
    "probe": codes.PIXEL_VALUE,
}
"""What the value of each kind is."""
MEANINGS = {
    "mm": "millimeter",
    "mm2": "square millimeter",
    "deg": "degree",
    "1": "no units",
    "[hnsf'U]": "Hounsfield unit",
}
"""Of units (PS3.16 CID 82)."""


Group = hd.MeasurementsAndQualitativeEvaluations | hd.PlanarROIMeasurementsAndQualitativeEvaluations


def group_of(one: Measurement) -> Group:
    """Make the group of a measurement."""
    told: dict[str, Any] = {
        "tracking_identifier": hd.TrackingIdentifier(uid=one.tracking_uid, identifier=one.label),
        "finding_type": coded(one.finding) if one.finding else None,
        "finding_sites": [hd.FindingSite(coded(one.site))] if one.site else None,
        "algorithm_id": _algorithm(one.algorithm) if one.algorithm else None,
        "measurements": _numbers(one),
    }
    if one.kind in ("ellipse", "polygon"):
        group: Group = hd.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=_region(one), **told)
    else:
        group = hd.MeasurementsAndQualitativeEvaluations(**told)
    if one.created_at:
        group[0].ObservationDateTime = one.created_at.strftime("%Y%m%d%H%M%S.%f%z")
    return group


def coded(code: codes.Code) -> CodedEntry:
    """A code as highdicom takes it."""
    return CodedEntry(code.value, code.scheme, code.meaning)


def _numbers(one: Measurement) -> list[hd.Measurement]:
    """The numbers; each that a line of its own was measured along tells the line, of a bidirectional one two."""
    lines: list[Sequence[Point]] = [] if one.kind in ("ellipse", "polygon") else [one.points_lps]
    if one.kind == "bidirectional":
        lines = [one.points_lps[:2], one.points_lps[2:]]
    numbers = [(NAMES[one.kind], one.value, one.unit), *((n.code, n.value, n.unit) for n in one.more)]
    made = []
    for at, (name, value, unit) in enumerate(numbers):
        coordinates = [_coordinates(lines[at], one.frame_of_reference_uid)] if at < len(lines) else None
        made.append(hd.Measurement(name=coded(name), value=value, unit=_unit(unit), referenced_coordinates=coordinates))
    return made


def _coordinates(points: Sequence[Point], frame_of_reference_uid: str) -> hd.CoordinatesForMeasurement3D:
    return hd.CoordinatesForMeasurement3D(
        graphic_type="POLYLINE" if len(points) > 1 else "POINT",
        graphic_data=np.array(points),
        frame_of_reference_uid=frame_of_reference_uid,
    )


def _region(one: Measurement) -> hd.ImageRegion3D:
    is_polygon = one.kind == "polygon"
    points = np.array([*one.points_lps, one.points_lps[0]] if is_polygon else one.points_lps)
    region = hd.ImageRegion3D(
        graphic_type="POLYGON" if is_polygon else "ELLIPSE",
        graphic_data=_flattened(points),
        frame_of_reference_uid=one.frame_of_reference_uid,
    )
    # As they are kept: single precision, which may lift a point off its plane by more than highdicom takes for none.
    region.GraphicData = points.ravel().tolist()
    return region


def _flattened(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drop points on the plane nearest to them; the last one stays the first where it is."""
    centre = points.mean(axis=0)
    normal = np.linalg.svd(points - centre)[2][2]
    flat: NDArray[np.float64] = points - np.outer((points - centre) @ normal, normal)
    return flat


def _unit(unit: str) -> CodedEntry:
    """A unit with its meaning; of those without a name here the code says it all."""
    return CodedEntry(unit, "UCUM", MEANINGS.get(unit, unit))


def _algorithm(text: str) -> hd.AlgorithmIdentification:
    name, _, version = text.rpartition(" ")
    return hd.AlgorithmIdentification(name=name, version=version)
