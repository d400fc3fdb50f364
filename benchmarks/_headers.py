"""CT files with headers as scanners write them, 112 elements each, whose pixels take no room on the disk."""

import io
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

__all__ = ["write_headers"]

ENTROPY = ["researchpacs benchmark of headers"]
SIDE = 512
PER_SERIES = 200
SERIES_PER_STUDY = 4


def write_headers(folder: Path, *, count: int) -> None:
    """Write ``count`` files of 512x512 in series of 200: the pixels are a hole in the file, read as zeros."""
    for number in range(count):
        series, k = divmod(number, PER_SERIES)
        place = folder / f"{series:05}"
        place.mkdir(parents=True, exist_ok=True)
        if k == 0:
            ds = _first_of_series(series)
        _turn_into(ds, series, k)
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        pixels = b"\xe0\x7f\x10\x00OW\0\0" + (2 * SIDE * SIDE).to_bytes(4, "little")
        with (place / f"{k:04}.dcm").open("wb") as file:
            file.write(buffer.getvalue() + pixels)
            file.truncate(file.tell() + 2 * SIDE * SIDE)


def _turn_into(ds: Dataset, series: int, k: int) -> None:
    """Say what tells a slice from the one before."""
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = _uid("instance", series, k)
    ds.InstanceNumber = k + 1
    ds.ImagePositionPatient = [-249.51171875, -401.01171875, round(-52.3 + 0.7 * k, 4)]
    ds.SliceLocation = ds.ImagePositionPatient[2]
    ds.ContentTime = ds.AcquisitionTime = f"1015{k // 60 % 60:02}.{k * 137 % 1_000_000:06}"
    ds.XRayTubeCurrent, ds.Exposure = 200 + k % 50, 150 + k % 40
    ds[0x0045100A].value = str(1000 + k)


def _first_of_series(series: int) -> Dataset:
    study = series // SERIES_PER_STUDY
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = _uid("study", study), _uid("series", series)
    ds.FrameOfReferenceUID = _uid("frame of reference", study)
    ds.PatientID, ds.PatientName = f"BENCH{study:05}", f"Benchmark^Number {study}"
    ds.SeriesNumber, ds.StudyDate = series % SERIES_PER_STUDY + 1, f"202{study % 5}0{study % 9 + 1}{study % 28 + 1:02}"
    ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = ds.InstanceCreationDate = ds.StudyDate
    ds.AccessionNumber = f"A{study:07}"
    ds.Rows = ds.Columns = SIDE
    for keyword, value in _SAME.items():
        setattr(ds, keyword, value)
    ds.ReferencedStudySequence = [_reference(_uid("study", study))]
    ds.RequestAttributesSequence = [_request()]
    block = ds.private_block(0x0045, "BENCHMARK 01", create=True)
    block.add_new(0x04, "CS", "NONE")
    block.add_new(0x06, "DS", "0.0")
    block.add_new(0x0A, "IS", "0")
    block.add_new(0x0C, "OB", bytes(range(200)))
    return ds


def _request() -> Dataset:
    request, code = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "24627-2", "LN", "Chest CT"
    request.ScheduledProcedureStepDescription, request.ScheduledProcedureStepID = "CT Thorax", "4711"
    request.RequestedProcedureID, request.ScheduledProtocolCodeSequence = "R4711", [code]
    return request


def _reference(uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", uid
    return reference


def _uid(*parts: object) -> str:
    return str(generate_uid(entropy_srcs=[*ENTROPY, *map(str, parts)]))


_SAME = {
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "InstanceCreationTime": "101530", "StudyTime": "095511.123000",
    "SeriesTime": "101401.5", "Modality": "CT", "Manufacturer": "BENCHMARK SYSTEMS", "InstitutionName": "Hospital",
    "InstitutionAddress": "Street 1, Town", "ReferringPhysicianName": "Referrer^R", "StationName": "CT99",
    "StudyDescription": "CT Thorax/Abdomen", "SeriesDescription": "Thorax 0.7 Br40", "OperatorsName": "Op^A",
    "InstitutionalDepartmentName": "Radiology", "ManufacturerModelName": "Bench 128", "PatientBirthDate": "19500101",
    "PatientSex": "F", "PatientAge": "073Y", "PatientSize": 1.7, "PatientWeight": 70, "PatientComments": "",
    "ContrastBolusAgent": "Contrast 300", "BodyPartExamined": "CHEST", "ScanOptions": "HELICAL MODE",
    "SliceThickness": 1.0, "KVP": 120, "DataCollectionDiameter": 500, "DeviceSerialNumber": "000000123456",
    "SoftwareVersions": ["VA40A", "SP2"], "ProtocolName": "5.1 Thorax routine", "ContrastBolusRoute": "IV",
    "ContrastBolusVolume": 80, "ReconstructionDiameter": 381, "DistanceSourceToDetector": 1085.6,
    "DistanceSourceToPatient": 595, "GantryDetectorTilt": 0, "TableHeight": 151, "RotationDirection": "CW",
    "ExposureTime": 500, "FilterType": "FLAT", "GeneratorPower": 32, "FocalSpots": [0.8, 0.8],
    "DateOfLastCalibration": "20230101", "TimeOfLastCalibration": "063000", "ConvolutionKernel": ["Br40d", "3"],
    "PatientPosition": "HFS", "ExposureModulationType": "XYZ", "EstimatedDoseSaving": 12.5, "CTDIvol": 6.8125,
    "SingleCollimationWidth": 0.6, "TotalCollimationWidth": 38.4, "TableSpeed": 66.8, "TableFeedPerRotation": 33.4,
    "SpiralPitchFactor": 0.87, "DataCollectionCenterPatient": [0.0, -206.5, -52.3], "StudyID": "1",
    "ReconstructionTargetCenterPatient": [0.0, -206.5, -52.3], "AcquisitionNumber": 2, "PositionReferenceIndicator": "",
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImageComments": "", "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2", "PixelSpacing": [0.744140625, 0.744140625], "BitsAllocated": 16,
    "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "WindowCenter": [50, -600], "WindowWidth": [350, 1200],
    "RescaleIntercept": -1024, "RescaleSlope": 1, "RescaleType": "HU", "LossyImageCompression": "00",
    "WindowCenterWidthExplanation": ["WINDOW1", "WINDOW2"], "RequestedProcedureDescription": "CT Thorax",
    "PerformedProcedureStepStartDate": "20230105", "PerformedProcedureStepStartTime": "095511",
    "PerformedProcedureStepID": "P1", "PerformedProcedureStepDescription": "CT Thorax",
}  # fmt: skip
