"""Queries to other nodes, as Orthanc's clients write them: JSON objects that become identifiers (PS3.4 C.4.1.1.3)."""

from collections.abc import Mapping
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR

from researchpacs.dicom.modify import as_tag
from researchpacs.dicom.values import reading_quietly
from researchpacs.model import Level
from researchpacs.server.orthanc.errors import OrthancError

__all__ = ["UNIQUE", "identifier_of"]

UNIQUE: Mapping[Level, str] = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
}
"""The attribute that names an object of a level to its node."""

_INTEGERS = frozenset({"SL", "SS", "SV", "UL", "US", "UV"})
_DEEPEST = 8


def identifier_of(query: object, *, depth: int = 0) -> Dataset:
    """Read a query.

    Parameters
    ----------
    query
        Text by keyword or number, with wildcards, ranges and lists as C-FIND has them; for a sequence a list of such
        objects.

    Raises
    ------
    OrthancError
        It has another shape.
    InvalidInputError
        An attribute that the data dictionary does not know.
    """
    if not isinstance(query, Mapping) or depth > _DEEPEST:
        raise OrthancError(400, "a query is an object of texts by tag", orthanc=(15, "Bad file format"))
    ds = Dataset()
    with reading_quietly():  # wildcards and ranges break the rules of most VRs, and are what a query is made of
        for name, value in query.items():
            tag = as_tag(name)
            if tag.is_private:
                raise OrthancError(400, "private attributes cannot be asked for")
            vr = dictionary_VR(tag).split(" ")[0]
            ds[tag] = DataElement(tag, vr, _value(vr, value, depth))
    return ds


def _value(vr: str, value: Any, depth: int) -> Any:
    if vr == "SQ":
        items = value if isinstance(value, list) else [value] if isinstance(value, Mapping) else []
        return [identifier_of(item, depth=depth + 1) for item in items]
    if value is None or value == "":
        return None
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = "\\".join(value)
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise OrthancError(400, "a query is an object of texts by tag", orthanc=(15, "Bad file format"))
    if vr not in _INTEGERS:
        return str(value)
    try:
        return int(value)
    except ValueError:
        raise OrthancError(400, "a whole number is expected for an attribute that is one") from None
