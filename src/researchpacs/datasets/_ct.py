"""A generated chest as CT Image Storage files (PS3.3 A.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage

from researchpacs.datasets._chest import Chest
from researchpacs.datasets._files import decimals, sample_uid, save

__all__ = ["Acquisition", "write_ct"]

INTERCEPT = -1024
GREATEST = 4095


@dataclass(frozen=True)
class Acquisition:
    """The grid and the UIDs of one generated series; the same for the same definition and number of slices."""

    definition: Mapping[str, Any]
    slices: int

    @property
    def spacing(self) -> tuple[float, float, float]:
        """mm between voxel centres along z, y, x; slices are as thick as they are apart."""
        grid = self.definition["grid"]
        return round(grid["length_mm"] / self.slices, 2), grid["pixel_mm"], grid["pixel_mm"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        grid = self.definition["grid"]
        return self.slices, grid["rows"], grid["columns"]

    def position(self, index: int) -> tuple[float, float, float]:
        """Centre of the first pixel of a slice, counted from the feet, LPS mm."""
        (dz, dy, dx), (count, rows, columns) = self.spacing, self.shape
        z = round((index - (count - 1) / 2) * dz, 4)
        return -(columns - 1) / 2 * dx, -(rows - 1) / 2 * dy, z

    @property
    def study_uid(self) -> UID:
        """Shared by all numbers of slices: one scan, reconstructed differently."""
        return sample_uid("study", self.definition["name"])

    @property
    def frame_of_reference_uid(self) -> UID:
        """Shared by all numbers of slices."""
        return sample_uid("frame of reference", self.definition["name"])

    @property
    def series_uid(self) -> UID:
        """One for each number of slices."""
        return sample_uid("series", self.definition["name"], str(self.slices))

    def sop_uid(self, index: int) -> UID:
        """SOPInstanceUID of a slice, counted from the feet."""
        return sample_uid("instance", self.definition["name"], str(self.slices), str(index))


def write_ct(acquisition: Acquisition, folder: Path) -> None:
    """Write one file for each slice, ``0001.dcm`` first at the feet, the same bytes on every machine."""
    chest = Chest(acquisition.definition)
    header = _header(acquisition)
    for index in range(acquisition.slices):
        position = acquisition.position(index)
        hu = chest.slice_hu(position[2], acquisition.spacing[0]) + chest.noise_hu(index)
        stored = np.clip(np.floor(hu + np.float32(0.5 - INTERCEPT)), 0, GREATEST).astype("<u2")
        header.SOPInstanceUID = acquisition.sop_uid(index)
        header.InstanceNumber = str(index + 1)
        header.ImagePositionPatient = decimals(position)
        header.SliceLocation = decimals(position[2:])[0]
        header.PixelData = stored.tobytes()
        save(header, folder / f"{index + 1:04d}.dcm")


def _header(acquisition: Acquisition) -> Dataset:
    """Everything that all slices share, module by module."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    for keyword, value in {**acquisition.definition["patient"], **acquisition.definition["study"]}.items():
        setattr(ds, keyword, value)
    ds.ReferringPhysicianName = ""
    ds.StudyInstanceUID = acquisition.study_uid
    ds.SOPClassUID = CTImageStorage
    for module in (_series, _equipment, _image, _plane, _pixels, _ct_image, _contrast):
        module(ds, acquisition)
    return ds


def _series(ds: Dataset, acquisition: Acquisition) -> None:
    ds.Modality = "CT"
    ds.SeriesInstanceUID = acquisition.series_uid
    ds.SeriesNumber = str(acquisition.slices)
    ds.SeriesDescription = f"Chest {acquisition.spacing[0]:g} mm"
    ds.SeriesDate, ds.SeriesTime = ds.StudyDate, ds.StudyTime
    ds.ProtocolName = "Chest phantom"
    ds.BodyPartExamined = "CHEST"
    ds.PatientPosition = "HFS"
    ds.FrameOfReferenceUID = acquisition.frame_of_reference_uid
    ds.PositionReferenceIndicator = ""


def _equipment(ds: Dataset, _acquisition: Acquisition) -> None:
    ds.Manufacturer = "researchpacs"
    ds.ManufacturerModelName = "Chest phantom"
    ds.DeviceSerialNumber = "1"
    ds.SoftwareVersions = "1"
    ds.InstitutionName = "Nowhere Hospital"
    ds.StationName = "PHANTOM"


def _image(ds: Dataset, _acquisition: Acquisition) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.AcquisitionNumber = "1"
    for level in ("Acquisition", "Content", "InstanceCreation"):
        setattr(ds, f"{level}Date", ds.StudyDate)
        setattr(ds, f"{level}Time", ds.StudyTime)
    ds.QualityControlImage = "YES"  # PS3.3 C.7.6.1: of a phantom, not of a patient
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    ds.PatientOrientation = ["L", "P"]


def _plane(ds: Dataset, acquisition: Acquisition) -> None:
    thickness, row_spacing, column_spacing = acquisition.spacing
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.PixelSpacing = decimals((row_spacing, column_spacing))
    ds.SliceThickness, ds.SpacingBetweenSlices = decimals((thickness, thickness))


def _pixels(ds: Dataset, acquisition: Acquisition) -> None:
    _, ds.Rows, ds.Columns = acquisition.shape
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(INTERCEPT), "1", "HU"
    ds.WindowCenter, ds.WindowWidth = ["40", "-600"], ["400", "1500"]
    ds.WindowCenterWidthExplanation = ["MEDIASTINUM", "LUNG"]


def _ct_image(ds: Dataset, _acquisition: Acquisition) -> None:
    ds.ScanOptions = "HELICAL MODE"
    ds.KVP = "120"
    ds.DataCollectionDiameter = "500"
    ds.ReconstructionDiameter = "360"
    ds.ConvolutionKernel = "SOFT"
    ds.GantryDetectorTilt = "0"
    ds.TableHeight = "141"
    ds.RotationDirection = "CW"
    ds.ExposureTime, ds.XRayTubeCurrent, ds.Exposure = "500", "200", "100"
    ds.FilterType = "BODY"


def _contrast(ds: Dataset, _acquisition: Acquisition) -> None:
    ds.ContrastBolusAgent = "IOHEXOL"
    ds.ContrastBolusRoute = "IV"
    ds.ContrastBolusVolume = "80"
