"""DICOM JSON metadata (PS3.18 F) -> the header of an instance as a file, so that it is read as every other header."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from pydicom import Dataset, dcmwrite
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from researchpacs.dicom.values import reading_quietly

__all__ = ["header_of", "pixel_bytes_of", "text_of"]

_PIXELS = ("7FE00010", "7FE00008", "7FE00009")
_CHARACTER_SET = "00080005"
_UNICODE = "ISO_IR 192"


def header_of(metadata: Mapping[str, Any]) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """Write the metadata of one instance in Explicit VR Little Endian, without its pixels.

    Returns
    -------
    header
        Preamble, File Meta Information, data set.
    problems
        Keyword and phrase of the attributes that are not in it.
    """
    problems: list[tuple[str, str]] = []
    ds = Dataset()
    with reading_quietly():
        for tag, entry in sorted(metadata.items()):
            if tag in _PIXELS or tag.startswith("0002") or tag == _CHARACTER_SET:
                continue
            if "BulkDataURI" in entry:
                problems.append((_name_of(tag), "is kept apart by the server and not in the catalog"))
                continue
            element = _element(tag, entry)
            if element is None:
                problems.append((_name_of(tag), "could not be read from what the server sent"))
            else:
                ds.update(element)
        # JSON is Unicode, whatever the file was; plain ASCII needs no declaration.
        if not _is_ascii(metadata):
            ds.SpecificCharacterSet = _UNICODE
        return _written(ds), tuple(problems)


def pixel_bytes_of(metadata: Mapping[str, Any]) -> int:
    """Bytes that the pixels have without compression; 0 where the instance has none."""
    rows, columns, bits = (_number(metadata, tag) for tag in ("00280010", "00280011", "00280100"))
    samples, frames = (_number(metadata, tag) or 1 for tag in ("00280002", "00280008"))
    return (rows * columns * bits * samples * frames + 7) // 8


def text_of(metadata: Mapping[str, Any], tag: str) -> str:
    """First value of an attribute as text, empty where it has none."""
    values = metadata.get(tag, {}).get("Value") or [""]
    return str(values[0]) if not isinstance(values[0], dict) else ""


def _number(metadata: Mapping[str, Any], tag: str) -> int:
    text = text_of(metadata, tag)
    return int(float(text)) if text.replace(".", "", 1).isdigit() else 0


def _element(tag: str, entry: Mapping[str, Any]) -> Dataset | None:
    """Read one attribute, and see whether it can be written: what cannot is told, not lost with all others."""
    try:
        ds = Dataset.from_json({tag: dict(entry)}, bulk_data_uri_handler=_no_bulk_data)
        _written(ds)
    except Exception:
        return None
    return ds


def _no_bulk_data(tag: str, vr: str, uri: str) -> bytes | None:
    """Leave out values inside sequences that the server keeps apart."""
    return None


def _written(ds: Dataset) -> bytes:
    buffer = BytesIO()
    whole = Dataset()
    whole.update(ds)
    whole.file_meta = FileMetaDataset()
    whole.file_meta.FileMetaInformationGroupLength = 0  # pydicom writes what it is
    whole.file_meta.FileMetaInformationVersion = b"\0\1"
    whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    whole.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", "")
    whole.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "")
    whole.preamble = b"\0" * 128
    dcmwrite(buffer, whole, enforce_file_format=False)
    return buffer.getvalue()


def _is_ascii(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii()
    if isinstance(value, Mapping):
        return all(_is_ascii(one) for one in value.values())
    return all(_is_ascii(one) for one in value) if isinstance(value, list) else True


def _name_of(tag: str) -> str:
    return keyword_for_tag(int(tag, 16)) or f"({tag[:4]},{tag[4:]})"
