"""Identifiers of queries: bytes from a peer to a data set and back (PS3.4 C.4.1.1.3).

They meet the same guarded walk as every file before pydicom sees them.
"""

import io
import warnings
from collections.abc import Sequence

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from researchpacs.archive._dimse._contexts import IMPLICIT
from researchpacs.dicom._walk import Walk
from researchpacs.dicom._walk_window import Window
from researchpacs.dicom.header import read_header

__all__ = ["read_identifier", "write_identifier"]

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_UTF_8 = "ISO_IR 192"


def read_identifier(data: bytes, transfer_syntax_uid: str) -> Dataset:
    """Parse an identifier.

    Raises
    ------
    InvalidInputError
        Its structure is not sound.
    """
    implicit, little = transfer_syntax_uid == IMPLICIT, transfer_syntax_uid != _BIG_ENDIAN
    Walk(Window(io.BytesIO(data)), 0, implicit=implicit, little_endian=little, wanted=()).run()
    return read_header(data, dataset_offset=0, transfer_syntax_uid=transfer_syntax_uid)


def write_identifier(ds: Dataset, transfer_syntax_uid: str) -> bytes:
    """Encode an identifier, in UTF-8 where ASCII is not enough."""
    if not _is_ascii(ds):
        ds.SpecificCharacterSet = _UTF_8
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = transfer_syntax_uid == IMPLICIT
    buffer.is_little_endian = transfer_syntax_uid != _BIG_ENDIAN
    with warnings.catch_warnings():
        # Stored values may break their VR; they are told as they are.
        warnings.simplefilter("ignore")
        write_dataset(buffer, ds)
    return buffer.getvalue()


def _is_ascii(ds: Dataset) -> bool:
    return all(_texts_are_ascii(element.value) for element in ds)


def _texts_are_ascii(value: object) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return all(_is_ascii(one) if isinstance(one, Dataset) else _texts_are_ascii(one) for one in value)
    return str(value).isascii()
