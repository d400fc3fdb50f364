"""Where each frame's bytes are in an instance (PS3.5 8, A.4; PS3.3 C.7.6.3.1.8)."""

import itertools
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from researchpacs.dicom.pixels import PixelLayout
from researchpacs.errors import PixelDataError

__all__ = ["VIDEOS", "frame_ranges", "join_fragments", "pixels_end"]

Read = Callable[[int, int], bytes]
"""Reads ``(offset, length)`` of the instance's file; fewer bytes where it ends."""

_DEFLATED = "1.2.840.10008.1.2.1.99"
VIDEOS = "1.2.840.10008.1.2.4.10"
"""What the UIDs of MPEG-2, H.264 and H.265 begin with (1.2.840.10008.1.2.4.100 to .108, PS3.6 A)."""
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_UNDEFINED = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"
_END = b"\xfe\xff\xdd\xe0"
_ITEM_HEADER = 8
_PIXEL_ELEMENTS = {0x7FE00010: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}
_PIXEL_VRS = frozenset((b"OB", b"OW", b"OF", b"OD", b"UN"))
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP")
"""First bytes of a JPEG, JPEG-LS, JPEG 2000 codestream and of a JP2 file."""


class _Pixels(NamedTuple):
    vr: bytes
    value: int
    length: int


class _Fragment(NamedTuple):
    offset: int
    """Of the item tag."""
    end: int
    starts_frame: bool


def frame_ranges(read: Read, header_length: int, size: int, layout: PixelLayout) -> list[tuple[int, int]] | None:
    """Find the bytes of every frame of an instance.

    Parameters
    ----------
    read
        Reads ``(offset, length)`` of the instance's file.
    header_length
        Offset of the pixel data element.
    size
        Bytes of the file.
    layout
        How the pixels are written.

    Returns
    -------
    ranges
        ``(byte_offset, byte_length)`` by frame: the bare bytes of a native frame; of an encapsulated one the items of
        its fragments, their headers included. Empty where the instance has no pixel data. None where a frame is no
        range of whole bytes that stands for itself, so that the instance has to be read in full
        (`researchpacs.dicom.pixels.decode_instance`): deflated data sets, videos, bit-packed frames that do not fill
        whole bytes, 8-bit frames in big endian words, and values that do not stand in the low bits.

    Raises
    ------
    PixelDataError
        The element, its table or its fragments do not hold the frames that the layout declares.
    """
    if layout.transfer_syntax_uid == _DEFLATED or layout.transfer_syntax_uid.startswith(VIDEOS):
        return None
    if header_length >= size:
        return []
    pixels = _read_element(read, header_length, size, layout)
    if pixels.length != _UNDEFINED:
        return _native_ranges(pixels, layout)
    if layout.is_native:
        raise PixelDataError(f"{layout.pixel_keyword} holds fragments, which the transfer syntax has no place for")
    return _encapsulated_ranges(read, header_length, pixels.value, size, layout)


def pixels_end(read: Read, header_length: int, size: int, layout: PixelLayout) -> int | None:
    """Where the pixel data element of an instance ends; None where the whole data set is deflated.

    Parameters
    ----------
    read, header_length, size, layout
        As for `frame_ranges`.

    Raises
    ------
    PixelDataError
        It has none, or one that does not end.
    """
    if layout.transfer_syntax_uid == _DEFLATED:
        return None
    pixels = _read_element(read, header_length, size, layout)
    if pixels.length != _UNDEFINED:
        return pixels.value + pixels.length
    end = pixels.value
    for fragment in _fragments(read, pixels.value, size):
        end = fragment.end
    return end + _ITEM_HEADER


def join_fragments(data: bytes | memoryview) -> bytes:
    """Take the compressed frame out of the items of its fragments.

    Raises
    ------
    PixelDataError
        The bytes are not exactly a row of items.
    """
    view, position, parts = memoryview(data), 0, []
    while position < len(view):
        header = bytes(view[position : position + _ITEM_HEADER])
        length = int.from_bytes(header[4:], "little")
        position += _ITEM_HEADER + length
        if header[:4] != _ITEM or position > len(view):
            raise PixelDataError("the frame's bytes are not the items of its fragments; find them with frame_ranges()")
        parts.append(view[position - length : position])
    return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)


def _read_element(read: Read, offset: int, size: int, layout: PixelLayout) -> _Pixels:
    """Read the header of the pixel data element; it has a VR or none, whatever was declared.

    A length is even, and its bytes therefore never read as one of these VRs.
    """
    order = ">" if layout.transfer_syntax_uid == _BIG_ENDIAN else "<"
    header = read(offset, 12)
    if len(header) < 8:
        raise PixelDataError(f"no pixel data element at byte {offset}")
    group, number = struct.unpack_from(order + "HH", header)
    vr = header[4:6]
    if vr in _PIXEL_VRS and len(header) == 12:
        (length,) = struct.unpack_from(order + "I", header, 8)
        value = offset + 12
    else:
        (length,) = struct.unpack_from(order + "I", header, 4)
        value, vr = offset + 8, b""
    if _PIXEL_ELEMENTS.get(group << 16 | number) != layout.pixel_keyword:
        raise PixelDataError(f"({group:04X},{number:04X}) at byte {offset} where {layout.pixel_keyword} was expected")
    if length != _UNDEFINED and value + length > size:
        raise PixelDataError(f"{layout.pixel_keyword} declares {length} bytes where {size - value} are left")
    return _Pixels(vr, value, length)


