"""The beads as DICOM files: CT and MR Image Storage, a file for each slice, or one Enhanced MR Image (PS3.3 A.36)."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID, CTImageStorage, EnhancedMRImageStorage, MRImageStorage

from researchpacs.datasets._beads import PIXEL_MM, SIDE, Beads
from researchpacs.datasets._files import decimals, item, save

__all__ = ["count_of", "header", "write_beads"]

DATE, TIME = "20250217", "101500"
AXIAL = ["1", "0", "0", "0", "1", "0"]
T2_MS = 60.0


def count_of(beads: Beads) -> int:
    """How many files a set has."""
    return 1 if beads.echo_ms else len(beads.present) * max(1, len(beads.trigger_ms))


def write_beads(beads: Beads, folder: Path) -> None:
    """Write a set, the same bytes on every machine."""
    if beads.echo_ms:
        save(_enhanced(beads), folder / "0001.dcm")
        return
    number = 0
    for phase in range(max(1, len(beads.trigger_ms))):
        for k in beads.present:
            number += 1
            ds = _slice(beads, k, phase, number)
            save(ds, folder / f"{number:04d}.dcm")


def header(beads: Beads, sop_class: UID, modality: str) -> Dataset:
    """Everything that the images of the beads have in common."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.Modality = sop_class, modality
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Beads^Phantom", "BEADS", "", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = beads.uid("study"), beads.uid("series")
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = beads.uid("frame of reference"), ""
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "", ""
    ds.StudyDescription = ds.SeriesDescription = beads.description
    ds.SeriesNumber, ds.AcquisitionNumber, ds.PatientPosition = "1", "1", "HFS"
    ds.BodyPartExamined = "CHEST"
    for level in ("Study", "Series", "Content"):
        setattr(ds, f"{level}Date", DATE)
        setattr(ds, f"{level}Time", TIME)
    ds.Manufacturer, ds.ManufacturerModelName = "researchpacs", "Beads"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    ds.Rows = ds.Columns = SIDE
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    return ds


def _slice(beads: Beads, k: int, phase: int, number: int) -> Dataset:
    is_ct = not beads.trigger_ms
    ds = header(beads, CTImageStorage if is_ct else MRImageStorage, "CT" if is_ct else "MR")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if is_ct else "M"]
    ds.SOPInstanceUID = beads.uid("instance", str(k), str(phase))
    ds.InstanceNumber = str(number)
    ds.ImagePositionPatient = decimals(beads.position(k))
    ds.ImageOrientationPatient = AXIAL
    ds.PixelSpacing = decimals((PIXEL_MM, PIXEL_MM))
    ds.SliceThickness = decimals([beads.step_mm])[0]
    ds.PatientOrientation = ["L", "P"]
    ds.AcquisitionDate, ds.AcquisitionTime = DATE, TIME
    share = beads.plane(k, phase)
    if is_ct:
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
        ds.KVP, ds.GantryDetectorTilt = "120", decimals([beads.tilt_deg])[0]
        hu = np.where(share < 0, -1000, 40 + 360 * np.clip(share, 0, 1))
        ds.PixelData = np.rint(hu + 1024).astype("<u2").tobytes()
    else:
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "GR", "SS", "CG", "2D"
        ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength = "40", "2", "1"
        ds.TriggerTime = decimals([beads.trigger_ms[phase]])[0]
        ds.PixelData = np.rint(200 * (share >= 0) + 1500 * np.clip(share, 0, 1)).astype("<u2").tobytes()
    return ds


def _enhanced(beads: Beads) -> Dataset:
    """All echoes and slices as frames of one image, in functional groups (PS3.3 C.7.6.16)."""
    ds = header(beads, EnhancedMRImageStorage, "MR")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "T2", "NONE"]
    ds.SOPInstanceUID, ds.InstanceNumber = beads.uid("instance"), "1"
    ds.AcquisitionDateTime = DATE + TIME
    ds.AcquisitionDuration = 60.0
    for keyword, value in _MR_IMAGE.items():
        setattr(ds, keyword, value)
    organization = beads.uid("dimensions")
    ds.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organization)]
    pointers = {"EffectiveEchoTime": "MREchoSequence", "InStackPositionNumber": "FrameContentSequence"}
    ds.DimensionIndexSequence = [
        item(DimensionOrganizationUID=organization, DimensionIndexPointer=Tag(at), FunctionalGroupPointer=Tag(group))
        for at, group in pointers.items()
    ]
    ds.NumberOfFrames = str(len(beads.echo_ms) * beads.slices)
    ds.SharedFunctionalGroupsSequence = [_shared(beads)]
    ds.PerFrameFunctionalGroupsSequence = [
        _frame(beads, echo, k) for echo in range(len(beads.echo_ms)) for k in range(beads.slices)
    ]
    planes = [
        np.rint((300 * (share >= 0) + 1500 * np.clip(share, 0, 1)) * np.exp(-echo_ms / T2_MS)).astype("<u2")
        for echo_ms in beads.echo_ms
        for share in map(beads.plane, range(beads.slices))
    ]
    ds.PixelData = np.stack(planes).tobytes()
    return ds


