"""The tables of the four levels: patients, studies, series and instances, with their attributes as columns."""

from collections.abc import Iterator

from researchpacs.catalog._columns import Column, Table, dicom, own
from researchpacs.catalog._lake import NAME
from researchpacs.catalog._search_tables import TEXT_KEY

__all__ = ["COUNTS", "INSTANCE_OF", "SERIES_KEYWORDS", "level_tables"]

_PATIENT = """
    PatientID IssuerOfPatientID PatientName PatientBirthDate PatientSex OtherPatientIDs EthnicGroup PatientComments
    PatientSpeciesDescription PatientIdentityRemoved DeidentificationMethod ClinicalTrialProtocolID
    ClinicalTrialSubjectID
"""
_STUDY = """
    PatientID StudyInstanceUID StudyDate StudyTime StudyID AccessionNumber StudyDescription ReferringPhysicianName
    InstitutionName PatientAge PatientSize PatientWeight AdmittingDiagnosesDescription ClinicalTrialTimePointID
"""
SERIES_KEYWORDS = """
    PatientID StudyInstanceUID StudyDate StudyDescription SeriesInstanceUID Modality SeriesNumber SeriesDescription
    SeriesDate SeriesTime BodyPartExamined Laterality ProtocolName PatientPosition PerformedProcedureStepStartDate
    PerformedProcedureStepStartTime PerformedProcedureStepDescription FrameOfReferenceUID Manufacturer
    ManufacturerModelName DeviceSerialNumber StationName SoftwareVersions PresentationIntentType ViewPosition
    SliceThickness SpacingBetweenSlices ContrastBolusAgent ContrastBolusRoute KVP ConvolutionKernel FilterType
    ScanOptions GantryDetectorTilt ReconstructionDiameter SpiralPitchFactor CTDIvol ExposureModulationType
    MagneticFieldStrength MRAcquisitionType ScanningSequence SequenceVariant SequenceName PulseSequenceName
    RepetitionTime EchoTime InversionTime FlipAngle EchoTrainLength NumberOfAverages PixelBandwidth ImagedNucleus
    ReceiveCoilName SeriesType Units DecayCorrection CorrectedImage AttenuationCorrectionMethod
    ScatterCorrectionMethod ReconstructionMethod
"""
_INSTANCE = """
    PatientID StudyInstanceUID SeriesInstanceUID SOPInstanceUID SOPClassUID InstanceNumber AcquisitionNumber ImageType
    ContentDate ContentTime AcquisitionDate AcquisitionTime AcquisitionDateTime TemporalPositionIdentifier EchoNumbers
    TriggerTime DiffusionBValue ImageLaterality SliceLocation ImagePositionPatient ImageOrientationPatient PixelSpacing
    ImagerPixelSpacing NumberOfFrames Rows Columns SamplesPerPixel PhotometricInterpretation PlanarConfiguration
    BitsAllocated BitsStored HighBit PixelRepresentation PixelPaddingValue RescaleSlope RescaleIntercept RescaleType
    WindowCenter WindowWidth ExposureTime XRayTubeCurrent Exposure LossyImageCompression BurnedInAnnotation
    ContentLabel ContentDescription CompletionFlag VerificationFlag TransferSyntaxUID
"""

_PATIENT_KEY = ("patient_key", "VARCHAR", "The patient it belongs to.")
COUNTS = (
    ("study_count", "INTEGER", "Studies."),
    ("series_count", "INTEGER", "Series."),
    ("instance_count", "INTEGER", "Instances."),
    ("frame_count", "INTEGER", "Frames with pixel data."),
    ("size_bytes", "BIGINT", "Bytes of all files."),
)
INSTANCE_OF = (
    _PATIENT_KEY,
    ("StudyInstanceUID", "VARCHAR", "The study it belongs to."),
    ("SeriesInstanceUID", "VARCHAR", "The series it belongs to."),
    ("SOPInstanceUID", "VARCHAR", "The instance it belongs to."),
)


def level_tables() -> Iterator[Table]:
    """Patients first; what the view ``instances`` is made of comes last."""
    yield from (_patients(), _studies(), _series(), _instances(), _instances_own(), _series_common())


