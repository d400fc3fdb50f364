"""Columns and tables as data, and the columns that a DICOM keyword stands for."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["NAME_PARTS", "OF_SERIES", "Column", "Table", "dicom", "own"]

NAME_PARTS = ("family", "given", "middle", "prefix", "suffix", "ideographic", "phonetic")

OF_SERIES = (
    ("patient_key", "VARCHAR", "The patient it belongs to."),
    ("StudyInstanceUID", "VARCHAR", "The study it belongs to."),
    ("SeriesInstanceUID", "VARCHAR", "The series."),
)
"""Columns of a table whose rows are of one series each."""

_TYPES = {
    "DA": "DATE",
    "TM": "TIME",
    "DT": "TIMESTAMP",
    "IS": "INTEGER",
    "SL": "INTEGER",
    "SS": "INTEGER",
    "US": "INTEGER",
    "US or SS": "INTEGER",
    "UL": "BIGINT",
    "SV": "BIGINT",
    "UV": "UBIGINT",
    "DS": "DOUBLE",
    "FD": "DOUBLE",
    "FL": "DOUBLE",
}

_UNITS = {
    "PatientSize": "m",
    "PatientWeight": "kg",
    "SliceThickness": "mm; never makes geometry",
    "SpacingBetweenSlices": "mm; never makes geometry",
    "PixelSpacing": "mm between rows, mm between columns",
    "ImagerPixelSpacing": "mm between rows, mm between columns, at the detector",
    "ImagePositionPatient": "x, y, z in LPS mm of the centre of the first pixel",
    "ImageOrientationPatient": "LPS cosines of increasing column index, then of increasing row index",
    "KVP": "kV",
    "MagneticFieldStrength": "T",
    "RepetitionTime": "ms",
    "EchoTime": "ms",
    "InversionTime": "ms",
    "FlipAngle": "degrees",
    "DiffusionBValue": "s/mm2",
    "ReconstructionDiameter": "mm",
    "GantryDetectorTilt": "degrees",
    "ExposureTime": "ms",
    "XRayTubeCurrent": "mA",
    "CTDIvol": "mGy",
    "TriggerTime": "ms",
    "SliceLocation": "mm",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    type: str
    """In SQL."""
    comment: str
    keyword: str | None = None
    """The attribute it holds, where it is one."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the catalog."""

    name: str
    comment: str
    columns: tuple[Column, ...]
    sorted_by: tuple[str, ...] = ()
    """Order of the rows within a data file; what queries filter on comes first."""
    view: str = ""
    """The query of a view; empty for a table with rows of its own."""


def own(*columns: tuple[str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(name, kind, comment) for name, kind, comment in columns)


def dicom(keywords: str) -> tuple[Column, ...]:
    return tuple(column for keyword in keywords.split() for column in _columns_of(keyword))


def _columns_of(keyword: str) -> Iterable[Column]:
    from pydicom.datadict import dictionary_description, dictionary_VM, dictionary_VR, tag_for_keyword

    vr = dictionary_VR(keyword)
    kind = _TYPES.get(vr, "VARCHAR") + ("" if dictionary_VM(keyword) == "1" else "[]")
    tag = tag_for_keyword(keyword) or 0
    unit = f", {_UNITS[keyword]}" if keyword in _UNITS else ""
    comment = f"{dictionary_description(keyword)} ({tag >> 16:04x},{tag & 0xFFFF:04x}){unit}"
    yield Column(keyword, kind, comment, keyword)
    if vr == "PN":
        parts = ", ".join(f'"{part}" VARCHAR' for part in NAME_PARTS)
        yield Column(f"{keyword}_parts", f"STRUCT({parts})", f"{comment}, in its parts")
