"""The content of a measurement report, through highdicom, without its UIDs."""

from collections.abc import Sequence

import highdicom.sr as hd
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as CodedEntry
from pydicom.uid import UID

from researchpacs.annotation._groups import group_of
from researchpacs.annotation._header import UNIDENTIFIED, content_time, copy_subject
from researchpacs.annotation.measurement import Measurement
from researchpacs.dicom.sr import MODEL_NAME
from researchpacs.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, derived_uid

__all__ = ["compose"]

_SERIES_NUMBER = 9001
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
    day, time = content_time([one.created_at for one in measurements], headers[0])
    report = hd.Comprehensive3DSR(
        evidence=[_reference(header) for header in headers],
        content=_content(measurements)[0],
        series_instance_uid=UNIDENTIFIED,
        series_number=_SERIES_NUMBER,
        sop_instance_uid=UNIDENTIFIED,
        instance_number=1,
        manufacturer="researchpacs",
        manufacturer_model_name=MODEL_NAME,
        series_description="Measurements",
        is_complete=True,
        specific_character_set="ISO_IR 192",
        content_date=day,
        content_time=time,
    )
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "ContributingEquipmentSequence"):
        del report[keyword]
    copy_subject(headers[0], report)
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
