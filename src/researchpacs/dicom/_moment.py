"""Dates with times -> points in time, UTC where a time zone is told (PS3.5 6.2, DT; PS3.3 C.12.1.1.8)."""

from datetime import UTC, datetime

from pydicom.dataset import Dataset
from pydicom.valuerep import DT

from researchpacs.dicom._content_items import BROKEN, text_of

__all__ = ["as_utc", "moment_of", "parse_moment"]


def moment_of(ds: Dataset, date_keyword: str, time_keyword: str) -> datetime | None:
    """Read a pair of attributes; None without a date."""
    day = text_of(ds, date_keyword)
    return parse_moment(day and day + (text_of(ds, time_keyword) or ""), text_of(ds, "TimezoneOffsetFromUTC"))


def parse_moment(text: str | None, zone: str | None) -> datetime | None:
    """Read a DT; `zone` is what the data set says for those without their own."""
    if not text:
        return None
    try:
        time = DT(text if "+" in text or "-" in text else text + (zone or ""))
    except BROKEN:
        return None
    return datetime.fromisoformat(time.isoformat()) if time else None


def as_utc(time: datetime | None) -> datetime | None:
    """UTC without a time zone; a time whose zone nobody told stays as it is."""
    return time.astimezone(UTC).replace(tzinfo=None) if time and time.tzinfo else time
