"""Whole instances in another transfer syntax, in turn and only as large as memory allows."""

from pydicom.uid import ExplicitVRLittleEndian

from researchpacs.archive import Stored
from researchpacs.archive.holdings import open_instance
from researchpacs.dicom.header import read_header
from researchpacs.dicom.native import as_explicit_little_endian
from researchpacs.dicom.pixels import layout_of
from researchpacs.dicom.preamble import safe_preamble
from researchpacs.dicom.transcode import transcode
from researchpacs.errors import PixelDataError
from researchpacs.server.budget import MOST_WHOLE_BYTES, check_whole, frame_bytes, in_turn

__all__ = ["transcoded"]


def transcoded(stored: Stored, to: str) -> bytes:
    """Make the file of an instance in another transfer syntax, with a harmless preamble.

    Raises
    ------
    PixelDataError
        Its pixels cannot be decoded or written so, or are too many for memory.
    UnsupportedError
        Nothing here writes that transfer syntax.
    """
    if stored.size > MOST_WHOLE_BYTES:
        raise PixelDataError("the instance is too large to be transcoded at once; take it as it is stored")
    syntax = stored.transfer_syntax_uid
    with open_instance(stored) as file:
        head = file.read(stored.header_length)
        header = read_header(head, dataset_offset=stored.dataset_offset, transfer_syntax_uid=syntax)
        layout, size = layout_of(header, syntax), 2 * stored.size
        if layout is not None and layout.number_of_frames > 0:
            check_whole(layout, stored.size)
            size += 2 * frame_bytes(layout) * layout.number_of_frames
        with in_turn(size):
            whole = head + file.read()
            if to == ExplicitVRLittleEndian:
                made = as_explicit_little_endian(whole, header_length=stored.header_length, transfer_syntax_uid=syntax)
            else:
                made = transcode(whole, header_length=stored.header_length, transfer_syntax_uid=syntax, to=to)
            return safe_preamble(made)
