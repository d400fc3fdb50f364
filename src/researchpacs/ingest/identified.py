"""What the guarded scan of a file says of its instance: which one it is, and the attributes that are indexed."""

from pydicom.datadict import tag_for_keyword

from researchpacs.dicom.keywords import INDEXED
from researchpacs.dicom.scan import Scan
from researchpacs.model import Identity

__all__ = ["KEYWORDS", "clean_text", "identified"]

_TAGS = {keyword: tag_for_keyword(keyword) or 0 for level in INDEXED.values() for keyword in level}
KEYWORDS = {tag: keyword for keyword, tag in _TAGS.items()}
"""Of the attributes that are indexed, by tag."""


def identified(found: Scan) -> tuple[Identity, dict[str, str]]:
    """Name the instance; text by keyword of every attribute of `INDEXED`, empty where it is absent."""
    attributes = {keyword: clean_text(text) if text else "" for keyword, text in found.texts(_TAGS).items()}
    identity = Identity(
        patient_id=attributes["PatientID"],
        issuer=attributes["IssuerOfPatientID"],
        study_uid=attributes["StudyInstanceUID"],
        series_uid=attributes["SeriesInstanceUID"],
        sop_uid=attributes["SOPInstanceUID"],
    )
    return identity, attributes


def clean_text(text: str) -> str:
    """Drop what no database keeps as text: NUL, and halves of surrogate pairs."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
