"""Instances made in memory: complete, valid and small."""

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

__all__ = ["small_ct"]

_ROOT = "1.2.826.0.1.3680043.8.498.1"


def small_ct(number: int = 1, *, seed: int = 0, size: int = 16, **attributes: object) -> Dataset:
    """Make one axial CT slice of `size` x `size` pixels.

    Parameters
    ----------
    number
        InstanceNumber; gives the SOPInstanceUID, and the position at 2 mm a slice.
    seed
        Of the pixel values.
    **attributes
        Values to set by keyword, such as ``PatientID="B"``; None removes the attribute.

    Returns
    -------
    ds
        With File Meta Information, Explicit VR Little Endian; `Dataset.save_as` writes it.
    """
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = f"{_ROOT}.1.1.{number}"
    ds.StudyInstanceUID = f"{_ROOT}.1"
    ds.SeriesInstanceUID = f"{_ROOT}.1.1"
    ds.FrameOfReferenceUID = f"{_ROOT}.2"
    ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "A", "Test^Phantom", "19700101", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20240229", "101500", "1", "7"
    ds.ReferringPhysicianName, ds.Manufacturer, ds.Laterality, ds.PatientPosition = "", "researchpacs", "", "HFS"
    ds.Modality, ds.SeriesNumber, ds.SeriesDescription, ds.StudyDescription = "CT", 1, "small", "test"
    ds.InstanceNumber, ds.AcquisitionNumber, ds.ImageType = number, 1, ["DERIVED", "PRIMARY", "AXIAL"]
    ds.KVP, ds.SliceThickness, ds.PixelSpacing = "120", "2", ["0.5", "0.5"]
    ds.ImagePositionPatient, ds.ImageOrientationPatient = ["0", "0", str(2.0 * number)], ["1", "0", "0", "0", "1", "0"]
    ds.PositionReferenceIndicator = ""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = size, size, 16, 16, 15, 1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    values = np.random.default_rng([seed, number]).integers(0, 2000, (size, size), dtype="<i2")
    ds.PixelData = values.tobytes()
    ds["PixelData"].VR = "OW"
    for keyword, value in attributes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds
