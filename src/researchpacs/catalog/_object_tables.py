"""Tables of what single objects say: measurements, segments, contours and their likes, and who points at whom.

Their rows go with the object that says it, whose `instance_key` is in ``object_key``.
"""

from collections.abc import Iterator

from researchpacs.catalog._columns import Column, Table, own
from researchpacs.catalog._lake import NAME

__all__ = ["OBJECT_TABLES", "object_tables"]

OBJECT_TABLES = (
    "measurements_history",
    "segments_history",
    "contours",
    "key_images",
    "reports",
    "doses",
)
"""Names of the tables that few objects fill; ``object_references`` is filled by any."""

_UCUM = (
    ("value", "DOUBLE", "In the unit beside."),
    ("unit", "VARCHAR", "As the report has it; UCUM mostly."),
    ("ucum_value", "DOUBLE", "The value in ucum_unit, so that 1.2 cm and 12 mm compare; NULL for a unit unknown."),
    ("ucum_unit", "VARCHAR", "The unit in UCUM's base units (m, s, g, rad, K, C, cd); '1' for numbers."),
)
_MEASURED = "One row per measured value of a structured report"
_SEGMENTED = "One row per segment of a segmentation (SEG)"
_CURRENT = f"""
select h.*
from {NAME}.main.{{history}} h
where not exists (
    select 1
    from {NAME}.main.object_references r
    where r.path like 'PredecessorDocumentsSequence%'
        and r.referenced_sop_instance_uid = h.object_sop_instance_uid
        and r.patient_key = h.patient_key
)
"""  # noqa: S608 - our names
_ALGORITHM = "Name and version of the algorithm."
_CREATED = ("created_at", "TIMESTAMP", "When it was made, as the object says; UTC where it tells its time zone.")


def object_tables() -> Iterator[Table]:
    """The tables in the order of `OBJECT_TABLES`, and ``object_references``."""
    yield Table("measurements_history", f"{_MEASURED}, those of replaced reports too.", _measurements())
    yield Table("segments_history", f"{_SEGMENTED}, those of replaced segmentations too.", _segments())
    yield Table("contours", "One row per region of an RT structure set.", _contours())
    yield Table(
        "key_images",
        "One row per instance that a key object selection (KO) or a presentation state (PR) points out.",
        _key_images(),
    )
    yield Table("reports", "One row per structured report or encapsulated document, in words.", _reports())
    yield Table("doses", "One row per number of a radiation dose report (RDSR).", _doses())
    yield Table("object_references", "One row per object that an instance points at.", _references(), ("path",))
    yield Table(
        "measurements",
        f"{_MEASURED}; doses are in doses.",
        _measurements(),
        view=_CURRENT.format(history="measurements_history"),
    )
    yield Table("segments", f"{_SEGMENTED}.", _segments(), view=_CURRENT.format(history="segments_history"))


def _imaged(what: str) -> tuple[Column, ...]:
    return own(
        ("SeriesInstanceUID", "VARCHAR", f"The series that was {what}, not the object's; NULL where it is not one."),
        ("StudyInstanceUID", "VARCHAR", f"The study that was {what}; the object's where it names none."),
        *_OBJECT,
    )


_OBJECT = (
    ("PatientID", "VARCHAR", "Patient ID (0010,0020) of the object."),
    ("patient_key", "VARCHAR", "The patient of the object."),
    ("object_sop_instance_uid", "VARCHAR", "SOPInstanceUID of the object that says it."),
    ("object_key", "VARCHAR", "instance_key of the object that says it."),
)
_OF_REPORT = (
    ("StudyInstanceUID", "VARCHAR", "The study of the report."),
    ("SeriesInstanceUID", "VARCHAR", "The series of the report."),
    *_OBJECT,
)
_CHANGED = ("changed_at", "TIMESTAMP", "When the archive stored the object, UTC.")


