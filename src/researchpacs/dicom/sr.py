"""Measurements in structured reports, as plain values (PS3.3 C.17.3, PS3.16 TID 1500).

Only numbers in a Measurement Group are taken: a dose report is full of others. What is not understood is left out,
never guessed, and nothing here fails on another vendor's report.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from pydicom.dataset import Dataset
from pydicom.valuerep import DT

from researchpacs.dicom._content_items import (
    BROKEN,
    Names,
    as_code,
    below,
    children,
    code_of,
    concept_name,
    first,
    is_named,
    items,
    kind,
    text_of,
)
from researchpacs.dicom.codes import Code

__all__ = ["MODEL_NAME", "Measured", "measured", "measurement_rows"]

MODEL_NAME = "researchpacs measurements"
"""Manufacturer's Model Name of our own reports: there only an Observation DateTime says when something was measured."""

_GROUP: Names = frozenset({("125007", "DCM")})
_TRACKING_IDENTIFIER: Names = frozenset({("112039", "DCM")})
_TRACKING_UID: Names = frozenset({("112040", "DCM")})
_FINDING: Names = frozenset({("121071", "DCM")})
_SITE: Names = frozenset({("363698007", "SCT"), ("G-C0E3", "SRT"), ("G-C0E3", "SNM3")})
_METHOD: Names = frozenset({("370129005", "SCT"), ("G-C036", "SRT"), ("G-C036", "SNM3")})
_PERSON: Names = frozenset({("121008", "DCM")})
_DEVICE: Names = frozenset({("121013", "DCM")})
_ALGORITHM: Names = frozenset({("111001", "DCM")})
_ALGORITHM_VERSION: Names = frozenset({("111003", "DCM")})
_SOURCE_SERIES: Names = frozenset({("121232", "DCM")})

_NOT_IMAGED = ("1.2.840.10008.5.1.4.1.1.66", "1.2.840.10008.5.1.4.1.1.88", "1.2.840.10008.5.1.4.1.1.11.")
"""Beginnings of SOP Class UIDs of segmentations and registrations, reports, presentation states."""
_RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of a report and what the report says of it; None where it says nothing."""

    value: float
    unit: str
    """UCUM, or as the report has it."""
    quantity: Code
    series_uid: str | None
    """Of the images that were measured."""
    study_uid: str | None
    tracking_uid: str | None
    label: str | None
    """Tracking Identifier, else the finding."""
    finding: Code | None
    site: Code | None
    method: Code | None
    author: str | None
    """Person, else algorithm, else device."""
    algorithm: str | None
    """Name and version."""
    created_at: datetime | None
    """With a time zone where the report tells one."""
    graphic_type: str | None
    points_lps: tuple[tuple[float, float, float], ...]
    """SCOORD3D only; empty where there is none."""
    frame_of_reference_uid: str | None


def measurement_rows(ds: Dataset) -> list[dict[str, Any]]:
    """Make the rows of the table `measurements`; none for other objects than structured reports.

    Parameters
    ----------
    ds
        A report.

    Returns
    -------
    rows
        `created_at` is UTC where the report tells a time zone; `changed_at` is None: a report does not know when it was
        stored.
    """
    owner = {
        "PatientID": text_of(ds, "PatientID"),
        "object_sop_instance_uid": text_of(ds, "SOPInstanceUID"),
    }
    return [
        {
            "SeriesInstanceUID": found.series_uid,
            "StudyInstanceUID": found.study_uid,
            **owner,
            "tracking_uid": found.tracking_uid,
            "label": found.label,
            "finding_code": str(found.finding) if found.finding else None,
            "site_code": str(found.site) if found.site else None,
            "quantity": found.quantity.meaning,
            "value": found.value,
            "unit": found.unit,
            "method": found.method.meaning if found.method else None,
            "author": found.author,
            "created_at": _utc(found.created_at),
            "changed_at": None,
        }
        for found in measured(ds)
    ]


def measured(ds: Dataset) -> list[Measured]:
    """Read every number in a Measurement Group, in the order of the content tree."""
    evidence = _evidence(ds)
    return [found for number, above in _numbers(ds) if (found := _measured(ds, number, above, evidence)) is not None]


def _measured(
    ds: Dataset, number: Dataset, above: tuple[Dataset, ...], evidence: Mapping[str, "_Source"]
) -> Measured | None:
    value, unit, quantity = _value(number), _unit(number), concept_name(number)
    if value is None or quantity is None:
        return None
    group = above[-1]
    near = [*children(number), *children(group)]
    series_uid, study_uid = _imaged(number, group, evidence)
    finding = code_of(first(near, _FINDING))
    coordinates = next((item for item in _about(number, group) if kind(item) == "SCOORD3D"), None)
    algorithm = _algorithm(near)
    return Measured(
        value=value,
        unit=unit,
        quantity=quantity,
        series_uid=series_uid,
        study_uid=study_uid or text_of(ds, "StudyInstanceUID"),
        tracking_uid=text_of(first([*children(group), *children(number)], _TRACKING_UID), "UID"),
        label=text_of(first(near, _TRACKING_IDENTIFIER), "TextValue") or (finding.meaning if finding else None),
        finding=finding,
        site=code_of(first(near, _SITE)),
        method=code_of(first(near, _METHOD)),
        author=_person((number, *reversed(above))) or algorithm or _device((number, *reversed(above))),
        algorithm=algorithm,
        created_at=_created_at(ds, (number, *reversed(above))),
        graphic_type=text_of(coordinates, "GraphicType"),
        points_lps=_points(coordinates),
        frame_of_reference_uid=text_of(coordinates, "ReferencedFrameOfReferenceUID"),
    )


def _numbers(ds: Dataset) -> Iterator[tuple[Dataset, tuple[Dataset, ...]]]:
    """Each NUM item directly in a Measurement Group, with the containers above it, outermost first."""
    waiting: list[tuple[Dataset, tuple[Dataset, ...]]] = [(ds, ())]
    while waiting:
        item, above = waiting.pop()
        if kind(item) == "NUM" and above and is_named(above[-1], _GROUP):
            yield item, above
        elif kind(item) == "CONTAINER":
            waiting += [(child, (*above, item)) for child in reversed(children(item))]


def _about(number: Dataset, group: Dataset) -> Iterator[Dataset]:
    """What stands below a number, then what stands in its group for all numbers: nothing of another number's."""
    yield from below(number)
    for item in children(group):
        if kind(item) != "NUM":
            yield item
            yield from below(item)


