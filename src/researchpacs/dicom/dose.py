"""Numbers of radiation dose reports, as plain values (PS3.16 TID 10001, TID 10011, TID 10021 and their likes).

Every number of the report is taken with what it is a number of: an irradiation or administration, or all of them. What
is not understood is left out, and nothing here fails on a broken report.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset

from researchpacs.dicom._content_items import (
    Names,
    below,
    children,
    code_of,
    concept_name,
    first,
    is_named,
    kind,
    text_of,
)
from researchpacs.dicom._moment import moment_of, parse_moment
from researchpacs.dicom.codes import Code
from researchpacs.dicom.sr import is_dose_report, unit_code, value_of

__all__ = ["Dose", "doses"]

_EVENTS: Names = frozenset({("113706", "DCM"), ("113819", "DCM"), ("113502", "DCM"), ("113853", "DCM")})
"""Irradiation Event X-Ray Data, CT Acquisition, Radiopharmaceutical Administration, Irradiation Event."""
_EVENT_UID: Names = frozenset({("113769", "DCM"), ("113503", "DCM")})
_PROTOCOL: Names = frozenset({("125203", "DCM")})
_REGION: Names = frozenset({("123014", "DCM")})
_ACQUISITION: Names = frozenset({("113820", "DCM"), ("113721", "DCM")})
_STARTED: Names = frozenset({("111526", "DCM"), ("123003", "DCM")})


@dataclass(frozen=True, slots=True)
class Dose:
    """One number; None where the report says nothing."""

    event_index: int | None
    """Zero-based irradiation or administration, in the report's order; None for what is of all of them."""
    event_uid: str | None
    section: Code | None
    """Concept name of the container it stands in."""
    quantity: Code
    value: float
    unit: str
    """UCUM, or as the report has it."""
    unit_scheme: str
    protocol: str | None
    region: Code | None
    acquisition: Code | None
    """CT Acquisition Type or Irradiation Event Type."""
    started_at: datetime | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Event:
    index: int | None = None
    uid: str | None = None
    protocol: str | None = None
    region: Code | None = None
    acquisition: Code | None = None
    started: str | None = None


def doses(ds: Dataset) -> list[Dose]:
    """Read every number of a dose report, in the order of the content tree; none of another object."""
    if not is_dose_report(ds):
        return []
    zone, created_at = text_of(ds, "TimezoneOffsetFromUTC"), moment_of(ds, "ContentDate", "ContentTime")
    found = []
    for number, section, event in _numbers(ds):
        quantity, value, unit = concept_name(number), value_of(number), unit_code(number)
        if quantity is None or value is None:
            continue
        found.append(
            Dose(
                event_index=event.index,
                event_uid=event.uid,
                section=concept_name(section),
                quantity=quantity,
                value=value,
                unit=unit.value if unit else "",
                unit_scheme=unit.scheme if unit else "",
                protocol=event.protocol,
                region=event.region,
                acquisition=event.acquisition,
                started_at=parse_moment(event.started, zone),
                created_at=created_at,
            )
        )
    return found


def _numbers(ds: Dataset) -> Iterator[tuple[Dataset, Dataset, _Event]]:
    """Each NUM item with the container it stands in and the event it belongs to."""
    waiting = [(ds, ds, _Event())]
    count = 0
    while waiting:
        item, section, event = waiting.pop()
        if kind(item) == "NUM":
            yield item, section, event
        if kind(item) == "CONTAINER":
            section = item
            if is_named(item, _EVENTS):
                event, count = _event(item, count), count + 1
        waiting += [(child, section, event) for child in reversed(children(item))]


def _event(item: Dataset, index: int) -> _Event:
    content = list(below(item))
    return _Event(
        index=index,
        uid=text_of(first(content, _EVENT_UID), "UID"),
        protocol=text_of(first(content, _PROTOCOL), "TextValue"),
        region=code_of(first(content, _REGION)),
        acquisition=code_of(first(content, _ACQUISITION)),
        started=text_of(first(content, _STARTED), "DateTime"),
    )
