"""Bytes that have passed the guarded scan -> a pydicom data set without pixel data."""

from io import BytesIO
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from researchpacs.dicom._walk_inflate import inflate
from researchpacs.dicom.values import reading_quietly

__all__ = ["read_header", "read_trailer"]


def read_header(data: bytes, *, dataset_offset: int, transfer_syntax_uid: str) -> Dataset:
    """Parse the part of an instance before its pixel data.

    What the scan found stands: no guess is made about where the data set begins or how it is written.

    Parameters
    ----------
    data
        The first bytes of the file, up to the pixel data element; all of it where the data set is deflated.
    dataset_offset
        First byte after the File Meta Information.
    transfer_syntax_uid
        As the scan recognised it.

    Returns
    -------
    ds
        Values are converted when they are asked for; broken ones raise then.
    """
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        inflated, _ = inflate(BytesIO(data), dataset_offset, len(data))
        with inflated:
            inflated.seek(0)
            return _parse(inflated, transfer_syntax_uid)
    return _parse(BytesIO(data[dataset_offset:]), transfer_syntax_uid)


def read_trailer(data: bytes, *, transfer_syntax_uid: str) -> Dataset:
    """Parse what stands after the pixel data: private elements beyond group 7FE0, signatures, padding."""
    return _parse(BytesIO(data), transfer_syntax_uid)


def _parse(file: BinaryIO, transfer_syntax_uid: str) -> Dataset:
    with reading_quietly():
        return read_dataset(
            file,
            is_implicit_VR=transfer_syntax_uid == ImplicitVRLittleEndian,
            is_little_endian=transfer_syntax_uid != ExplicitVRBigEndian,
        )
