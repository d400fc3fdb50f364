"""The catalog's tables as data: every column with its type and what it means.

A column named by a DICOM keyword takes its type from the data dictionary; the others are ours and in snake_case.
"""

from collections.abc import Iterator, Mapping
from functools import cache

from researchpacs.catalog._cohorts import cohort_tables
from researchpacs.catalog._columns import NAME_PARTS, Column, Table, dicom, own
from researchpacs.catalog._lake import NAME
from researchpacs.catalog._object_tables import object_tables
from researchpacs.catalog._origins import ORIGIN_COLUMNS, origins_table
from researchpacs.catalog._search_tables import TEXT_KEY, keys_table, texts_table
from researchpacs.catalog._series_geometry import SERIES_GEOMETRY

__all__ = ["NAME_PARTS", "Column", "Table", "column_types", "keyword_columns", "tables"]

_PATIENT = """
    PatientID IssuerOfPatientID PatientName PatientBirthDate PatientSex OtherPatientIDs EthnicGroup PatientComments
    PatientSpeciesDescription PatientIdentityRemoved DeidentificationMethod ClinicalTrialProtocolID
    ClinicalTrialSubjectID
"""
_STUDY = """
    PatientID StudyInstanceUID StudyDate StudyTime StudyID AccessionNumber StudyDescription ReferringPhysicianName
    InstitutionName PatientAge PatientSize PatientWeight AdmittingDiagnosesDescription ClinicalTrialTimePointID
"""
_SERIES = """
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


@cache
def tables() -> dict[str, Table]:
    """All tables by name, patients first."""
    return {
        table.name: table
        for table in (
            *(*_levels(), _labels(), _frames(), _geometry(), *object_tables(), _issues()),
            *(origins_table(), *cohort_tables(), texts_table(), keys_table(), _state()),
        )
    } | {"series_index": _series_index()}


@cache
def keyword_columns(table: str) -> tuple[Column, ...]:
    """The columns of a table that hold attributes, name parts left out."""
    return tuple(column for column in tables()[table].columns if column.keyword)


@cache
def column_types(table: str) -> Mapping[str, str]:
    """The columns of a table with their SQL types."""
    return {column.name: column.type for column in tables()[table].columns}


def _levels() -> Iterator[Table]:
    yield Table(
        "patients",
        "One row per patient: PatientID with its issuer; an empty PatientID is one patient per study.",
        (
            *own(("patient_key", "VARCHAR", "The patient: 40 hex digits, the same in all tables.")),
            *dicom(_PATIENT),
            *own(
                *_COUNTS[0:3],
                ("patient_search_name", "VARCHAR", "PatientName in small letters, for patterns in any case."),
                ("tags", "JSON", "Every attribute of the patient; see the macro tag()."),
            ),
        ),
        ("patient_key",),
    )
    yield Table(
        "studies",
        "One row per study; where its series disagree, the value of the first by SeriesNumber stands.",
        (
            *own(_PATIENT_KEY),
            *dicom(_STUDY),
            *own(
                ("ModalitiesInStudy", "VARCHAR[]", "Modalities in Study (0008,0061): of all its series."),
                *_COUNTS[1:3],
                ("tags", "JSON", "Every attribute of patient and study; see the macro tag()."),
            ),
        ),
        ("StudyDate",),
    )
    yield Table(
        "series",
        "One row per series; where its instances disagree, the value of the first by InstanceNumber stands.",
        (
            *own(_PATIENT_KEY),
            *dicom(_SERIES),
            *own(
                *_COUNTS[2:5],
                ("first_sop_instance_uid", "VARCHAR", "SOPInstanceUID of the first instance by InstanceNumber."),
                TEXT_KEY,
                ("tags", "JSON", "Every attribute that all its instances have in common; see the macro tag()."),
            ),
        ),
        ("Modality", "BodyPartExamined", "StudyDate"),
    )
    yield Table(
        "instances",
        "One row per instance.",
        _instance_columns("Every attribute of the instance; see the macro tag()."),
        view=_MERGED,
    )
    yield Table(
        "instances_own",
        "What the view instances is made of: one row per instance, without what series_common has.",
        _instance_columns("Attributes that it does not share with all others of its series; SOPInstanceUID is 0."),
        ("SeriesInstanceUID", "InstanceNumber"),
    )
    yield Table(
        "series_common",
        "What the view instances is made of: one row per series, with what all its instances share.",
        own(*_INSTANCE_OF[:3], ("tags", "JSON", "Attributes that all its instances share, kept once.")),
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

_PATIENT_KEY = ("patient_key", "VARCHAR", "The patient it belongs to.")
_COUNTS = (
    ("study_count", "INTEGER", "Studies."),
    ("series_count", "INTEGER", "Series."),
    ("instance_count", "INTEGER", "Instances."),
    ("frame_count", "INTEGER", "Frames with pixel data."),
    ("size_bytes", "BIGINT", "Bytes of all files."),
)
_PARENTS = ("patient_key", "StudyInstanceUID", "SeriesInstanceUID")
_INSTANCE_OF = (
    _PATIENT_KEY,
    ("StudyInstanceUID", "VARCHAR", "The study it belongs to."),
    ("SeriesInstanceUID", "VARCHAR", "The series it belongs to."),
    ("SOPInstanceUID", "VARCHAR", "The instance it belongs to."),
)


def _labels() -> Table:
    return Table(
        "labels",
        "One row per label of an object: each belongs to one patient, study, series or instance, not to what is below.",
        own(
            ("level", "VARCHAR", "'patient', 'study', 'series' or 'instance'."),
            ("patient_key", "VARCHAR", "The patient; NULL for an instance's label."),
            ("StudyInstanceUID", "VARCHAR", "The study; NULL for labels of other levels than study and series."),
            ("SeriesInstanceUID", "VARCHAR", "The series; NULL for labels of other levels."),
            ("instance_key", "VARCHAR", "The instance; NULL for labels of other levels."),
            ("label", "VARCHAR", "The label."),
        ),
    )


def _frames() -> Table:
    return Table(
        "frames",
        "One row per frame with pixel data; of single-frame and multi-frame images alike.",
        own(
            *_INSTANCE_OF,
            ("frame_index", "INTEGER", "Zero-based in its instance."),
            ("position", "DOUBLE[]", "x, y, z in LPS mm of the centre of the first pixel."),
            ("orientation", "DOUBLE[]", "LPS cosines of increasing column index, then of increasing row index."),
            ("pixel_spacing", "DOUBLE[]", "mm between rows, mm between columns."),
            ("rescale_slope", "DOUBLE", "Stored value to rescaled value."),
            ("rescale_intercept", "DOUBLE", "Stored value to rescaled value."),
            ("stack", "INTEGER", "Zero-based stack within the series, as in geometry."),
            ("frame_of_reference_uid", "VARCHAR", "Frame of Reference UID: what its position is relative to."),
            ("image_type", "VARCHAR", "Image Type or Frame Type, values joined by a backslash."),
            ("component", "VARCHAR", "Complex Image Component; of GE where only a private attribute tells it."),
            ("stack_id", "VARCHAR", "Stack ID (0020,9056)."),
            ("echo_time_ms", "DOUBLE", "Echo Time or Effective Echo Time."),
            ("b_value", "DOUBLE", "s/mm2; of GE, Philips and Siemens where only a private attribute tells it."),
            ("gradient", "DOUBLE[]", "Diffusion Gradient Orientation: x, y, z of a unit vector, LPS."),
            ("segment", "INTEGER", "Referenced Segment Number of a segmentation's frame."),
            ("tiles", "INTEGER", "Slices in a mosaic; NULL for what is none."),
            ("tile_step", "DOUBLE[]", "x, y, z in LPS mm from one slice of a mosaic to the next."),
            ("temporal_position", "INTEGER", "Temporal Position Identifier or Index."),
            ("acquisition_number", "INTEGER", "Acquisition Number of the frame or its instance."),
            ("acquired_at", "TIMESTAMP", "Acquisition date and time of the frame or its instance, by its scanner."),
            ("trigger_ms", "DOUBLE", "Trigger Time, or Nominal Cardiac Trigger Delay Time."),
            ("dimension_indices", "INTEGER[]", "Dimension Index Values of a multi-frame image."),
            ("InstanceNumber", "INTEGER", "Instance Number (0020,0013) of its instance."),
            ("byte_offset", "BIGINT", "In the file; NULL where the whole instance has to be read."),
            ("byte_length", "BIGINT", "In the file; NULL where the whole instance has to be read."),
            ("pixel_layout", "JSON", "How a decoder has to read the pixels."),
        ),
        ("SeriesInstanceUID", "SOPInstanceUID", "frame_index"),
    )


def _geometry() -> Table:
    return Table(
        "geometry",
        "One row per stack of a series: what its frames physically are, from measured positions.",
        own(
            *_INSTANCE_OF[:3],
            ("stack", "INTEGER", "Zero-based within the series."),
            ("volume", "INTEGER", "Zero-based within the series: stacks that open as one array, along dimensions."),
            ("dimensions", "JSON", "Where the stack is along the leading dimensions of its volume, by their names."),
            ("kind", "VARCHAR", "'uniform', or the gravest reason why it is not."),
            ("reasons", "VARCHAR[]", "All reasons, gravest first; empty for a uniform volume."),
            ("is_volume", "BOOLEAN", "Whether it opens as it is; open_volume() wants a series of one volume."),
            ("shape", "INTEGER[]", "Slices, rows, columns."),
            ("orientation", "DOUBLE[]", "LPS cosines of increasing column index, then of increasing row index."),
            ("spacing_z_mm", "DOUBLE", "Between slices, from positions."),
            ("spacing_y_mm", "DOUBLE", "Between rows."),
            ("spacing_x_mm", "DOUBLE", "Between columns."),
            ("spacing_error_mm", "DOUBLE", "Largest distance of a slice from the regular grid."),
            ("affine_lps", "DOUBLE[]", "16 values, row by row: voxel index (z, y, x, 1) to LPS mm."),
        ),
        ("SeriesInstanceUID", "stack"),
    )


def _series_index() -> Table:
    """One row per series with what is above it and its geometry; without names and birth dates, as indexes are."""
    parents = {
        "p": "PatientSex PatientSpeciesDescription",
        "t": "StudyTime StudyDescription PatientAge PatientSize PatientWeight",
    }
    columns = [*dicom(parents["p"]), *dicom(parents["t"])]
    series = [one for one in dicom(_SERIES) if one.name not in parents["t"].split()]
    ours = own(*_COUNTS[2:5])
    left_out = {*_PARENTS, "stack", "volume", "dimensions", "orientation"}
    places = [one for one in _geometry().columns if one.name not in left_out]
    places += own(("stack_count", "INTEGER", "Stacks of frames, each a row of geometry."))
    chosen = [
        *(f'p."{one.name}"' for one in dicom(parents["p"])),
        *(f't."{one.name}"' for one in dicom(parents["t"])),
        *(f's."{one.name}"' for one in (*series, *ours)),
        *(f'g."{one.name}"' for one in places),
        *(f'o."{one.name}"' for one in ORIGIN_COLUMNS),
    ]
    return Table(
        "series_index",
        "One row per series with its patient, study, geometry and licence, in the shape public indexes have.",
        (*columns, *series, *ours, *places, *ORIGIN_COLUMNS),
        view=f"""