# -- who, when ---------------------------------------------------------------------------------------------------------


def _person(levels: Iterable[Dataset]) -> str | None:
    """The nearest observer; a name without parts is written with a trailing caret."""
    for level in levels:
        item = first(children(level), _PERSON)
        name = text_of(item, "PersonName") or text_of(item, "TextValue")
        if name and name.strip("^"):
            return name.rstrip("^")
    return None


def _device(levels: Iterable[Dataset]) -> str | None:
    names = (text_of(first(children(level), _DEVICE), "TextValue") for level in levels)
    return next((name for name in names if name), None)


def _algorithm(near: list[Dataset]) -> str | None:
    name = text_of(first(near, _ALGORITHM), "TextValue")
    version = text_of(first(near, _ALGORITHM_VERSION), "TextValue")
    return f"{name} {version}" if name and version else name


def _created_at(ds: Dataset, levels: Iterable[Dataset]) -> datetime | None:
    times = (text_of(level, "ObservationDateTime") for level in levels)
    text = next((time for time in times if time), None)
    if text is None and text_of(ds, "ManufacturerModelName") != MODEL_NAME:
        day = text_of(ds, "ContentDate")
        text = day and day + (text_of(ds, "ContentTime") or "")
    if not text:
        return None
    zone = text_of(ds, "TimezoneOffsetFromUTC") or ""
    try:
        time = DT(text if "+" in text or "-" in text else text + zone)
    except BROKEN:
        return None
    return datetime.fromisoformat(time.isoformat()) if time else None


def _utc(time: datetime | None) -> datetime | None:
    return time.astimezone(UTC).replace(tzinfo=None) if time and time.tzinfo else time


# -- what was imaged ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    series_uid: str
    study_uid: str | None
    is_imaged: bool


def _evidence(ds: Dataset) -> dict[str, _Source]:
    """The instances that the report says it rests on, by SOPInstanceUID."""
    found: dict[str, _Source] = {}
    for name in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in items(ds, name):
            for series in items(study, "ReferencedSeriesSequence"):
                for instance in items(series, "ReferencedSOPSequence"):
                    uid = text_of(instance, "ReferencedSOPInstanceUID")
                    if uid and (series_uid := text_of(series, "SeriesInstanceUID")):
                        found[uid] = _Source(series_uid, text_of(study, "StudyInstanceUID"), _is_imaged(instance))
    return found


def _is_imaged(reference: Dataset) -> bool:
    sop_class = text_of(reference, "ReferencedSOPClassUID") or ""
    return not sop_class.startswith(_NOT_IMAGED) and sop_class != _RT_STRUCTURE_SET


def _imaged(number: Dataset, group: Dataset, evidence: Mapping[str, _Source]) -> tuple[str | None, str | None]:
    """Series and study that a number was measured on: what it refers to, else the only one the report rests on."""
    for item in _about(number, group):
        for reference in items(item, "ReferencedSOPSequence"):
            source = evidence.get(text_of(reference, "ReferencedSOPInstanceUID") or "")
            if source and source.is_imaged:
                return source.series_uid, source.study_uid
    studies = {source.series_uid: source.study_uid for source in evidence.values() if source.is_imaged}
    if named := text_of(first(children(group), _SOURCE_SERIES), "UID"):
        return named, studies.get(named)
    return next(iter(studies.items())) if len(studies) == 1 else (None, None)


# -- numbers -----------------------------------------------------------------------------------------------------------


def _value(number: Dataset) -> float | None:
    for measured_value in items(number, "MeasuredValueSequence"):
        for keyword in ("FloatingPointValue", "NumericValue"):
            try:
                value = float(measured_value[keyword].value)
            except BROKEN:
                continue
            if isfinite(value):
                return value
    return None


def _unit(number: Dataset) -> str:
    units = (items(value, "MeasurementUnitsCodeSequence") for value in items(number, "MeasuredValueSequence"))
    code = next((as_code(item) for items in units for item in items), None)
    return code.value if code else ""


def _points(coordinates: Dataset | None) -> tuple[tuple[float, float, float], ...]:
    if coordinates is None:
        return ()
    try:
        numbers = [float(value) for value in coordinates["GraphicData"].value]
    except BROKEN:
        return ()
    if len(numbers) % 3 or not all(map(isfinite, numbers)):
        return ()
    return tuple(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))