def _measurements() -> tuple[Column, ...]:
    return (
        *_imaged("measured"),
        *own(
            ("tracking_uid", "VARCHAR", "What was measured, the same over time."),
            ("tracking_id", "VARCHAR", "Its name for people: Tracking Identifier."),
            ("label", "VARCHAR", "tracking_id, else what was found."),
            ("group_code", "VARCHAR", "SCHEME:CODE of the container it stands in; DCM:125007 is a Measurement Group."),
            ("finding_code", "VARCHAR", "SCHEME:CODE of what was found."),
            ("finding", "VARCHAR", "What was found."),
            ("site_code", "VARCHAR", "SCHEME:CODE of where it was found."),
            ("site", "VARCHAR", "Where it was found."),
            ("quantity_code", "VARCHAR", "SCHEME:CODE of what the value is."),
            ("quantity", "VARCHAR", "What the value is, such as Length."),
            *_UCUM,
            ("method", "VARCHAR", "How it was measured."),
            ("author", "VARCHAR", "Who or what measured."),
            _CREATED,
            _CHANGED,
        ),
    )


def _segments() -> tuple[Column, ...]:
    return (
        *_imaged("segmented"),
        *own(
            ("segment_number", "INTEGER", "Segment Number (0062,0004); 0 is a labelmap's background."),
            ("label", "VARCHAR", "Segment Label (0062,0005)."),
            ("description", "VARCHAR", "Segment Description (0062,0006)."),
            ("segmentation_type", "VARCHAR", "BINARY, FRACTIONAL or LABELMAP."),
            ("algorithm_type", "VARCHAR", "MANUAL, SEMIAUTOMATIC or AUTOMATIC."),
            ("algorithm", "VARCHAR", _ALGORITHM),
            ("category_code", "VARCHAR", "SCHEME:CODE of the category, such as Tissue."),
            ("category", "VARCHAR", "The category."),
            ("type_code", "VARCHAR", "SCHEME:CODE of what it is, such as Liver."),
            ("type", "VARCHAR", "What it is."),
            ("site_code", "VARCHAR", "SCHEME:CODE of where it is."),
            ("site", "VARCHAR", "Where it is."),
            ("tracking_uid", "VARCHAR", "What was segmented, the same over time."),
            ("tracking_id", "VARCHAR", "Its name for people: Tracking ID (0062,0020)."),
            ("frame_count", "INTEGER", "Frames that are of this segment; NULL in a labelmap, whose frames are of all."),
            ("voxel_count", "BIGINT", "Voxels above zero; in a labelmap those of its number. NULL: see issues."),
            (
                "volume_mm3",
                "DOUBLE",
                "Voxels, fractional ones by their fraction, times pixel spacing and the measured distance between "
                "planes; NULL where planes have no place or no one distance.",
            ),
            ("author", "VARCHAR", "Content Creator's Name (0070,0084)."),
            _CREATED,
            _CHANGED,
        ),
    )


def _contours() -> tuple[Column, ...]:
    return (
        *_imaged("drawn on"),
        *own(
            ("roi_number", "INTEGER", "ROI Number (3006,0022)."),
            ("roi_name", "VARCHAR", "ROI Name (3006,0026)."),
            ("description", "VARCHAR", "ROI Description (3006,0028)."),
            ("roi_type", "VARCHAR", "RT ROI Interpreted Type (3006,00A4), such as PTV or ORGAN."),
            ("type_code", "VARCHAR", "SCHEME:CODE of what it is."),
            ("type", "VARCHAR", "What it is."),
            ("generation", "VARCHAR", "ROI Generation Algorithm (3006,0036)."),
            ("geometric_types", "VARCHAR[]", "Contour Geometric Types (3006,0042) that occur, sorted."),
            ("contour_count", "INTEGER", "Contours."),
            ("point_count", "BIGINT", "Points of all contours."),
            ("image_count", "INTEGER", "Instances that its contours name as drawn on."),
            (
                "volume_mm3",
                "DOUBLE",
                "What its contours enclose, even-odd on each plane, times the measured distance between planes; NULL "
                "for points and open lines, for one plane alone, and where planes have no one distance.",
            ),
            (
                "frame_of_reference_uid",
                "VARCHAR",
                "Referenced Frame of Reference UID (3006,0024).",
            ),
            ("structure_set_label", "VARCHAR", "Structure Set Label (3006,0002)."),
            _CREATED,
            _CHANGED,
        ),
    )


