"""What all objects that are made of annotations say alike: whose they are, when, and which UIDs their content has."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from io import BytesIO

from pydicom import dcmread
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import DA, TM

from researchpacs.dicom.uids import derived_uid
from researchpacs.errors import UnsupportedError
from researchpacs.model import Frame

__all__ = ["UNIDENTIFIED", "Source", "content_time", "copy_subject", "identified"]

UNIDENTIFIED = "2.25.0"
"""Stands for the UIDs until the content is complete."""

_SUBJECT = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "TimezoneOffsetFromUTC",
)
"""What an object repeats of the images' headers; nothing else of them is copied."""
_EARLIEST = (date(1900, 1, 1), "000000")
"""Where neither the annotation nor the images tell any: the attribute may not be empty."""


@dataclass(frozen=True, slots=True)
class Source:
    """The series that was drawn on."""

    header: Dataset = field(repr=False)
    """Of one of its instances."""
    frames: Sequence[Frame]
    sop_classes: Mapping[str, str] = field(default_factory=dict)
    """By SOP Instance UID; the header's where it is absent."""

    def sop_class(self, sop_uid: str) -> str:
        """SOP Class UID of an instance."""
        return self.sop_classes.get(sop_uid) or str(self.header.SOPClassUID)

    @property
    def frame_of_reference_uid(self) -> str:
        """Frame of Reference UID.

        Raises
        ------
        UnsupportedError
            It has none: then nothing that is drawn has a place beside its images.
        """
        uid = str(self.header.get("FrameOfReferenceUID") or "")
        if not uid:
            raise UnsupportedError(
                f"series {self.header.SeriesInstanceUID} has no Frame of Reference, so what is drawn on it has no "
                "place beside its images and cannot be stored yet"
            )
        return uid


def copy_subject(header: Dataset, ds: Dataset) -> None:
    """Copy patient and study as they are, valid or not: the object has to stand beside its images."""
    for keyword in _SUBJECT:
        if keyword in header:
            element = header[keyword]
            value = str(element.value or "") if element.VR == "PN" else element.value
            ds.add(DataElement(element.tag, element.VR, value, validation_mode=IGNORE))


def content_time(times: Iterable[datetime | None], header: Dataset) -> tuple[date, str]:
    """When it was made: the latest of what is known, else when the images were, for a date must be told."""
    known = [time for time in times if time]
    if known:
        return _local(max(known), header)
    for level in ("Series", "Acquisition", "Content", "Study"):
        if day := _date(header, f"{level}Date"):
            return day, _time(header, f"{level}Time")
    return _EARLIEST


def identified(ds: Dataset, kind: str) -> Dataset:
    """Give an object the UIDs that its bytes without UIDs hash to, and read it as it will be written.

    Equal content is an equal file, whenever it is made; other content never has the same UID.
    """
    dimensions = [
        item for name in ("DimensionOrganizationSequence", "DimensionIndexSequence") for item in ds.get(name) or ()
    ]
    for item in dimensions:
        item.DimensionOrganizationUID = UNIDENTIFIED
    digest = hashlib.sha256(_written(ds)).hexdigest()
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(derived_uid(kind, digest))
    ds.SeriesInstanceUID = derived_uid(f"{kind} series", digest)
    for item in dimensions:
        item.DimensionOrganizationUID = derived_uid(f"{kind} dimensions", digest)
    return dcmread(BytesIO(_written(ds)))


def _written(ds: Dataset) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _local(time: datetime, header: Dataset) -> tuple[date, str]:
    """In the images' time zone where they tell it, which then holds for the object too; else UTC."""
    zone = str(header.get("TimezoneOffsetFromUTC") or "")
    try:
        local = time.astimezone(datetime.strptime(zone, "%z").tzinfo) if zone else time
    except ValueError:
        local = time
    return local.date(), local.strftime("%H%M%S.%f")


def _date(header: Dataset, keyword: str) -> date | None:
    try:
        return DA(str(header.get(keyword) or "").strip() or None)
    except ValueError:
        return None


def _time(header: Dataset, keyword: str) -> str:
    text = str(header.get(keyword) or "").strip()
    try:
        return text if TM(text) else "000000"
    except ValueError:
        return "000000"
