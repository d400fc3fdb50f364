"""How Orthanc spells things: levels, paths, dates, and the main DICOM tags of each level."""

from collections.abc import Mapping
from typing import get_args

from pydicom.datadict import dictionary_has_tag, keyword_for_tag, tag_for_keyword

from researchpacs.model import Level
from researchpacs.server.orthanc.errors import OrthancError

__all__ = [
    "CHILDREN",
    "LEVELS",
    "MAIN_TAGS",
    "PLURAL",
    "TYPE",
    "as_keyword",
    "as_level",
    "dashed",
    "moment",
    "numbered",
]

LEVELS: tuple[Level, ...] = get_args(Level)
PLURAL: Mapping[Level, str] = {"patient": "patients", "study": "studies", "series": "series", "instance": "instances"}
TYPE: Mapping[Level, str] = {"patient": "Patient", "study": "Study", "series": "Series", "instance": "Instance"}
CHILDREN: Mapping[Level, str] = {"patient": "Studies", "study": "Series", "series": "Instances"}

MAIN_TAGS: Mapping[Level, tuple[str, ...]] = {
    "patient": ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "OtherPatientIDs"),
    "study": (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "InstitutionName",
        "ReferringPhysicianName",
        "StudyDescription",
        "StudyInstanceUID",
        "StudyID",
        "RequestingPhysician",
        "RequestedProcedureDescription",
    ),
    "series": (
        "SeriesDate",
        "SeriesTime",
        "Modality",
        "Manufacturer",
        "StationName",
        "SeriesDescription",
        "OperatorsName",
        "ContrastBolusAgent",
        "BodyPartExamined",
        "SequenceName",
        "ProtocolName",
        "CardiacNumberOfImages",
        "AcquisitionDeviceProcessingDescription",
        "SeriesInstanceUID",
        "SeriesNumber",
        "ImageOrientationPatient",
        "NumberOfTemporalPositions",
        "ImagesInAcquisition",
        "PerformedProcedureStepDescription",
        "NumberOfSlices",
        "NumberOfTimeSlices",
        "SeriesType",
    ),
    "instance": (
        "InstanceCreationDate",
        "InstanceCreationTime",
        "SOPInstanceUID",
        "AcquisitionNumber",
        "InstanceNumber",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "TemporalPositionIdentifier",
        "ImageComments",
        "NumberOfFrames",
        "ImageIndex",
    ),
}
"""What Orthanc keeps beside an object without being configured to keep more."""


def as_level(text: object) -> Level:
    """Read a level as requests spell it: ``Study``, ``studies``, ``STUDY``."""
    lowered = text.lower() if isinstance(text, str) else ""
    for level in LEVELS:
        if lowered in (level, PLURAL[level]):
            return level
    raise OrthancError(400, "the level is Patient, Study, Series or Instance", orthanc=(3, "Parameter out of range"))


def as_keyword(text: str) -> str:
    """Read a tag as requests spell it: ``PatientName``, ``0010,0010``, ``0010-0010``, ``00100010``.

    Raises
    ------
    OrthancError
        The data dictionary knows no such attribute.
    """
    if tag_for_keyword(text) is not None:
        return text
    digits = text.replace(",", "").replace("-", "")
    try:
        tag = int(digits, 16) if len(digits) == 8 else -1
    except ValueError:
        tag = -1
    keyword = keyword_for_tag(tag) if tag >= 0 and dictionary_has_tag(tag) else ""
    if not keyword:
        raise OrthancError(400, "a tag that the data dictionary does not know", orthanc=(27, "Unknown DICOM tag"))
    return keyword


def numbered(keyword: str) -> str:
    """The tag of a keyword, ``gggg,eeee``."""
    tag = tag_for_keyword(keyword) or 0
    return f"{tag >> 16:04x},{tag & 0xFFFF:04x}"


def dashed(tag: int) -> str:
    """The tag as paths spell it, ``gggg-eeee``."""
    return f"{tag >> 16:04x}-{tag & 0xFFFF:04x}"


def moment(iso: str) -> str:
    """``2024-02-29T10:15:00.123Z`` as ``20240229T101500``."""
    return iso[:19].replace("-", "").replace(":", "")