def _key_images() -> tuple[Column, ...]:
    return (
        *_imaged("pointed at"),
        *own(
            ("SOPInstanceUID", "VARCHAR", "The instance that is pointed out."),
            ("SOPClassUID", "VARCHAR", "Its SOP Class."),
            ("frame_numbers", "INTEGER[]", "One-based frames that are meant; NULL for the whole instance."),
            ("kind", "VARCHAR", "'key_object' or 'presentation_state'."),
            ("title_code", "VARCHAR", "SCHEME:CODE of a key object selection's title."),
            ("title", "VARCHAR", "A key object selection's title, a presentation state's Content Label."),
            ("key_text", "VARCHAR", "What somebody wrote about it."),
            ("annotation_count", "INTEGER", "Graphics and texts that a presentation state draws on it."),
            ("author", "VARCHAR", "Who pointed it out."),
            _CREATED,
            _CHANGED,
        ),
    )


def _reports() -> tuple[Column, ...]:
    return own(
        *_OF_REPORT,
        ("kind", "VARCHAR", "'structured' or 'encapsulated'."),
        ("title_code", "VARCHAR", "SCHEME:CODE of its title."),
        ("title", "VARCHAR", "Its title."),
        (
            "report_text",
            "VARCHAR",
            "The content tree in words, an item a line; of a PDF or CDA document its own words, or NULL: see issues.",
        ),
        ("mime_type", "VARCHAR", "Of an encapsulated document, such as application/pdf."),
        ("completion", "VARCHAR", "Completion Flag (0040,A491)."),
        ("verification", "VARCHAR", "Verification Flag (0040,A493)."),
        ("author", "VARCHAR", "The first person who is named as an observer."),
        _CREATED,
        _CHANGED,
    )


def _doses() -> tuple[Column, ...]:
    return own(
        *_OF_REPORT,
        ("event_index", "INTEGER", "Zero-based irradiation or administration; NULL for what is of all of them."),
        ("event_uid", "VARCHAR", "Irradiation Event UID."),
        ("section_code", "VARCHAR", "SCHEME:CODE of the container it stands in."),
        ("section", "VARCHAR", "The container it stands in, such as CT Dose."),
        ("quantity_code", "VARCHAR", "SCHEME:CODE of what the value is."),
        ("quantity", "VARCHAR", "What the value is, such as Mean CTDIvol."),
        *_UCUM,
        ("protocol", "VARCHAR", "Acquisition Protocol."),
        ("region_code", "VARCHAR", "SCHEME:CODE of the target region."),
        ("region", "VARCHAR", "The target region."),
        ("acquisition", "VARCHAR", "CT Acquisition Type or Irradiation Event Type."),
        ("started_at", "TIMESTAMP", "When the event began; UTC where the report tells its time zone."),
        _CREATED,
        _CHANGED,
    )


def _references() -> tuple[Column, ...]:
    return own(
        ("SeriesInstanceUID", "VARCHAR", "The series of the instance that points."),
        ("StudyInstanceUID", "VARCHAR", "The study of the instance that points."),
        *_OBJECT,
        (
            "path",
            "VARCHAR",
            "Keywords of the sequences that name it, outermost first, joined by dots; one within its like stands once.",
        ),
        ("referenced_sop_class_uid", "VARCHAR", "SOP Class of what is pointed at."),
        ("referenced_sop_instance_uid", "VARCHAR", "What is pointed at; NULL for a whole series."),
        ("referenced_series_uid", "VARCHAR", "Its series, where it is named."),
        ("referenced_study_uid", "VARCHAR", "Its study, where it is named."),
    )
