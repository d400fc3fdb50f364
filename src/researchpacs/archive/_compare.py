"""Whether two files hold one object in two transfer syntaxes: the same elements and the same decoded pixels.

Anything in doubt (a value that cannot be written, pixels that cannot be decoded, lossy compression) is "not the same":
the second file is then kept aside, so nothing is lost.
"""

import itertools
import warnings
from typing import BinaryIO

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.pixels.utils import iter_pixels

__all__ = ["same_object"]

_PIXELS = frozenset({0x7FE00010, 0x7FE00008, 0x7FE00009})
# What follows from the way pixels are written (PS3.5 8.2): the offset tables, and colour model and order of samples,
# which decoding undoes; and padding after the data set (PS3.10 7.2).
_OF_THE_ENCODING = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003, 0x00280004, 0x00280006, 0xFFFCFFFC})


def same_object(one: BinaryIO, two: BinaryIO) -> bool:
    """Compare two DICOM files, each opened at its start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, second = dcmread(one, force=True), dcmread(two, force=True)
        try:
            return _elements(first) == _elements(second) and _same_pixels(first, second)
        except Exception:
            return False


def _elements(ds: Dataset) -> bytes:
    """Every element but the pixels in one encoding, so that equal values are equal bytes."""
    plain = Dataset()
    for tag in ds.keys():  # noqa: SIM118 - iterating a Dataset would decode the pixel data
        if int(tag) not in _PIXELS and int(tag) not in _OF_THE_ENCODING and tag.element != 0:
            plain[tag] = ds[tag]
    _define_lengths(plain)
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_dataset(buffer, plain)
    pixels = sorted(f"{int(tag):08x}" for tag in ds.keys() if int(tag) in _PIXELS)  # noqa: SIM118
    return buffer.getvalue() + "".join(pixels).encode()


def _define_lengths(ds: Dataset) -> None:
    """Write sequences with defined lengths, whatever the file had."""
    for element in ds:
        if element.VR == "SQ":
            element.is_undefined_length = False
            for item in element.value:
                item.is_undefined_length_sequence_item = False
                _define_lengths(item)


def _same_pixels(first: Dataset, second: Dataset) -> bool:
    if not any(tag in first for tag in _PIXELS):
        return True
    frames = itertools.zip_longest(iter_pixels(first), iter_pixels(second))
    return all(a is not None and b is not None and np.array_equal(a, b) for a, b in frames)
