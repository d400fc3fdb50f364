"""The content of a measurement report, through highdicom, without its UIDs."""

from collections.abc import Sequence
from datetime import date, datetime

import highdicom.sr as hd
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as CodedEntry
from pydicom.uid import UID
from pydicom.valuerep import DA, TM

from researchpacs.annotation._groups import group_of
from researchpacs.annotation.measurement import Measurement
from researchpacs.dicom.sr import MODEL_NAME
from researchpacs.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, derived_uid

__all__ = ["compose"]

UNIDENTIFIED = "2.25.0"
"""Stands for the UIDs until the content is complete."""
PATIENT_AND_STUDY = (
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
"""What a report repeats of the images' headers; nothing else of them is copied."""
SERIES_NUMBER = 9001
EARLIEST = (date(1900, 1, 1), "000000")
"""Content Date and Time where neither the measurements nor the images tell any: the attribute may not be empty."""

_MEASUREMENT_REPORT = CodedEntry("126000", "DCM", "Imaging Measurement Report")
_IMAGING = CodedEntry("363679005", "SCT", "Imaging (procedure)")
_PERSON = hd.CodedConcept("121006", "DCM", "Person")
_DEVICE = hd.CodedConcept("121007", "DCM", "Device")


def compose(measurements: Sequence[Measurement], headers: Sequence[Dataset]) -> Dataset:
    """Make a Comprehensive 3D SR.

    Parameters
    ----------
    measurements
        Of one series and one author, at least one.
    headers
        Instances of that series.

    Returns
    -------
    report
        All but its UIDs; without anything that differs between two runs or between versions of a library.
    """
    content_date, content_time = _content_time(measurements, headers[0])
    report = hd.Comprehensive3DSR(
        evidence=[_reference(header) for header in headers],
        content=_content(measurements)[0],
        series_instance_uid=UNIDENTIFIED,
        series_number=SERIES_NUMBER,
        sop_instance_uid=UNIDENTIFIED,
        instance_number=1,
        manufacturer="researchpacs",
        manufacturer_model_name=MODEL_NAME,
        series_description="Measurements",
        is_complete=True,
        specific_character_set="ISO_IR 192",
        content_date=content_date,
        content_time=content_time,
    )
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "ContributingEquipmentSequence"):
        del report[keyword]
    for keyword in PATIENT_AND_STUDY:
        _copy(headers[0], keyword, report)
    report.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    report.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return report


def _content(measurements: Sequence[Measurement]) -> hd.MeasurementReport:
    return hd.MeasurementReport(
        observation_context=_observers(measurements[0].author),
        procedure_reported=_IMAGING,
        imaging_measurements=[group_of(one) for one in measurements],
        title=_MEASUREMENT_REPORT,
    )


def _observers(author: str) -> hd.ObservationContext:
    # A name of one part is marked by a caret, or it could be meant for more than one (PS3.5 6.2.1.2).
    person = hd.PersonObserverIdentifyingAttributes(name=author if "^" in author else f"{author}^")
    device = hd.DeviceObserverIdentifyingAttributes(
        uid=derived_uid("device"), name="researchpacs", manufacturer_name="researchpacs", model_name=MODEL_NAME
    )
    return hd.ObservationContext(
        observer_person_context=hd.ObserverContext(_PERSON, person),
        observer_device_context=hd.ObserverContext(_DEVICE, device),
    )


def _reference(header: Dataset) -> Dataset:
    """What highdicom needs to refer to an image; of the patient it would refuse what real headers hold."""
    ds = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(ds, keyword, header[keyword].value)
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(ds, keyword, "")
    ds.StudyDate = ds.StudyTime = None
    return ds


def _copy(header: Dataset, keyword: str, report: Dataset) -> None:
    """Copy an element as it is, valid or not: the report has to stand beside its images."""
    if keyword not in header:
        return
    element = header[keyword]
    value = str(element.value or "") if element.VR == "PN" else element.value
    report.add(DataElement(element.tag, element.VR, value, validation_mode=IGNORE))


def _content_time(measurements: Sequence[Measurement], header: Dataset) -> tuple[date, str]:
    times = [one.created_at for one in measurements if one.created_at]
    if times:
        return _local(max(times), header)
    for level in ("Series", "Acquisition", "Content", "Study"):
        if day := _date(header, f"{level}Date"):
            return day, _time(header, f"{level}Time")
    return EARLIEST


def _local(time: datetime, header: Dataset) -> tuple[date, str]:
    """In the images' time zone where they tell it, which then holds for the report too; else UTC."""
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
