"""One stored instance as the services read it: its header, its pixels' layout, its frames' bytes."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, ExplicitVRBigEndian

from researchpacs.archive import Stored
from researchpacs.archive.holdings import open_instance
from researchpacs.dicom.encapsulation import frame_ranges, join_fragments
from researchpacs.dicom.header import read_header, read_trailer
from researchpacs.dicom.pixels import PixelLayout, decode_frame, decode_instance, layout_of
from researchpacs.dicom.preamble import safe_preamble
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import NotFoundError
from researchpacs.server.budget import check_frame
from researchpacs.server.pieces import Piece, Stretch

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

__all__ = ["CHUNK", "OpenInstance", "pieces_of", "size_of"]

_PIXEL_KEYWORDS = {0x0010: "PixelData", 0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData"}
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"
_PREFIX = bytes(128) + b"DICM"
CHUNK = 1 << 20
"""Bytes that are read and sent at once."""
_OPENING = 132
"""Bytes of preamble and prefix."""


def pieces_of(stored: Stored) -> Iterator[Piece]:
    """The file as it goes out.

    It is the one that was stored, but that an executable preamble is blanked, and that an instance that came without
    what makes a file of it (PS3.10 7.1) gets that.
    """
    with open_instance(stored) as file:
        opening, done = file.read(_OPENING), 0
        safe = safe_preamble(opening)
        if added := _added(stored):
            yield added
        if safe != opening:
            yield safe
            done = len(opening)
        yield Stretch(file, done, stored.size - done)


def size_of(stored: Stored) -> int:
    """Bytes that `pieces_of` gives."""
    return stored.size + len(_added(stored))


def _added(stored: Stored) -> bytes:
    """Preamble, prefix and File Meta Information, as far as the file has none of its own."""
    if stored.dataset_offset == 0:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = UID(stored.sop_class_uid)
        meta.MediaStorageSOPInstanceUID = UID(stored.identity.sop_uid)
        meta.TransferSyntaxUID = UID(stored.transfer_syntax_uid)
        buffer = DicomBytesIO()
        with reading_quietly():
            write_file_meta_info(buffer, meta, enforce_standard=True)
        return _PREFIX + buffer.getvalue()
    if any(issue.keyword == "" and issue.problem == "has no preamble" for issue in stored.issues):
        return _PREFIX
    return b""


class OpenInstance:
    """An instance whose file is open; a context manager, for one thread.

    Parameters
    ----------
    stored
        What the ledger knows of it.
    """

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self._file: BinaryIO = open_instance(stored)

    def __enter__(self) -> "OpenInstance":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the file."""
        self._file.seek(offset)
        return self._file.read(length)

    @cached_property
    def header(self) -> "Dataset":
        """The data set up to its pixels."""
        return read_header(
            self.read(0, self.stored.header_length),
            dataset_offset=self.stored.dataset_offset,
            transfer_syntax_uid=self.stored.transfer_syntax_uid,
        )

    @property
    def data_set(self) -> "Dataset":
        """The header, and what stands after the pixels: private elements beyond group 7FE0, signatures, padding."""
        if not self.has_pixels or not self.frame_ranges:
            return self.header
        offset, length = max(self.frame_ranges)
        start = offset + length + (offset + length) % 2
        if self.read(start, 4) == _SEQUENCE_END:
            start += 8
        rest = self.read(start, self.stored.size - start)
        if len(rest) >= 8:
            self.header.update(read_trailer(rest, transfer_syntax_uid=self.stored.transfer_syntax_uid))
        return self.header

    @cached_property
    def layout(self) -> PixelLayout:
        """How its pixels are written.

        Raises
        ------
        NotFoundError
            It is no image.
        """
        layout = layout_of(self.header, self.stored.transfer_syntax_uid)
        if layout is None or not (self.has_pixels or self.frame_ranges is None):
            raise NotFoundError("the instance has no pixels")
        return layout

    @property
    def pixel_keyword(self) -> str | None:
        """PixelData, FloatPixelData or DoubleFloatPixelData; None where there is none of them."""
        if not self.has_pixels:
            return next((keyword for keyword in _PIXEL_KEYWORDS.values() if keyword in self.header), None)
        number = self.read(self.stored.header_length, 4)[2:]
        if self.stored.transfer_syntax_uid == ExplicitVRBigEndian:
            number = number[::-1]
        return _PIXEL_KEYWORDS.get(int.from_bytes(number, "little"))

    @property
    def has_pixels(self) -> bool:
        """Whether pixel data follow the header; a deflated data set holds them in its header."""
        return self.stored.header_length < self.stored.size

    @cached_property
    def frame_ranges(self) -> list[tuple[int, int]] | None:
        """Where each frame's bytes are; None where the instance has to be read in full."""
        layout = layout_of(self.header, self.stored.transfer_syntax_uid)
        if layout is None:
            return []
        return frame_ranges(self.read, self.stored.header_length, self.stored.size, layout)

    def stored_frame(self, index: int) -> bytes | None:
        """A frame as it is written, without fragment headers; None where it is no range of bytes."""
        if self.frame_ranges is None:
            return None
        offset, length = self.frame_ranges[self._checked(index)]
        data = self.read(offset, length)
        return data if self.layout.is_native else join_fragments(data)

    def decoded_frame(self, index: int) -> "np.ndarray":
        """A frame's stored values, ``(rows, columns)`` or ``(rows, columns, 3)`` in RGB."""
        check_frame(self.layout)
        if self.frame_ranges is None:
            return decode_instance(self.read(0, self.stored.size), self._checked(index), self.layout)
        offset, length = self.frame_ranges[self._checked(index)]
        return decode_frame(self.read(offset, length), self.layout)

    def _checked(self, index: int) -> int:
        count = self.layout.number_of_frames
        if not 0 <= index < count:
            raise NotFoundError(f"the instance has frames 1 to {count}; {index + 1} is none of them")
        return index