select {", ".join(chosen)}
from {NAME}.main.series s
left join {NAME}.main.studies t using (patient_key, StudyInstanceUID)
left join {NAME}.main.patients p using (patient_key)
left join ({SERIES_GEOMETRY}) g
    on g.SeriesInstanceUID = s.SeriesInstanceUID
    and g.StudyInstanceUID = s.StudyInstanceUID
    and g.patient_key = s.patient_key
left join {NAME}.main.origins o
    on o.SeriesInstanceUID = s.SeriesInstanceUID
    and o.StudyInstanceUID = s.StudyInstanceUID
    and o.patient_key = s.patient_key
""",  # noqa: S608 - our names
    )


def _issues() -> Table:
    return Table(
        "issues",
        "What is odd but safe in stored instances.",
        own(
            *_INSTANCE_OF,
            ("instance_key", "VARCHAR", "The instance."),
            ("keyword", "VARCHAR", "The attribute; empty for the file as a whole."),
            ("problem", "VARCHAR", "What is odd about it."),
        ),
        ("SeriesInstanceUID",),
    )


def _state() -> Table:
    return Table(
        "sync_state",
        "One row: how far the catalog has followed the archive.",
        own(
            ("schema_version", "INTEGER", "Of the catalog's tables."),
            ("feed_id", "VARCHAR", "The archive's change feed."),
            ("last_seq", "BIGINT", "The last change that is in the catalog."),
        ),
    )
