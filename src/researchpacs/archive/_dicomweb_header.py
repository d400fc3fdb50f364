"""DICOM JSON metadata (PS3.18 F) -> the header of an instance as a file, so that it is read as every other header."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from pydicom import Dataset, dcmwrite
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import InvalidInputError

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
    wanted: dict[str, Mapping[str, Any]] = {}
    for tag, entry in sorted(metadata.items()):
        if tag in _PIXELS or tag.startswith("0002") or tag == _CHARACTER_SET:
            continue
        if "BulkDataURI" in entry:
            problems.append((_name_of(tag), "is kept apart by the server and not in the catalog"))
        else:
            wanted[tag] = entry
    # JSON is Unicode, whatever the file was; plain ASCII needs no declaration.
    character_set = "" if _is_ascii(metadata) else _UNICODE
    with reading_quietly():
        header = _as_file(wanted, character_set)
        if header is None:
            # Something cannot be written: leave that out and tell it, rather than lose all others with it.
            good = {tag: entry for tag, entry in wanted.items() if _as_file({tag: entry}, character_set) is not None}
            problems += [(_name_of(tag), "could not be read from what the server sent") for tag in wanted.keys() - good]
            header = _as_file(good, character_set)
    if header is None:
        raise InvalidInputError("the metadata that the server sent cannot be read")
    return header, tuple(problems)


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


def _as_file(attributes: Mapping[str, Mapping[str, Any]], character_set: str) -> bytes | None:
    """Write attributes as a file; None where one of them cannot be."""
    try:
        json = {tag: dict(entry) for tag, entry in attributes.items()}
        return _written(Dataset.from_json(json, bulk_data_uri_handler=_no_bulk_data), character_set)
    except Exception:  # pydicom lets out whatever its converters raise
        return None


def _no_bulk_data(tag: str, vr: str, uri: str) -> bytes | None:
    """Leave out values inside sequences that the server keeps apart."""
    return None


def _written(ds: Dataset, character_set: str) -> bytes:
    buffer = BytesIO()
    if character_set:
        ds.SpecificCharacterSet = character_set
    ds.file_meta = FileMetaDataset()
    ds.file_meta.FileMetaInformationGroupLength = 0  # pydicom writes what it is
    ds.file_meta.FileMetaInformationVersion = b"\0\1"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", "")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "")
    ds.preamble = b"\0" * 128
    dcmwrite(buffer, ds, enforce_file_format=False)
    return buffer.getvalue()


def _is_ascii(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii()
    if isinstance(value, Mapping):
        return all(_is_ascii(one) for one in value.values())
    return all(_is_ascii(one) for one in value) if isinstance(value, list) else True


def _name_of(tag: str) -> str:
    return keyword_for_tag(int(tag, 16)) or f"({tag[:4]},{tag[4:]})"