def _native_ranges(pixels: _Pixels, layout: PixelLayout) -> list[tuple[int, int]] | None:
    bits = layout.frame_bits
    if bits <= 0 or layout.number_of_frames <= 0:
        raise PixelDataError(f"frames of {bits} bits cannot be; Rows, Columns or BitsAllocated is wrong")
    if pixels.length * 8 < bits * layout.number_of_frames:
        raise PixelDataError(
            f"{layout.pixel_keyword} has {pixels.length} bytes, "
            f"too few for {layout.number_of_frames} frames of {bits} bits"
        )
    words = layout.transfer_syntax_uid == _BIG_ENDIAN and pixels.vr == b"OW" and layout.bits_allocated <= 8
    if words or layout.high_bit is not None or (bits % 8 and layout.number_of_frames > 1):
        return None
    length = (bits + 7) // 8
    return [(pixels.value + index * length, length) for index in range(layout.number_of_frames)]


def _encapsulated_ranges(
    read: Read, header_length: int, value: int, size: int, layout: PixelLayout
) -> list[tuple[int, int]]:
    frames = layout.number_of_frames
    if frames <= 0:
        raise PixelDataError(f"{frames} frames cannot be; NumberOfFrames is wrong")
    header = read(value, _ITEM_HEADER)
    table_bytes = int.from_bytes(header[4:8], "little")
    if header[:4] != _ITEM or value + _ITEM_HEADER + table_bytes > size:
        raise PixelDataError(f"no Basic Offset Table at byte {value}")
    first = value + _ITEM_HEADER + table_bytes
    extended = _extended_table(read, header_length, frames)
    if extended and all(_is_fragment(read, first, size, one) for one in (extended[0], extended[-1])):
        # the lengths are those of the fragments, without the padding byte and the item header
        return [(first + offset, _ITEM_HEADER + length + length % 2) for offset, length in extended]
    fragments = list(_fragments(read, first, size))
    if table_bytes == 4 * frames > 4:
        starts = {fragment.offset - first: k for k, fragment in enumerate(fragments)}
        told = [starts.get(one, -1) for one in struct.unpack(f"<{frames}I", read(value + _ITEM_HEADER, table_bytes))]
        if told[0] == 0 and all(low < high for low, high in itertools.pairwise(told)):
            return _spans(fragments, told)
    return _ranges_of_fragments(fragments, frames)


def _is_fragment(read: Read, first: int, size: int, place: tuple[int, int]) -> bool:
    """Whether a table tells of a fragment where there is one."""
    offset, length = place
    header = read(first + offset, _ITEM_HEADER)
    told = length + length % 2
    is_item = header[:4] == _ITEM and int.from_bytes(header[4:], "little") == told
    return is_item and first + offset + _ITEM_HEADER + told <= size


def _extended_table(read: Read, header_length: int, frames: int) -> list[tuple[int, int]] | None:
    """Read the Extended Offset Table and its lengths, which stand right before the pixel data, if they are there."""
    table = 12 + 8 * frames
    for between in (0, 20):  # (7FE0,0003) Encapsulated Pixel Data Value Total Length may follow
        start = header_length - between - 2 * table
        if start < 0:
            continue
        data = read(start, 2 * table)
        if data[:6] == b"\xe0\x7f\x01\x00OV" and data[table : table + 6] == b"\xe0\x7f\x02\x00OV":
            offsets = struct.unpack_from(f"<{frames}Q", data, 12)
            lengths = struct.unpack_from(f"<{frames}Q", data, table + 12)
            if offsets[0] == 0 and all(
                low + length + _ITEM_HEADER <= high
                for (low, high), length in zip(itertools.pairwise(offsets), lengths, strict=False)
            ):
                return list(zip(offsets, lengths, strict=True))
    return None


def _fragments(read: Read, position: int, size: int) -> Iterator[_Fragment]:
    """Walk fragments up to the sequence delimiter."""
    while True:
        header = read(position, 16)
        tag, length = header[:4], int.from_bytes(header[4:8], "little")
        if tag == _END:
            return
        end = position + _ITEM_HEADER + length
        if tag != _ITEM or end > size:
            raise PixelDataError(f"no fragment and no delimiter at byte {position}")
        yield _Fragment(position, end, length >= 3 and header[8:].startswith(_STARTS))
        position = end


def _ranges_of_fragments(fragments: list[_Fragment], frames: int) -> list[tuple[int, int]]:
    """Share fragments out among frames without a table: one each, all to one, or by codestreams that begin."""
    if len(fragments) == frames:
        starts = list(range(frames))
    elif frames == 1 and fragments:
        starts = [0]
    else:
        starts = [index for index, fragment in enumerate(fragments) if fragment.starts_frame]
        if len(starts) != frames or starts[0] != 0:
            raise PixelDataError(
                f"{len(fragments)} fragments for {frames} frames without an offset table, and {len(starts)} of them "
                "begin a codestream"
            )
    return _spans(fragments, starts)


def _spans(fragments: list[_Fragment], starts: list[int]) -> list[tuple[int, int]]:
    """Give the bytes of frames by the number of the fragment that each begins with."""
    bounds = [*starts, len(fragments)]
    return [
        (fragments[low].offset, fragments[high - 1].end - fragments[low].offset)
        for low, high in itertools.pairwise(bounds)
    ]
