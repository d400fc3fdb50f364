"""Measurements out of the numbers of a report: those of one shape belong together."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from researchpacs.annotation._told import LONGEST_NAME, one_line
from researchpacs.annotation.measurement import Kind, Measurement, Number, Point
from researchpacs.dicom import codes
from researchpacs.dicom.codes import Code
from researchpacs.dicom.sr import Measured

__all__ = ["measurements_of"]

_LENGTHS = {codes.LENGTH, Code("G-D7FE", "SRT", "Length")}
_KINDS: dict[tuple[Code, str, int], tuple[Kind, str]] = {
    **{(length, "POLYLINE", 2): ("length", "mm") for length in _LENGTHS},
    (codes.ANGLE, "POLYLINE", 3): ("angle", "deg"),
    (codes.COBB_ANGLE, "POLYLINE", 4): ("cobb", "deg"),
    (codes.LONG_AXIS, "POLYLINE", 2): ("bidirectional", "mm"),
    (codes.AREA, "ELLIPSE", 4): ("ellipse", "mm2"),
    (codes.PIXEL_VALUE, "POINT", 1): ("probe", ""),
}
"""Quantity, what it was drawn as and of how many points: the kind, and the unit it has to be in."""


def measurements_of(numbers: Sequence[Measured]) -> Iterator[Measurement]:
    """Give the measurements that the numbers of one report are, in their order; other numbers are left out."""
    at = 0
    while at < len(numbers):
        first, kind = numbers[at], _kind(numbers[at])
        at += 1
        if kind is None or not first.series_uid or not first.frame_of_reference_uid:
            continue
        points = first.points_lps
        more = []
        while at < len(numbers) and _belongs(numbers[at], first, kind):
            more.append(numbers[at])
            at += 1
        if kind == "bidirectional":
            if len(more) != 1:
                continue
            points = (*points, *more[0].points_lps)
        yield _made(first, kind, points, more)


def _kind(found: Measured) -> Kind | None:
    if (found.quantity, found.graphic_type) == (codes.AREA, "POLYGON"):
        return "polygon" if len(found.points_lps) > 3 and found.unit == "mm2" else None
    kind, unit = _KINDS.get((found.quantity, found.graphic_type or "", len(found.points_lps)), (None, ""))
    return kind if not unit or found.unit == unit else None


def _belongs(found: Measured, first: Measured, kind: Kind) -> bool:
    """Whether a number says more of the shape of the first one."""
    if found.tracking_uid != first.tracking_uid or found.group != first.group:
        return False
    if kind == "bidirectional":
        is_axis = found.quantity == codes.SHORT_AXIS and found.graphic_type == "POLYLINE"
        return is_axis and len(found.points_lps) == 2 and found.unit == "mm"
    same_shape = found.points_lps == first.points_lps and found.graphic_type == first.graphic_type
    return kind in ("ellipse", "polygon") and same_shape and found.quantity != codes.AREA


def _made(found: Measured, kind: Kind, points: Sequence[Point], more: Sequence[Measured]) -> Measurement:
    return Measurement(
        kind=kind,
        # The first corner of a polygon is repeated in a report.
        points_lps=tuple(points[:-1]) if kind == "polygon" else tuple(points),
        value=found.value,
        unit=found.unit,
        label=one_line(found.label) or kind,
        series_uid=found.series_uid or "",
        frame_of_reference_uid=found.frame_of_reference_uid or "",
        author=one_line(found.author, without="\\=")[: LONGEST_NAME - 1].strip(" ^") or "unknown",
        finding=found.finding,
        site=found.site,
        algorithm=found.algorithm if found.algorithm and " " in found.algorithm else None,
        created_at=_with_zone(found.created_at),
        more=tuple(Number(one.quantity, one.value, one.unit) for one in more),
        tracking_uid=found.tracking_uid or "",
    )


def _with_zone(time: datetime | None) -> datetime | None:
    return time.astimezone(UTC) if time and time.tzinfo else None
