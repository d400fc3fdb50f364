"""Data sets of sample data as files, the same bytes on every machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from researchpacs.dicom.uids import IMPLEMENTATION_CLASS_UID, derived_uid

__all__ = ["code", "decimals", "item", "sample_uid", "save"]


def save(ds: Dataset, path: Path) -> None:
    """Write a data set in Explicit VR Little Endian."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = "RESEARCHPACS"
    FileDataset(None, ds, preamble=b"\0" * 128, file_meta=meta).save_as(path, enforce_file_format=True)  # type: ignore[arg-type]


def item(**values: Any) -> Dataset:
    """Make an item of a sequence from attributes by keyword; lists of dicts become sequences of their own."""
    made = Dataset()
    for keyword, value in values.items():
        nested = isinstance(value, list) and value and isinstance(value[0], dict)
        setattr(made, keyword, [item(**one) for one in value] if nested else value)
    return made


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Make an item of a code sequence."""
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def decimals(values: Sequence[float]) -> list[str]:
    """Write numbers as DS, six digits behind the point."""
    return [f"{value:.6f}".rstrip("0").rstrip(".") for value in values]


def sample_uid(kind: str, *names: str) -> UID:
    """Make a UID that is the same on every machine."""
    return UID(derived_uid(kind, "sample data", *names))
