"""Make instances of pictures and documents: PNG, JPEG (PS3.3 A.8.1 Secondary Capture, A.2), PDF (PS3.3 A.45.1)."""

import warnings
from io import BytesIO

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from researchpacs.dicom.uids import IMPLEMENTATION_CLASS_UID
from researchpacs.errors import InvalidInputError

__all__ = ["complete", "image_instance", "pdf_instance"]

_MAX_PIXELS = 1 << 28
# Of type 2 in the Patient and General Study modules, so they are there without a value.
_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "SeriesNumber",
    "InstanceNumber",
)


def image_instance(content: bytes) -> Dataset:
    """Make an image of a PNG or JPEG: grey of 8 or 16 bits, or RGB; transparency is laid over black.

    Raises
    ------
    InvalidInputError
        Neither a PNG nor a JPEG, broken, or larger than 2^28 pixels.
    """
    pixels = _pixels(content)
    ds = Dataset()
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.Modality, ds.ConversionType = "OT", "WSD"
    bits = pixels.dtype.itemsize * 8
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    ds.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits, bits - 1, 0
    value = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = value + b"\0" * (len(value) % 2)
    ds["PixelData"].VR = "OW" if bits == 16 else "OB"
    return ds


def pdf_instance(content: bytes) -> Dataset:
    """Make an encapsulated document of a PDF.

    Raises
    ------
    InvalidInputError
        No PDF.
    """
    if not content.startswith(b"%PDF-"):
        raise InvalidInputError("the document is no PDF")
    ds = Dataset()
    ds.SOPClassUID = EncapsulatedPDFStorage
    ds.Modality, ds.ConversionType = "DOC", "WSD"
    ds.BurnedInAnnotation, ds.DocumentTitle, ds.ConceptNameCodeSequence = "YES", "", []
    ds.ContentDate, ds.ContentTime, ds.AcquisitionDateTime = "", "", ""
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    ds.EncapsulatedDocumentLength = len(content)
    return ds


def complete(ds: Dataset) -> bytes:
    """Give a data set what every instance has, where it lacks it, and write it as a file."""
    for keyword in _EMPTY:
        if keyword not in ds:
            setattr(ds, keyword, None)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        if not ds.get(keyword):
            setattr(ds, keyword, generate_uid(prefix=None))
    if "SOPClassUID" not in ds:
        raise InvalidInputError("an instance without content takes a SOPClassUID")
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    buffer = BytesIO()
    try:
        ds.save_as(buffer, enforce_file_format=True)
    except Exception as error:
        # The message may quote a value, so only its kind is told.
        raise InvalidInputError(f"a value does not fit its attribute ({type(error).__name__})") from error
    return buffer.getvalue()


def _pixels(content: bytes) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(BytesIO(content), formats=("PNG", "JPEG"))
            if image.width * image.height > _MAX_PIXELS:
                raise InvalidInputError("the picture is larger than 2^28 pixels")
            if image.mode.startswith("I;16") or image.mode == "I":
                return np.asarray(image).astype(np.uint16)
            if image.mode in ("L", "1"):
                return np.asarray(image.convert("L"))
            if "A" in image.mode or "transparency" in image.info:
                layer = image.convert("RGBA")
                flat = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
                return np.asarray(flat.convert("RGB"))
            return np.asarray(image.convert("RGB"))
    except InvalidInputError:
        raise
    except Exception as error:
        raise InvalidInputError("the picture cannot be read as PNG or JPEG") from error
