"""What every instance has, and a file of a data set that may lack it."""

from io import BytesIO

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from researchpacs.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from researchpacs.errors import InvalidInputError

__all__ = ["complete", "file_meta_of", "set_empty"]

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
)


def complete(ds: Dataset) -> bytes:
    """Give a data set what every instance has, where it lacks it, and write it as a file."""
    set_empty(ds, "InstanceNumber", "Manufacturer")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        if not ds.get(keyword) and (keyword != "FrameOfReferenceUID" or keyword in ds):
            setattr(ds, keyword, generate_uid(prefix=None))
    if "SOPClassUID" not in ds:
        raise InvalidInputError("an instance without content takes a SOPClassUID")
    ds.file_meta = file_meta_of(ds, ExplicitVRLittleEndian)
    buffer = BytesIO()
    try:
        ds.save_as(buffer, enforce_file_format=True)
    except Exception as error:
        # The message may quote a value, so only its kind is told.
        raise InvalidInputError(f"a value does not fit its attribute ({type(error).__name__})") from error
    return buffer.getvalue()


def set_empty(ds: Dataset, *keywords: str) -> None:
    """Set what is of type 2 in Patient, General Study, General Series and General Equipment, and not there.

    Parameters
    ----------
    keywords
        More of them.
    """
    for keyword in (*_EMPTY, *keywords):
        if keyword not in ds:
            setattr(ds, keyword, None)


def file_meta_of(ds: Dataset, transfer_syntax_uid: str) -> FileMetaDataset:
    """Make the File Meta Information of a data set (PS3.10 7.1)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta
