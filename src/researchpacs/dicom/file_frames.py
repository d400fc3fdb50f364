"""The frames of an instance whose whole file is in memory, decoded one after another."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import numpy as np

from researchpacs.dicom.encapsulation import frame_ranges
from researchpacs.dicom.pixels import PixelLayout, decode_frame, decode_frames
from researchpacs.dicom.scan import scan
from researchpacs.errors import PixelDataError

__all__ = ["frames_of_file"]


def frames_of_file(data: bytes, layout: PixelLayout) -> Iterator[np.ndarray]:
    """Decode every frame, one at a time.

    Parameters
    ----------
    data
        The file; what a server sent may be written in another transfer syntax than it said.
    layout
        How the pixels are written.

    Raises
    ------
    PixelDataError
        Another number of frames than the header declares, or a frame that cannot be decoded.
    """
    found = scan(BytesIO(data))
    sent = replace(layout, transfer_syntax_uid=found.transfer_syntax_uid)
    ranges = frame_ranges(lambda offset, length: data[offset : offset + length], found.header_length, len(data), sent)
    if ranges is None:
        yield from decode_frames(data, sent)
        return
    if len(ranges) != layout.number_of_frames:
        raise PixelDataError(f"{layout.number_of_frames} frames are declared, {len(ranges)} are there")
    for offset, length in ranges:
        yield decode_frame(data[offset : offset + length], sent)
