"""The nodule of the chest CT as a segmentation (PS3.3 A.51) and a structure set (A.19): two spheres, one in the other.

A voxel is in a segment where its centre is in the sphere; contours are polygons on the planes of the slices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID, CTImageStorage, RTStructureSetStorage, SegmentationStorage

from researchpacs.datasets._chest_pet import ct_of_the_chest
from researchpacs.datasets._ct import Acquisition
from researchpacs.datasets._files import code, decimals, item, sample_uid, save

__all__ = ["LEAST_BYTES", "seg_truth", "struct_truth", "write_seg", "write_struct"]

LEAST_BYTES = {"chest_seg": 100_000, "chest_rtstruct": 5_000}
CORNERS = 72
"""Of the polygons."""
MARGIN_MM = 5.0
DATE, TIME = "20250613", "090000"


@dataclass(frozen=True)
class Structure:
    """A sphere about the nodule's centre."""

    number: int
    label: str
    category: tuple[str, str, str]
    kind: tuple[str, str, str]
    beyond_mm: float
    """How much larger than the nodule its radius is."""
    color: tuple[int, int, int]
    interpreted: str
    """RT ROI Interpreted Type."""

    def radius_mm(self, ct: Acquisition) -> float:
        """Of the sphere."""
        return float(ct.definition["nodule"]["diameter_mm"]) / 2 + self.beyond_mm

    def reaches(self, ct: Acquisition) -> Iterator[tuple[int, float]]:
        """Slices that cut it, with the radius of the cut."""
        for index in range(ct.slices):
            squared = self.radius_mm(ct) ** 2 - (ct.position(index)[2] - ct.definition["nodule"]["center_lps"][2]) ** 2
            if squared > 0:
                yield index, float(np.sqrt(squared))

    def mask(self, ct: Acquisition, radius: float) -> NDArray[np.bool_]:
        """(rows, columns) of a slice that cuts it with this radius."""
        x, y, _ = ct.definition["nodule"]["center_lps"]
        _, rows, columns = ct.shape
        first_x, first_y, _ = ct.position(0)
        across = (first_x + np.arange(columns) * ct.spacing[2] - x) ** 2
        down = (first_y + np.arange(rows) * ct.spacing[1] - y) ** 2
        inside: NDArray[np.bool_] = across + down[:, None] < radius * radius
        return inside


STRUCTURES = (
    Structure(
        1, "Nodule", ("49755003", "SCT", "Morphologically Altered Structure"), ("27925004", "SCT", "Nodule"),
        0.0, (255, 64, 64), "GTV",
    ),
    Structure(
        2, "Nodule with margin", ("123037004", "SCT", "Anatomical Structure"), ("39607008", "SCT", "Lung"),
        MARGIN_MM, (64, 160, 255), "PTV",
    ),
)  # fmt: skip


def write_seg(folder: Path) -> None:
    """Write the segmentation: binary, a frame for each segment and slice."""
    save(_segmentation(ct_of_the_chest()), folder / "0001.dcm")


def write_struct(folder: Path) -> None:
    """Write the structure set."""
    save(_structure_set(ct_of_the_chest()), folder / "0001.dcm")


def seg_truth() -> dict[str, Any]:
    """What is known of the segmentation; voxels counted on the grid of the CT."""
    ct = ct_of_the_chest()
    voxel = float(np.prod(ct.spacing))
    found = {}
    for one in STRUCTURES:
        count = sum(int(one.mask(ct, radius).sum()) for _, radius in one.reaches(ct))
        found[one.label] = {"number": one.number, "radius_mm": one.radius_mm(ct), "voxels": count, "mm3": count * voxel}
    return {"description": "Segmentation of the nodule of chest_ct", "segments": found, **_of("chest_seg", ct)}


