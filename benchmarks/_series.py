"""The series that benchmarks read: an uncompressed CT in files, and the same in a home."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

__all__ = ["ingested", "open_series", "write_ct"]

ENTROPY = ["researchpacs benchmark"]


def write_ct(folder: Path, *, slices: int, side: int = 512) -> str:
    """Write an axial CT of 12 bits, one file for each slice of 0.7 mm; the SeriesInstanceUID."""
    folder.mkdir(parents=True)
    uids = {k: generate_uid(entropy_srcs=[*ENTROPY, k, str(slices)]) for k in ("study", "series", "frame of reference")}
    noise = np.random.default_rng(0).integers(0, 4096, (side, side)).astype("<u2")
    for k in range(slices):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
        ds.SOPInstanceUID = generate_uid(entropy_srcs=[*ENTROPY, "instance", str(slices), str(k)])
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.PatientID, ds.PatientName = "BENCHMARK", "Benchmark"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = uids["study"], uids["series"]
        ds.FrameOfReferenceUID = uids["frame of reference"]
        ds.Modality, ds.InstanceNumber = "CT", k + 1
        ds.ImagePositionPatient = [-150, -150, round(0.7 * k, 4)]
        ds.ImageOrientationPatient, ds.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.6, 0.6]
        ds.Rows = ds.Columns = side
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
        ds.PixelData = np.roll(noise, k).tobytes()
        ds.save_as(folder / f"{k:04}.dcm", enforce_file_format=True)
    return str(uids["series"])


def ingested(folder: Path, home: Path) -> None:
    """Take the files into an archive."""
    import researchpacs as rp

    with rp.connect(home) as pacs:
        pacs.ingest(folder, progress=False)


def open_series(home: Path, uid: str):
    """Find a series, as a notebook does before it opens one: its row comes along."""
    import researchpacs as rp

    return rp.connect(home).search("series", SeriesInstanceUID=uid).one()
