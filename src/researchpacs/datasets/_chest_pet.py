"""PET of the patient of the chest CT (PS3.3 A.21): organs of known uptake, and a hot spot in the nodule.

Values are activities in Bq/ml, corrected for decay to the beginning of the scan, each slice with a slope of its own;
what they are as standardized uptake values is the truth. There is no noise, and none of the blur of a scanner.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, PositronEmissionTomographyImageStorage

from researchpacs.datasets._ct import Acquisition
from researchpacs.datasets._definition import definition
from researchpacs.datasets._files import code, decimals, item, sample_uid, save
from researchpacs.datasets._shapes import Curve, Grid, as_shapes

__all__ = ["FRAME_BYTES", "SLICES", "ct_of_the_chest", "pet_truth", "write_pet"]

SIDE, PIXEL_MM = 96, 4.0
SLICES, STEP_MM = 75, 4.0
FRAME_BYTES = 2 * SIDE * SIDE
SUV = {
    "skin": 0.5,
    "fat": 0.3,
    "muscle": 0.7,
    "lungs": 0.4,
    "mediastinum": 0.9,
    "heart muscle": 3.0,
    "left ventricle": 1.6,
    "aorta": 1.6,
    "liver": 2.25,
    "left liver lobe": 2.25,
    "spleen": 1.9,
    "vertebrae": 1.1,
}
"""Of the parts of the chest, in the order in which they are painted."""
HOT_SPOT_SUV = 8.0
SAMPLES = 8
"""In a voxel along each axis: how much of it the hot spot fills."""
DOSE_BQ, HALF_LIFE_S, UPTAKE_S = 350_000_000, 6586.2, 3600
DATE, INJECTED, SCANNED = "20250612", "110000", "120000"
MOST_STORED = 32767


def ct_of_the_chest() -> Acquisition:
    """The CT with its usual number of slices."""
    table = definition("chest_ct")
    return Acquisition(table, table["grid"]["slices"])


class _Uptake:
    """Activity of the slices."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._table = table
        curves = {name: Curve(knots) for name, knots in table["curves"].items()}
        parts = {part["name"]: part for part in table["part"]}
        self._shapes = {name: as_shapes(parts[name], curves) for name in SUV}
        centres = _centres(SIDE, PIXEL_MM).astype(np.float32)
        self.grid = Grid(centres, centres)

    @cached_property
    def bq_per_suv(self) -> float:
        """Bq/ml of one g/ml at the beginning of the scan."""
        decayed: float = DOSE_BQ * 2.0 ** (-UPTAKE_S / HALF_LIFE_S)
        return decayed / (float(self._table["patient"]["PatientWeight"]) * 1000)

    def slice_suv(self, index: int) -> NDArray[np.float64]:
        """(rows, columns) g/ml."""
        z = _height(index)
        image = np.zeros((SIDE, SIDE))
        for name, shapes in self._shapes.items():
            for shape in shapes:
                for patch in shape.patches(self.grid, z):
                    target = image[patch.window]
                    target += patch.share * (SUV[name] - target)
        share = self._hot_share(z)
        return image + share * (HOT_SPOT_SUV - image)

    def _hot_share(self, z: float) -> NDArray[np.float64]:
        nodule = self._table["nodule"]
        within = (np.arange(SAMPLES) + 0.5) / SAMPLES - 0.5
        x, y, height = nodule["center_lps"]
        across = ((_centres(SIDE, PIXEL_MM)[:, None] + within * PIXEL_MM).ravel() - x) ** 2
        down = ((_centres(SIDE, PIXEL_MM)[:, None] + within * PIXEL_MM).ravel() - y) ** 2
        up = (z + within * STEP_MM - height) ** 2
        hits = (up[:, None, None] + down[:, None] + across < (nodule["diameter_mm"] / 2) ** 2).sum(axis=0)
        share: NDArray[np.float64] = hits.reshape(SIDE, SAMPLES, SIDE, SAMPLES).sum(axis=(1, 3)) / SAMPLES**3
        return share


def write_pet(folder: Path) -> None:
    """Write one file for each slice, ``0001.dcm`` first at the feet, the same bytes on every machine."""
    table = definition("chest_ct")
    uptake, ds = _Uptake(table), _header(table)
    for index in range(SLICES):
        activity = uptake.slice_suv(index) * uptake.bq_per_suv
        (slope,) = decimals([max(float(activity.max()), 1.0) / MOST_STORED])
        ds.SOPInstanceUID, ds.InstanceNumber, ds.ImageIndex = _uid("instance", str(index)), str(index + 1), index + 1
        ds.ImagePositionPatient = decimals((*_corner(), _height(index)))
        ds.RescaleSlope = slope
        ds.PixelData = np.minimum(np.rint(activity / float(slope)), MOST_STORED).astype("<i2").tobytes()
        save(ds, folder / f"{index + 1:04d}.dcm")