def struct_truth() -> dict[str, Any]:
    """What is known of the structure set."""
    ct = ct_of_the_chest()
    found = {
        one.label: {"number": one.number, "radius_mm": one.radius_mm(ct), "slices": [k for k, _ in one.reaches(ct)]}
        for one in STRUCTURES
    }
    return {"description": "Structure set of the nodule of chest_ct", "rois": found, **_of("chest_rtstruct", ct)}


def _of(name: str, ct: Acquisition) -> dict[str, Any]:
    return {
        "center_lps": tuple(ct.definition["nodule"]["center_lps"]),
        "PatientID": ct.definition["patient"]["PatientID"],
        "StudyInstanceUID": ct.study_uid,
        "SeriesInstanceUID": sample_uid("series", name),
        "SOPInstanceUID": sample_uid("instance", name),
        "FrameOfReferenceUID": ct.frame_of_reference_uid,
        "ct_series_uid": ct.series_uid,
    }


def _header(ct: Acquisition, name: str, sop_class: UID, modality: str, number: str) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    for keyword, value in {**ct.definition["patient"], **ct.definition["study"]}.items():
        setattr(ds, keyword, value)
    ds.ReferringPhysicianName = ""
    ds.StudyInstanceUID, ds.SOPClassUID, ds.Modality = ct.study_uid, sop_class, modality
    ds.SeriesInstanceUID, ds.SOPInstanceUID = sample_uid("series", name), sample_uid("instance", name)
    ds.SeriesNumber, ds.InstanceNumber = number, "1"
    ds.SeriesDate, ds.SeriesTime = DATE, TIME
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = ct.frame_of_reference_uid, ""
    ds.Manufacturer, ds.ManufacturerModelName = "researchpacs", "Chest phantom"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    return ds


def _image(ct: Acquisition, index: int) -> dict[str, Any]:
    return {"ReferencedSOPClassUID": CTImageStorage, "ReferencedSOPInstanceUID": ct.sop_uid(index)}


def _segmentation(ct: Acquisition) -> Dataset:
    ds = _header(ct, "chest_seg", SegmentationStorage, "SEG", "5")
    ds.SeriesDescription = "Nodule segmentation"
    ds.ContentDate, ds.ContentTime = DATE, TIME
    ds.ImageType = ["DERIVED", "PRIMARY"]
    _, ds.Rows, ds.Columns = ct.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 1, 1, 0, 0
    ds.LossyImageCompression, ds.BurnedInAnnotation = "00", "NO"
    ds.SegmentationType, ds.SegmentsOverlap = "BINARY", "YES"
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "NODULE", "Spheres about the nodule", ""
    ds.SegmentSequence = [_segment(one) for one in STRUCTURES]
    ds.ReferencedSeriesSequence = [item(SeriesInstanceUID=ct.series_uid, ReferencedInstanceSequence=[
        _image(ct, index) for index, _ in STRUCTURES[1].reaches(ct)
    ])]  # fmt: skip
    _add_dimensions(ds)
    planes = [(one, at, index, radius) for one in STRUCTURES for at, (index, radius) in enumerate(one.reaches(ct), 1)]
    ds.NumberOfFrames = str(len(planes))
    ds.SharedFunctionalGroupsSequence = [_shared(ct)]
    ds.PerFrameFunctionalGroupsSequence = [_frame(ct, one, at, index) for one, at, index, _ in planes]
    bits = np.stack([one.mask(ct, radius) for one, _, _, radius in planes])
    ds.PixelData = np.packbits(bits, bitorder="little").tobytes()
    return ds


def _segment(one: Structure) -> Dataset:
    segment = item(SegmentNumber=one.number, SegmentLabel=one.label, SegmentAlgorithmType="MANUAL")
    segment.SegmentedPropertyCategoryCodeSequence = [code(*one.category)]
    segment.SegmentedPropertyTypeCodeSequence = [code(*one.kind)]
    segment.TrackingID = one.label
    segment.TrackingUID = sample_uid("tracking", "chest_seg", str(one.number))
    return segment


