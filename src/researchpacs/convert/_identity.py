"""What every converted instance has: the patient, the study, and UIDs that are a hash of all its content.

The same source, ``like=`` and options make the same instances, whenever they are made: a second run of a notebook gives
duplicates. So nothing here tells a clock, a machine or a version.
"""

import hashlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from researchpacs.convert._subject import Subject, apply_attributes
from researchpacs.dicom.make import file_meta_of, set_empty
from researchpacs.dicom.uids import derived_uid
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import InvalidInputError

__all__ = ["MAKER", "MODEL_NAME", "completed"]

MAKER, MODEL_NAME = "researchpacs", "to_dicom"
_BULK = ("PixelData", "EncapsulatedDocument")


def completed(
    drafts: Sequence[Dataset], subject: Subject, attributes: Mapping[str, Any], *, transfer_syntax: str = ""
) -> list[Dataset]:
    """Make instances of one series of data sets that hold what their source holds.

    Parameters
    ----------
    drafts
        In the order of their InstanceNumber; changed in place. An empty FrameOfReferenceUID becomes one of their own.
    subject
        Patient and study.
    attributes
        What the user says beside.
    transfer_syntax
        Of all; explicit little endian by default.
    """
    for number, ds in enumerate(drafts, 1):
        ds.InstanceNumber = number
        ds.SpecificCharacterSet = "ISO_IR 192"
        for element in subject.header:
            ds[element.tag] = element
        apply_attributes(ds, attributes)
        set_empty(ds)
        if "EncapsulatedDocument" in ds and ds.SeriesNumber is None:
            ds.SeriesNumber = 1  # of type 1 in Encapsulated Document Series (PS3.3 C.24.1)
        if "Rows" in ds and not ds.get("BodyPartExamined") and "Laterality" not in ds:
            ds.Laterality = None  # unknown (PS3.3 C.7.3.1)
        ds.Manufacturer = ds.get("Manufacturer") or MAKER
        ds.ManufacturerModelName = ds.get("ManufacturerModelName") or MODEL_NAME
    digest = _digest(drafts)
    for number, ds in enumerate(drafts, 1):
        for level in ("Study", "Series"):
            if not ds.get(f"{level}InstanceUID"):
                setattr(ds, f"{level}InstanceUID", derived_uid(f"converted {level.lower()}", digest))
        if "FrameOfReferenceUID" in ds and not ds.FrameOfReferenceUID:
            ds.FrameOfReferenceUID = derived_uid("converted frame of reference", digest)
        ds.SOPInstanceUID = derived_uid("converted instance", digest, str(number))
        ds.file_meta = file_meta_of(ds, transfer_syntax or ExplicitVRLittleEndian)
    return list(drafts)


def _digest(drafts: Sequence[Dataset]) -> str:
    digest = hashlib.sha256()
    for ds in drafts:
        header = Dataset()
        for element in ds:
            if element.keyword in _BULK:
                digest.update(element.value)
            else:
                header[element.tag] = element
        digest.update(_written(header))
    return digest.hexdigest()


def _written(header: Dataset) -> bytes:
    buffer = BytesIO()
    try:
        # What other equipment wrote into like= may be odd; the header scan of ingest reports it.
        with reading_quietly():
            header.save_as(buffer, implicit_vr=False, little_endian=True)
    except Exception as error:
        # The message may quote a value, so only its kind is told.
        raise InvalidInputError(
            f"a value of like= or attributes= cannot be written ({type(error).__name__}); correct it first"
        ) from error
    return buffer.getvalue()