def pet_truth() -> dict[str, Any]:
    """What is known because it was made that way."""
    ct, table = ct_of_the_chest(), definition("chest_ct")
    nodule = table["nodule"]
    return {
        "description": "PET of the patient of chest_ct, with a hot spot in the nodule",
        "hot_spot": {
            "center_lps": tuple(nodule["center_lps"]),
            "diameter_mm": nodule["diameter_mm"],
            "suv": HOT_SPOT_SUV,
        },
        "organs": {
            name: {"suv": SUV[name], "point_lps": tuple(map(float, table["organs"][name]))}
            for name in ("liver", "spleen", "left ventricle", "aorta", "vertebrae")
        },
        "dose_bq": DOSE_BQ,
        "half_life_s": HALF_LIFE_S,
        "uptake_s": UPTAKE_S,
        "spacing": (STEP_MM, PIXEL_MM, PIXEL_MM),
        "shape": (SLICES, SIDE, SIDE),
        "origin_lps": (*_corner(), _height(0)),
        "PatientID": table["patient"]["PatientID"],
        "StudyInstanceUID": ct.study_uid,
        "SeriesInstanceUID": _uid("series"),
        "FrameOfReferenceUID": ct.frame_of_reference_uid,
        "ct_series_uid": ct.series_uid,
    }


def _centres(count: int, spacing: float) -> NDArray[np.float64]:
    return np.array([(k - (count - 1) / 2) * spacing for k in range(count)])


def _height(index: int) -> float:
    return float(_centres(SLICES, STEP_MM)[index])


def _corner() -> tuple[float, float]:
    first = float(_centres(SIDE, PIXEL_MM)[0])
    return first, first


def _uid(kind: str, *names: str) -> UID:
    return sample_uid(kind, "chest_pet", *names)


def _header(table: Mapping[str, Any]) -> Dataset:
    """Everything that all slices share, module by module."""
    ct, ds = ct_of_the_chest(), Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    for keyword, value in {**table["patient"], **table["study"]}.items():
        setattr(ds, keyword, value)
    ds.ReferringPhysicianName = ""
    ds.StudyInstanceUID, ds.FrameOfReferenceUID = ct.study_uid, ct.frame_of_reference_uid
    ds.PositionReferenceIndicator = ""
    ds.SOPClassUID, ds.Modality = PositronEmissionTomographyImageStorage, "PT"
    ds.SeriesInstanceUID, ds.SeriesNumber, ds.SeriesDescription = _uid("series"), "4", "Chest PET"
    for level in ("Series", "Acquisition", "Content"):
        setattr(ds, f"{level}Date", DATE)
        setattr(ds, f"{level}Time", SCANNED)
    ds.BodyPartExamined = "CHEST"
    ds.PatientOrientationCodeSequence = [code("102538003", "SCT", "recumbent")]
    ds.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = [code("40199007", "SCT", "supine")]
    ds.PatientGantryRelationshipCodeSequence = [code("102540001", "SCT", "headfirst")]
    ds.Manufacturer, ds.ManufacturerModelName = "researchpacs", "Chest phantom"
    ds.DeviceSerialNumber, ds.SoftwareVersions, ds.InstitutionName = "1", "1", "Nowhere Hospital"
    for module in (_pet_series, _isotope, _pet_image):
        module(ds)
    return ds


def _pet_series(ds: Dataset) -> None:
    ds.Units, ds.CountsSource, ds.SeriesType = "BQML", "EMISSION", ["WHOLE BODY", "IMAGE"]
    ds.NumberOfSlices = SLICES
    ds.CorrectedImage = ["DECY", "ATTN", "SCAT", "DTIM", "NORM"]
    ds.DecayCorrection, ds.CollimatorType = "START", "NONE"


def _isotope(ds: Dataset) -> None:
    ds.RadiopharmaceuticalInformationSequence = [
        item(
            Radiopharmaceutical="Fluorodeoxyglucose F^18^",
            RadiopharmaceuticalStartTime=INJECTED,
            RadionuclideTotalDose=str(DOSE_BQ),
            RadionuclideHalfLife=str(HALF_LIFE_S),
            RadionuclidePositronFraction="0.967",
            RadiopharmaceuticalStartDateTime=DATE + INJECTED,
            RadionuclideCodeSequence=[code("77004003", "SCT", "^18^Fluorine")],
            RadiopharmaceuticalCodeSequence=[code("35321007", "SCT", "Fluorodeoxyglucose F^18^")],
        )
    ]


def _pet_image(ds: Dataset) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.FrameReferenceTime, ds.ActualFrameDuration, ds.DecayFactor = "0", "180000", "1"
    ds.QualityControlImage, ds.BurnedInAnnotation, ds.LossyImageCompression = "YES", "NO", "00"
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.PixelSpacing, ds.SliceThickness = decimals((PIXEL_MM, PIXEL_MM)), decimals([STEP_MM])[0]
    ds.Rows = ds.Columns = SIDE
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleIntercept = "0"
