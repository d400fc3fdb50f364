"""Files that DICOM carries as they are: PDF (PS3.3 A.45.1) and STL models (A.85.1)."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage, EncapsulatedSTLStorage

from researchpacs.convert._grid import require_overlap
from researchpacs.convert._identity import MAKER, MODEL_NAME
from researchpacs.convert._subject import Subject
from researchpacs.errors import GeometryError, InvalidInputError

__all__ = ["model_draft", "pdf_draft", "place_model", "require_whole_pdf"]

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_STL_HEADER = 80
_MOST_BYTES = 1 << 30
_TRAILER_BYTES = 2048
_FACET = re.compile(rb"facet\s+normal\s+(.*?)\s+outer\s+loop(.*?)endloop\s+endfacet", re.IGNORECASE | re.DOTALL)
_VERTEX = re.compile(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", re.IGNORECASE)


def pdf_draft(content: bytes, title: str = "") -> Dataset:
    """Make an encapsulated document of a PDF, byte for byte.

    Raises
    ------
    InvalidInputError
        No PDF, or more than 1 GiB.
    """
    if not content.startswith(b"%PDF-"):
        raise InvalidInputError("the document is no PDF")
    ds = _document(content, "application/pdf", title)
    ds.SOPClassUID, ds.Modality, ds.ConversionType = EncapsulatedPDFStorage, "DOC", "WSD"
    ds.BurnedInAnnotation = "YES"
    return ds


def require_whole_pdf(content: bytes) -> None:
    """Refuse a PDF whose end is missing.

    Raises
    ------
    InvalidInputError
        Its end-of-file marker does not stand in its last 2,048 bytes.
    """
    if b"%%EOF" not in content[-_TRAILER_BYTES:]:
        raise InvalidInputError("the PDF is truncated: its end-of-file marker is missing")


def model_draft(content: bytes, title: str = "") -> Dataset:
    """Make an encapsulated model of an STL in mm: binary byte for byte, ASCII as the binary form of the same triangles.

    DICOM takes the binary form only.

    Raises
    ------
    InvalidInputError
        No STL, truncated, without triangles, with coordinates that are not finite, or more than 1 GiB.
    """
    binary = content if _is_binary(content) else _as_binary(content)
    if not np.isfinite(_triangles(binary)["corners"]).all():
        raise InvalidInputError("the STL model has corners that are not finite")
    ds = _document(binary, "model/stl", title)
    ds.SOPClassUID, ds.Modality = EncapsulatedSTLStorage, "M3D"
    ds.BurnedInAnnotation = "NO"
    # Of type 1 in Enhanced General Equipment, and nothing that differs from machine to machine.
    ds.Manufacturer, ds.ManufacturerModelName = MAKER, MODEL_NAME
    ds.DeviceSerialNumber = ds.SoftwareVersions = "1"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = "", None
    unit = Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "mm", "UCUM", "mm"
    ds.MeasurementUnitsCodeSequence = [unit]
    return ds


def place_model(ds: Dataset, subject: Subject, frame_of_reference_uid: str = "") -> None:
    """Put a model into its own Frame of Reference, else that of a series; without either it gets a new one.

    Raises
    ------
    GeometryError
        It is nowhere near the series, or says itself that its coordinates are RAS.
    """
    told = str(subject.of_series.get("FrameOfReferenceUID") or "")
    ds.FrameOfReferenceUID = frame_of_reference_uid
    if not told:
        return
    if frame_of_reference_uid not in ("", told):
        raise GeometryError(
            f"the mesh is in Frame of Reference ...{frame_of_reference_uid[-12:]}, what like= gives is in "
            f"...{told[-12:]}; give its own series, or the study, as like="
        )
    content = ds.EncapsulatedDocument
    if b"SPACE=RAS" in content[:_STL_HEADER]:
        raise GeometryError("the STL says that its coordinates are RAS; save it in LPS, as images are")
    if subject.series is not None:
        corners = _triangles(content[: ds.EncapsulatedDocumentLength])["corners"].reshape(-1, 3)
        require_overlap(corners.astype(np.float64), subject.series, "the STL model")
    ds.FrameOfReferenceUID = told
    ds.PositionReferenceIndicator = subject.of_series.get("PositionReferenceIndicator")


def _document(content: bytes, mime_type: str, title: str) -> Dataset:
    if len(content) > _MOST_BYTES:
        raise InvalidInputError(f"a document of {len(content):,} bytes; at most {_MOST_BYTES:,} are taken")
    ds = Dataset()
    ds.DocumentTitle, ds.ConceptNameCodeSequence = title, []
    ds.ContentDate = ds.ContentTime = ds.AcquisitionDateTime = None
    ds.MIMETypeOfEncapsulatedDocument = mime_type
    ds.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    ds.EncapsulatedDocumentLength = len(content)
    return ds


def _is_binary(content: bytes) -> bool:
    count = int.from_bytes(content[_STL_HEADER : _STL_HEADER + 4], "little")
    return count > 0 and len(content) == _STL_HEADER + 4 + _TRIANGLE.itemsize * count


def _triangles(binary: bytes) -> NDArray[Any]:
    return np.frombuffer(binary, _TRIANGLE, offset=_STL_HEADER + 4)


def _as_binary(content: bytes) -> bytes:
    text = content.strip()
    if not text[:5].lower() == b"solid" or b"endsolid" not in text[-200:].lower():
        raise InvalidInputError("the STL model is damaged or truncated: neither binary nor ASCII to its end")
    facets = _FACET.findall(text)
    triangles: NDArray[Any] = np.zeros(len(facets), _TRIANGLE)
    try:
        for triangle, (normal, loop) in zip(triangles, facets, strict=True):
            triangle["normal"] = [float(part) for part in normal.split()]
            triangle["corners"] = [[float(part) for part in vertex] for vertex in _VERTEX.findall(loop)]
    except ValueError as error:
        raise InvalidInputError("the ASCII STL has a facet without a normal and three corners") from error
    if not facets or len(facets) != len(re.findall(rb"\bendfacet\b", text, re.IGNORECASE)):
        raise InvalidInputError("the ASCII STL has no facet, or a damaged one")
    # The header must not begin with "solid": readers take such files for text.
    return b"binary STL".ljust(_STL_HEADER) + len(facets).to_bytes(4, "little") + triangles.tobytes()
