"""The pixels of a stored instance: its frames as they are written, as they are stored and as they are displayed."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from researchpacs.archive import Stored
from researchpacs.archive.holdings import open_instance
from researchpacs.dicom.encapsulation import frame_ranges, join_fragments
from researchpacs.dicom.frames import FrameRow, frames_of
from researchpacs.dicom.header import read_header
from researchpacs.dicom.pixels import PixelLayout, decode_frame, decode_instance, layout_of
from researchpacs.server.budget import check_frame
from researchpacs.server.orthanc.errors import OrthancError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Image"]

_NO_IMAGE = (415, "the instance has no pixels")


class Image:
    """An instance whose file is open; a context manager, for one thread.

    Parameters
    ----------
    stored
        What the ledger knows of it.

    Raises
    ------
    OrthancError
        It has no pixels.
    """

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self._file = open_instance(stored)

    def __enter__(self) -> "Image":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @cached_property
    def header(self) -> "Dataset":
        """The data set up to its pixels."""
        return read_header(
            self._read(0, self.stored.header_length),
            dataset_offset=self.stored.dataset_offset,
            transfer_syntax_uid=self.stored.transfer_syntax_uid,
        )

    @cached_property
    def layout(self) -> PixelLayout:
        """How the pixels are written."""
        layout = layout_of(self.header, self.stored.transfer_syntax_uid)
        if layout is None or layout.number_of_frames < 1:
            raise OrthancError(*_NO_IMAGE)
        return layout

    @cached_property
    def _ranges(self) -> list[tuple[int, int]] | None:
        ranges = frame_ranges(self._read, self.stored.header_length, self.stored.size, self.layout)
        if ranges == []:
            raise OrthancError(*_NO_IMAGE)
        return ranges

    @property
    def rows(self) -> list[FrameRow]:
        """What is said of each frame: rescale among it."""
        return frames_of(self.header, self.layout, self._ranges)

    def stored_frame(self, index: int) -> bytes:
        """A frame's bytes: native ones as they stand in the file, a compressed frame without its fragments' headers."""
        layout = self.layout
        if self._ranges is None:
            frame = self.decoded_frame(index)
            return frame.astype(frame.dtype.newbyteorder("<")).tobytes()
        data = self._read(*self._ranges[self._checked(index)])
        return data if layout.is_native else join_fragments(data)

    def decoded_frame(self, index: int) -> np.ndarray:
        """A frame's stored values, ``(rows, columns)`` or ``(rows, columns, 3)`` in RGB."""
        layout = self.layout
        check_frame(layout)
        if self._ranges is None:
            return decode_instance(self._read(0, self.stored.size), self._checked(index), layout)
        return decode_frame(self._read(*self._ranges[self._checked(index)]), layout)

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.layout.number_of_frames:
            raise OrthancError(400, f"the instance has {self.layout.number_of_frames} frames, counted from 0")
        return index

    def _read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)