_MR_IMAGE = {
    "PixelPresentation": "MONOCHROME",
    "VolumetricProperties": "VOLUME",
    "VolumeBasedCalculationTechnique": "NONE",
    "ComplexImageComponent": "MAGNITUDE",
    "AcquisitionContrast": "T2",
    "ContentQualification": "RESEARCH",
    "MagneticFieldStrength": "1.5",
    "ResonantNucleus": "1H",
    "KSpaceFiltering": "NONE",
    "ApplicableSafetyStandardAgency": "IEC",
    "MRAcquisitionType": "2D",
    "PulseSequenceName": "SE",
    "EchoPulseSequence": "SPIN",
    "MultipleSpinEcho": "YES",
    "MultiPlanarExcitation": "NO",
    "PhaseContrast": "NO",
    "TimeOfFlightContrast": "NO",
    "SteadyStatePulseSequence": "NONE",
    "EchoPlanarPulseSequence": "NO",
    "SaturationRecovery": "NO",
    "SpectrallySelectedSuppression": "NONE",
    "OversamplingPhase": "NONE",
    "GeometryOfKSpaceTraversal": "RECTILINEAR",
    "SegmentedKSpaceTraversal": "SINGLE",
    "RectilinearPhaseEncodeReordering": "LINEAR",
    "NumberOfKSpaceTrajectories": 1,
    "AcquisitionContextSequence": [],
    "PresentationLUTShape": "IDENTITY",
    "LossyImageCompression": "00",
    "BurnedInAnnotation": "NO",
}


def _shared(beads: Beads) -> Dataset:
    frame_type = {keyword: _MR_IMAGE[keyword] for keyword in list(_MR_IMAGE)[:5]}
    group = Dataset()
    group.PixelMeasuresSequence = [
        item(PixelSpacing=decimals((PIXEL_MM, PIXEL_MM)), SliceThickness=decimals([beads.step_mm])[0])
    ]
    group.PlaneOrientationSequence = [item(ImageOrientationPatient=AXIAL)]
    group.MRImageFrameTypeSequence = [item(FrameType=["ORIGINAL", "PRIMARY", "T2", "NONE"], **frame_type)]
    group.PixelValueTransformationSequence = [item(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")]
    chest = item(CodeValue="51185008", CodingSchemeDesignator="SCT", CodeMeaning="Chest")
    group.FrameAnatomySequence = [item(AnatomicRegionSequence=[chest], FrameLaterality="U")]
    for keyword, values in _MR_GROUPS.items():
        setattr(group, keyword, [item(**values)])
    return group


_SAR = {"SpecificAbsorptionRateDefinition": "IEC_WHOLE_BODY", "SpecificAbsorptionRateValue": 0.1}
_MR_GROUPS: dict[str, dict[str, Any]] = {
    "MRTimingAndRelatedParametersSequence": {
        "RepetitionTime": "2000",
        "FlipAngle": "90",
        "EchoTrainLength": "2",
        "RFEchoTrainLength": 2,
        "GradientEchoTrainLength": 0,
        "SpecificAbsorptionRateSequence": [_SAR],
        "GradientOutputType": "DB_DT",
        "GradientOutput": 1.0,
        "OperatingModeSequence": [
            {"OperatingModeType": "GRADIENT", "OperatingMode": "IEC_NORMAL"},
            {"OperatingModeType": "RF", "OperatingMode": "IEC_NORMAL"},
        ],
    },
    "MRModifierSequence": {
        "InversionRecovery": "NO",
        "FlowCompensation": "NONE",
        "Spoiling": "NONE",
        "T2Preparation": "NO",
        "SpectrallySelectedExcitation": "NONE",
        "SpatialPresaturation": "NONE",
        "PartialFourier": "NO",
        "ParallelAcquisition": "NO",
    },
    "MRImagingModifierSequence": {
        "MagnetizationTransfer": "NONE",
        "BloodSignalNulling": "NO",
        "Tagging": "NONE",
        "TransmitterFrequency": 63.87,
        "PixelBandwidth": "200",
    },
    "MRReceiveCoilSequence": {
        "ReceiveCoilName": "BODY",
        "ReceiveCoilManufacturerName": "researchpacs",
        "ReceiveCoilType": "BODY",
        "QuadratureReceiveCoil": "YES",
    },
    "MRTransmitCoilSequence": {
        "TransmitCoilName": "BODY",
        "TransmitCoilManufacturerName": "researchpacs",
        "TransmitCoilType": "BODY",
    },
    "MRAveragesSequence": {"NumberOfAverages": "1"},
    "MRFOVGeometrySequence": {
        "InPlanePhaseEncodingDirection": "ROW",
        "MRAcquisitionFrequencyEncodingSteps": SIDE,
        "MRAcquisitionPhaseEncodingStepsInPlane": SIDE,
        "PercentSampling": "100",
        "PercentPhaseFieldOfView": "100",
    },
}
"""Functional groups that an Enhanced MR Image needs, of a plain spin echo."""


def _frame(beads: Beads, echo: int, k: int) -> Dataset:
    group = Dataset()
    group.FrameContentSequence = [
        item(
            FrameAcquisitionDateTime=DATE + TIME,
            FrameReferenceDateTime=DATE + TIME,
            FrameAcquisitionDuration=1000.0,
            StackID="1",
            InStackPositionNumber=k + 1,
            DimensionIndexValues=[echo + 1, k + 1],
        )
    ]
    group.PlanePositionSequence = [item(ImagePositionPatient=decimals(beads.position(k)))]
    group.MREchoSequence = [item(EffectiveEchoTime=beads.echo_ms[echo])]
    return group
