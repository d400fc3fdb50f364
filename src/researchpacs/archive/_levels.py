"""The four levels as a ledger keeps them: their tables, how these join, and the columns that name an object."""

from collections.abc import Mapping

__all__ = ["COLUMN", "KEYS", "SOURCE", "TABLE"]

TABLE: Mapping[str, str] = {"patient": "patients", "study": "studies", "series": "series", "instance": "instances"}
SOURCE: Mapping[str, str] = {
    "patient": "patients",
    "study": "studies join patients using (patient_key)",
    "series": "series join studies using (patient_key, study_uid) join patients using (patient_key)",
    "instance": (
        "instances join series using (patient_key, study_uid, series_uid) "
        "join studies using (patient_key, study_uid) join patients using (patient_key)"
    ),
}
"""An object with its parents."""
KEYS: Mapping[str, tuple[str, ...]] = {
    "patient": ("patient_key",),
    "study": ("patient_key", "study_uid"),
    "series": ("patient_key", "study_uid", "series_uid"),
    "instance": ("key",),
}
"""What names an object of the level, also where several patients or studies share a UID."""
COLUMN: Mapping[str, str] = {
    "PatientID": "patients.patient_id",
    "IssuerOfPatientID": "patients.issuer",
    "StudyInstanceUID": "studies.study_uid",
    "SeriesInstanceUID": "series.series_uid",
    "SOPInstanceUID": "instances.sop_uid",
}
"""Attributes that are columns; the others are looked up in the JSON of their level."""