def _add_dimensions(ds: Dataset) -> None:
    organization = sample_uid("dimensions", "chest_seg")
    ds.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organization)]
    pointers = {
        "ReferencedSegmentNumber": "SegmentIdentificationSequence",
        "ImagePositionPatient": "PlanePositionSequence",
    }
    ds.DimensionIndexSequence = [
        item(DimensionOrganizationUID=organization, DimensionIndexPointer=Tag(at), FunctionalGroupPointer=Tag(group))
        for at, group in pointers.items()
    ]


def _shared(ct: Acquisition) -> Dataset:
    thickness, rows_mm, columns_mm = ct.spacing
    return item(
        PixelMeasuresSequence=[
            item(
                SliceThickness=decimals([thickness])[0],
                SpacingBetweenSlices=decimals([thickness])[0],
                PixelSpacing=decimals((rows_mm, columns_mm)),
            )
        ],
        PlaneOrientationSequence=[item(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])],
    )


def _frame(ct: Acquisition, one: Structure, at: int, index: int) -> Dataset:
    source = item(**_image(ct, index), SpatialLocationsPreserved="YES")
    source.PurposeOfReferenceCodeSequence = [code("121322", "DCM", "Source image for image processing operation")]
    return item(
        FrameContentSequence=[item(DimensionIndexValues=[one.number, at])],
        PlanePositionSequence=[item(ImagePositionPatient=decimals(ct.position(index)))],
        SegmentIdentificationSequence=[item(ReferencedSegmentNumber=one.number)],
        DerivationImageSequence=[
            item(DerivationCodeSequence=[code("113076", "DCM", "Segmentation")], SourceImageSequence=[source])
        ],
    )


def _structure_set(ct: Acquisition) -> Dataset:
    ds = _header(ct, "chest_rtstruct", RTStructureSetStorage, "RTSTRUCT", "6")
    ds.SeriesDescription = "Nodule contours"
    ds.OperatorsName = ""
    ds.StructureSetLabel, ds.StructureSetDate, ds.StructureSetTime = "NODULE", DATE, TIME
    images = [item(**_image(ct, index)) for index in range(ct.slices)]
    series = item(SeriesInstanceUID=ct.series_uid, ContourImageSequence=images)
    study = item(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1", ReferencedSOPInstanceUID=ct.study_uid)
    study.RTReferencedSeriesSequence = [series]
    frame = item(FrameOfReferenceUID=ct.frame_of_reference_uid, RTReferencedStudySequence=[study])
    ds.ReferencedFrameOfReferenceSequence = [frame]
    ds.StructureSetROISequence = [
        item(
            ROINumber=str(one.number),
            ReferencedFrameOfReferenceUID=ct.frame_of_reference_uid,
            ROIName=one.label,
            ROIGenerationAlgorithm="MANUAL",
        )
        for one in STRUCTURES
    ]
    ds.ROIContourSequence = [_contours(ct, one) for one in STRUCTURES]
    ds.RTROIObservationsSequence = [
        item(
            ObservationNumber=str(one.number),
            ReferencedROINumber=str(one.number),
            RTROIInterpretedType=one.interpreted,
            ROIInterpreter="",
        )
        for one in STRUCTURES
    ]
    ds.ApprovalStatus = "UNAPPROVED"
    return ds


def _contours(ct: Acquisition, one: Structure) -> Dataset:
    x, y, _ = ct.definition["nodule"]["center_lps"]
    angles = 2 * np.pi * np.arange(CORNERS) / CORNERS
    contours = []
    for index, radius in one.reaches(ct):
        z = ct.position(index)[2]
        corners = [(x + radius * np.cos(angle), y + radius * np.sin(angle), z) for angle in angles]
        contours.append(
            item(
                ContourImageSequence=[item(**_image(ct, index))],
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=str(CORNERS),
                ContourData=[text for corner in corners for text in decimals([round(float(c), 3) for c in corner])],
            )
        )
    return item(
        ROIDisplayColor=[str(part) for part in one.color], ReferencedROINumber=str(one.number), ContourSequence=contours
    )
