"""Make a file of a data set: with what every instance has, and new UIDs where it has none."""

from io import BytesIO

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from researchpacs.dicom.uids import IMPLEMENTATION_CLASS_UID
from researchpacs.errors import InvalidInputError

__all__ = ["complete"]

# Of type 2 in the Patient, General Study, General Series and General Equipment modules: there without a value.
_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "SeriesNumber",
    "InstanceNumber",
    "Manufacturer",
)


def complete(ds: Dataset) -> bytes:
    """Give a data set what every instance has, where it lacks it, and write it as a file."""
    for keyword in _EMPTY:
        if keyword not in ds:
            setattr(ds, keyword, None)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        if not ds.get(keyword) and (keyword != "FrameOfReferenceUID" or keyword in ds):
            setattr(ds, keyword, generate_uid(prefix=None))
    if "SOPClassUID" not in ds:
        raise InvalidInputError("an instance without content takes a SOPClassUID")
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    buffer = BytesIO()
    try:
        ds.save_as(buffer, enforce_file_format=True)
    except Exception as error:
        # The message may quote a value, so only its kind is told.
        raise InvalidInputError(f"a value does not fit its attribute ({type(error).__name__})") from error
    return buffer.getvalue()