def _patients() -> Table:
    return Table(
        "patients",
        "One row per patient: PatientID with its issuer; an empty PatientID is one patient per study.",
        (
            *own(("patient_key", "VARCHAR", "The patient: 40 hex digits, the same in all tables.")),
            *dicom(_PATIENT),
            *own(
                *COUNTS[0:3],
                ("patient_search_name", "VARCHAR", "PatientName in small letters, for patterns in any case."),
                ("tags", "JSON", "Every attribute of the patient; see the macro tag()."),
            ),
        ),
        ("patient_key",),
    )


def _studies() -> Table:
    return Table(
        "studies",
        "One row per study; where its series disagree, the value of the first by SeriesNumber stands.",
        (
            *own(_PATIENT_KEY),
            *dicom(_STUDY),
            *own(
                ("ModalitiesInStudy", "VARCHAR[]", "Modalities in Study (0008,0061): of all its series."),
                *COUNTS[1:3],
                ("tags", "JSON", "Every attribute of patient and study; see the macro tag()."),
            ),
        ),
        ("StudyDate",),
    )


def _series() -> Table:
    return Table(
        "series",
        "One row per series; where its instances disagree, the value of the first by InstanceNumber stands.",
        (
            *own(_PATIENT_KEY),
            *dicom(SERIES_KEYWORDS),
            *own(
                *COUNTS[2:5],
                ("first_sop_instance_uid", "VARCHAR", "SOPInstanceUID of the first instance by InstanceNumber."),
                TEXT_KEY,
                ("tags", "JSON", "Every attribute that all its instances have in common; see the macro tag()."),
            ),
        ),
        ("Modality", "BodyPartExamined", "StudyDate"),
    )


def _instances() -> Table:
    return Table(
        "instances",
        "One row per instance.",
        _instance_columns("Every attribute of the instance; see the macro tag()."),
        view=_MERGED,
    )


def _instances_own() -> Table:
    return Table(
        "instances_own",
        "What the view instances is made of: one row per instance, without what series_common has.",
        _instance_columns("Attributes that it does not share with all others of its series; SOPInstanceUID is 0."),
        ("SeriesInstanceUID", "InstanceNumber"),
    )


def _series_common() -> Table:
    return Table(
        "series_common",
        "What the view instances is made of: one row per series, with what all its instances share.",
        own(*INSTANCE_OF[:3], ("tags", "JSON", "Attributes that all its instances share, kept once.")),
        ("SeriesInstanceUID",),
    )


def _instance_columns(about_tags: str) -> tuple[Column, ...]:
    return (
        *own(
            ("instance_key", "VARCHAR", "The instance: 40 hex digits, unique even where UIDs are not."),
            _PATIENT_KEY,
        ),
        *dicom(_INSTANCE),
        *own(
            ("frame_count", "INTEGER", "Frames with pixel data; 0 for what is no image."),
            ("size_bytes", "BIGINT", "Bytes of the file."),
            ("sha256", "VARCHAR", "Of the file; NULL for one that stays where it is until it has been read in full."),
            ("stored_at", "TIMESTAMP", "When the archive stored it, UTC."),
            ("tags", "JSON", about_tags),
        ),
    )


# Both are objects without a keyword in common, so their texts are joined: parsing them would cost more than the query.
# Within a text of JSON quotes are escaped, so what is replaced can only be the keyword.
_OWN = """replace(o.tags, '"SOPInstanceUID":0', '"SOPInstanceUID":"' || o.SOPInstanceUID || '"')"""
_MERGED = f"""
select o.* replace (
    case
        when c.tags is null or c.tags = '{{}}' then {_OWN}::json
        when o.tags = '{{}}' then c.tags
        else (left(c.tags, length(c.tags) - 1) || ',' || substr({_OWN}, 2))::json
    end as tags
)
from {NAME}.main.instances_own o
left join {NAME}.main.series_common c
    on c.SeriesInstanceUID = o.SeriesInstanceUID
    and c.StudyInstanceUID = o.StudyInstanceUID
    and c.patient_key = o.patient_key
"""  # noqa: S608 - our names
