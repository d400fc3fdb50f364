"""Whom and which study converted instances belong to: from ``like=`` and ``attributes=``."""

import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.multival import MultiValue

from researchpacs.dicom.keywords import is_keyword, level_of, nearest
from researchpacs.dicom.modify import set_value
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import InvalidInputError
from researchpacs.model import SeriesSource

__all__ = ["Subject", "apply_attributes", "as_subject"]

_OF_SERIES = ("FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition", "BodyPartExamined", "Laterality")
"""What images in the same Frame of Reference share with the series that names it."""
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
"""What was once compressed with loss, and all that is made of it, says so (PS3.3 C.7.6.1.1.5)."""
_FREE = frozenset(
    {
        *_OF_SERIES[1:],
        *("AnatomicRegionSequence", "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions"),
    }
)
"""What the conversion only presumes, and the user may know better."""
_NEVER = frozenset({"SOPInstanceUID", "SOPClassUID", "SpecificCharacterSet", "TransferSyntaxUID"})
_OF_EQUIPMENT = "InstitutionName"
"""Where other equipment stands is no attribute of what is made here."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What ``like=`` gives to the instances."""

    header: Dataset
    """Patient and study attributes, in UTF-8."""
    of_series: Dataset
    """Frame of Reference and what goes with it, and the marks of lossy compression; empty unless a series or an
    instance was given."""
    series: SeriesSource | None = None
    """Where a series was given: its frames say where it is."""
    modality: str = ""


def as_subject(like: object, attributes: Mapping[str, Any]) -> Subject:
    """Take patient and study from what instances shall be like.

    Parameters
    ----------
    like
        A handle of a patient, study, series or instance, a Dataset, or None.
    attributes
        Values by keyword that are said beside it.

    Raises
    ------
    InvalidInputError
        Something else; or nobody is named whom the instances are of; or `attributes` say anew what `like` says.
    """
    _check_keywords(attributes)
    with reading_quietly():
        return _subject(like, attributes)


def apply_attributes(ds: Dataset, attributes: Mapping[str, Any]) -> None:
    """Set what the user says of patient, study, series and equipment.

    Raises
    ------
    InvalidInputError
        A value does not fit its attribute, or the attribute describes what the source itself holds.
    """
    for keyword, value in attributes.items():
        tag = tag_for_keyword(keyword) or 0
        known = tag in ds and ds[tag].value not in (None, "", [])
        if keyword in _NEVER or (known and level_of(keyword) not in ("patient", "study") and keyword not in _FREE):
            raise InvalidInputError(f"{keyword} is set by the conversion; leave it out of attributes=")
        with reading_quietly():
            warnings.simplefilter("error")  # a value that does not fit is refused, and not told
            set_value(ds, tag, value)


def _subject(like: object, attributes: Mapping[str, Any]) -> Subject:
    header, level = (Dataset(), "") if like is None else _header_of(like)
    named = (attributes.get("PatientID"), header.get("PatientID"), header.get("StudyInstanceUID"))
    if not any(str(name or "").strip() for name in named):
        raise InvalidInputError(
            "whose is it? Give like=, a study, series or Dataset that it belongs to, or attributes={'PatientID': ...}"
        )
    levels = ("patient",) if level == "patient" else ("patient", "study")
    present = {keyword_for_tag(tag) for tag in list(header.keys())} - {"", _OF_EQUIPMENT}
    keywords = {keyword for keyword in present if level_of(keyword) in levels}
    told = sorted(keywords & set(attributes))
    if told:
        raise InvalidInputError(f"{', '.join(told)}: like= says that already; leave it out of attributes=")
    placed = level in ("series", "instance")
    lossy = _LOSSY if header.get("LossyImageCompression") == "01" else ()
    return Subject(
        header=_taken(header, keywords),
        of_series=_taken(header, {*_OF_SERIES, *lossy} if placed else set()),
        series=cast("SeriesSource", like) if level == "series" and hasattr(like, "frames") else None,
        modality=str(header.get("Modality") or "") if placed else "",
    )


def _check_keywords(attributes: Mapping[str, Any]) -> None:
    if not isinstance(attributes, Mapping):
        raise InvalidInputError("attributes= is a mapping of DICOM keywords to values, such as {'PatientID': 'A17'}")
    for keyword in attributes:
        if not isinstance(keyword, str) or not is_keyword(keyword):
            close = nearest(str(keyword))
            raise InvalidInputError(
                f"attributes={{{str(keyword)!r}: ...}}: no DICOM keyword{f'; did you mean {close!r}?' if close else ''}"
            )


def _header_of(like: Any) -> tuple[Dataset, str]:
    """Give a header, and the level that it stands for."""
    if isinstance(like, Dataset):
        return like, "instance"
    level = getattr(like, "level", None)
    if level == "patient":
        return _header_of(like.studies[0])[0], level
    if level == "study":
        return like.series[0].header(), level
    if level in ("series", "instance"):
        return like.header(), level
    raise InvalidInputError(
        f"like= is a study, series, instance or patient of an archive, or a pydicom Dataset, "
        f"not a {type(like).__name__}"
    )


def _taken(header: Dataset, keywords: set[str]) -> Dataset:
    """Copy elements as they are, valid or not: what is made has to stand beside what it is like."""
    taken = Dataset()
    for keyword in keywords:
        if keyword in header:
            element = header[keyword]
            value = _in_unicode(element)
            taken.add(DataElement(element.tag, element.VR, value, validation_mode=IGNORE))
    return taken


def _in_unicode(element: DataElement) -> Any:
    """Copy a value without the character set that it was read in."""
    if element.VR == "PN":
        several = isinstance(element.value, MultiValue)
        return [str(name) for name in element.value] if several else str(element.value or "")
    value = deepcopy(element.value)
    for item in value if element.VR == "SQ" else ():
        item.decode()
        item.pop("SpecificCharacterSet", None)
    return value
