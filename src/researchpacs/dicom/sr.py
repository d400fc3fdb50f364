"""Measurements in structured reports, as plain values (PS3.3 C.17.3, PS3.16 TID 300, TID 1500).

Numbers directly in a container are measurements, be it a Measurement Group or any other; numbers below other numbers
say of those how normal they are, or what they were derived from. Dose reports are none of measurements:
`researchpacs.dicom.dose` reads them. What is not understood is left out, never guessed, and nothing here fails on
another vendor's report.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import inf, isfinite
from typing import Any

from pydicom.dataset import Dataset

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
from researchpacs.dicom._evidence import Source, evidence_of, only_series
from researchpacs.dicom._moment import as_utc, moment_of, parse_moment
from researchpacs.dicom.codes import Code
from researchpacs.dicom.ucum import unit_of

__all__ = [
    "MODEL_NAME",
    "Measured",
    "evaluated",
    "is_dose_report",
    "measured",
    "measurement_rows",
    "unit_code",
    "value_of",
]

MODEL_NAME = "researchpacs measurements"
"""Manufacturer's Model Name of our own reports: there only an Observation DateTime says when something was measured."""

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

_DOSE_REPORTS = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{number}" for number in (67, 68, 73, 76))
_DOSE_TITLES: Names = frozenset({("113701", "DCM"), ("113500", "DCM")})
"""X-Ray and Radiopharmaceutical Radiation Dose Report, which are also written as other reports."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of a report and what the report says of it; None where it says nothing."""

    value: float
    unit: str
    """UCUM, or as the report has it."""
    unit_scheme: str
    """``"UCUM"``, or what else the unit is coded in."""
    quantity: Code
    group: Code | None
    """Concept name of the container it stands in."""
    series_uid: str | None
    """Of the images that were measured."""
    study_uid: str | None
    tracking_uid: str | None
    tracking_id: str | None
    """Tracking Identifier."""
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
            "tracking_id": found.tracking_id,
            "label": found.label,
            "group_code": str(found.group) if found.group else None,
            "finding_code": str(found.finding) if found.finding else None,
            "finding": found.finding.meaning if found.finding else None,
            "site_code": str(found.site) if found.site else None,
            "site": found.site.meaning if found.site else None,
            "quantity_code": str(found.quantity),
            "quantity": found.quantity.meaning,
            "value": found.value,
            "unit": found.unit,
            **evaluated(found.value, found.unit, found.unit_scheme),
            "method": found.method.meaning if found.method else None,
            "author": found.author,
            "created_at": as_utc(found.created_at),
            "changed_at": None,
        }
        for found in measured(ds)
    ]


def measured(ds: Dataset) -> list[Measured]:
    """Read every number that stands in a container, in the order of the content tree; none of a dose report."""
    if is_dose_report(ds):
        return []
    evidence = evidence_of(ds)
    return [found for number, above in _numbers(ds) if (found := _measured(ds, number, above, evidence)) is not None]


def is_dose_report(ds: Dataset) -> bool:
    """Whether a report tells doses: by its class, or by its title where it is of a general class."""
    return text_of(ds, "SOPClassUID") in _DOSE_REPORTS or is_named(ds, _DOSE_TITLES)


def evaluated(value: float, unit: str, scheme: str) -> dict[str, Any]:
    """A value in UCUM's base units as `ucum_value` and `ucum_unit`; None for what is no unit that is known."""
    known = unit_of(unit) if scheme == "UCUM" else None
    found = known.evaluate(value) if known else inf
    usable = known is not None and isfinite(found)
    return {"ucum_value": found if usable else None, "ucum_unit": known.base if known and usable else None}


def _measured(
    ds: Dataset, number: Dataset, above: tuple[Dataset, ...], evidence: Mapping[str, Source]
) -> Measured | None:
    value, unit, quantity = value_of(number), unit_code(number), concept_name(number)
    if value is None or quantity is None:
        return None
    group = above[-1]
    near = [*children(number), *children(group)]
    series_uid, study_uid = _imaged(number, group, evidence)
    finding = code_of(first(near, _FINDING))
    tracking_id = text_of(first(near, _TRACKING_IDENTIFIER), "TextValue")
    coordinates = next((item for item in _about(number, group) if kind(item) == "SCOORD3D"), None)
    algorithm = _algorithm(near)
    return Measured(
        value=value,
        unit=unit.value if unit else "",
        unit_scheme=unit.scheme if unit else "",
        quantity=quantity,
        group=concept_name(group),
        series_uid=series_uid,
        study_uid=study_uid or text_of(ds, "StudyInstanceUID"),
        tracking_uid=text_of(first([*children(group), *children(number)], _TRACKING_UID), "UID"),
        tracking_id=tracking_id,
        label=tracking_id or (finding.meaning if finding else None),
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
    """Each NUM item directly in a container, with the containers above it, outermost first."""
    waiting: list[tuple[Dataset, tuple[Dataset, ...]]] = [(ds, ())]
    while waiting:
        item, above = waiting.pop()
        if kind(item) == "NUM" and above:
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
    if text := next((time for time in times if time), None):
        return parse_moment(text, text_of(ds, "TimezoneOffsetFromUTC"))
    is_ours = text_of(ds, "ManufacturerModelName") == MODEL_NAME
    return None if is_ours else moment_of(ds, "ContentDate", "ContentTime")


# -- what was imaged ---------------------------------------------------------------------------------------------------


def _imaged(number: Dataset, group: Dataset, evidence: Mapping[str, Source]) -> tuple[str | None, str | None]:
    """Series and study that a number was measured on: what it refers to, else the only one the report rests on."""
    for item in _about(number, group):
        for reference in items(item, "ReferencedSOPSequence"):
            source = evidence.get(text_of(reference, "ReferencedSOPInstanceUID") or "")
            if source and source.is_imaged:
                return source.series_uid, source.study_uid
    if named := text_of(first(children(group), _SOURCE_SERIES), "UID"):
        return named, next((one.study_uid for one in evidence.values() if one.series_uid == named), None)
    return only_series((), evidence)


# -- numbers -----------------------------------------------------------------------------------------------------------


def value_of(number: Dataset) -> float | None:
    """The finite number of a NUM item."""
    for measured_value in items(number, "MeasuredValueSequence"):
        for keyword in ("FloatingPointValue", "NumericValue"):
            try:
                value = float(measured_value[keyword].value)
            except BROKEN:
                continue
            if isfinite(value):
                return value
    return None


def unit_code(number: Dataset) -> Code | None:
    """The unit of a NUM item."""
    units = (items(value, "MeasurementUnitsCodeSequence") for value in items(number, "MeasuredValueSequence"))
    return next((code for items in units for item in items if (code := as_code(item))), None)


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
