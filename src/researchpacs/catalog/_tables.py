"""The catalog's tables as data: every column with its type and what it means.

A column named by a DICOM keyword takes its type from the data dictionary; the others are ours and in snake_case.
"""

from collections.abc import Mapping
from functools import cache

from researchpacs.catalog._cohorts import cohort_tables
from researchpacs.catalog._columns import NAME_PARTS, Column, Table, dicom, own
from researchpacs.catalog._lake import NAME
from researchpacs.catalog._level_tables import COUNTS, INSTANCE_OF, SERIES_KEYWORDS, level_tables
from researchpacs.catalog._object_tables import object_tables
from researchpacs.catalog._origins import ORIGIN_COLUMNS, origins_table
from researchpacs.catalog._search_tables import keys_table, texts_table
from researchpacs.catalog._series_geometry import SERIES_GEOMETRY

__all__ = ["NAME_PARTS", "Column", "Table", "column_types", "keyword_columns", "tables"]


@cache
def tables() -> dict[str, Table]:
    """All tables by name, patients first."""
    return {
        table.name: table
        for table in (
            *(*level_tables(), _labels(), _frames(), _geometry(), *object_tables(), _issues()),
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
            *INSTANCE_OF,
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
            *INSTANCE_OF[:3],
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
    series = [one for one in dicom(SERIES_KEYWORDS) if one.name not in parents["t"].split()]
    ours = own(*COUNTS[2:5])
    left_out = {"patient_key", "StudyInstanceUID", "SeriesInstanceUID", "stack", "volume", "dimensions", "orientation"}
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
            *INSTANCE_OF,
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
