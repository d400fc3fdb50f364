"""What the first bytes of a compressed frame say about it, before a codec allocates anything."""

import struct
from dataclasses import dataclass

__all__ = ["Codestream", "read_codestream"]

# JPEG (ISO/IEC 10918-1 B.1.1.3) and JPEG-LS (ISO/IEC 14495-1 C.1.1) markers that begin a frame header
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_STANDALONE_MARKERS = frozenset((0x01, *range(0xD0, 0xD8)))
_EOI = b"\xff\xd9"
_SOT = b"\xff\x90"
_ADOBE = 0xEE
_NOT_SUBSAMPLED = b"\1\1"
_MOST_SAMPLES = 4
_J2K_MAGIC = b"\xff\x4f\xff\x51"
_JP2_MAGIC = b"\x00\x00\x00\x0cjP  "


@dataclass(frozen=True, slots=True)
class Codestream:
    """Shape of a compressed frame as its own header has it."""

    rows: int
    columns: int
    samples: int
    precision: int
    """Bits of a sample."""
    signed: bool = False
    """JPEG and JPEG-LS know no sign, JPEG 2000 does."""
    ends: bool = True
    """Whether its end is there: some codecs make up what is missing."""
    adobe_transform: int | None = None
    """Of colour JPEG what Adobe's marker says: 0 not transformed, 1 YCbCr; None without the marker."""


def read_codestream(data: bytes) -> Codestream | None:
    """Read the frame header of JPEG, JPEG-LS or JPEG 2000; None where there is none."""
    try:
        if data.startswith(_JP2_MAGIC):
            data = data[_find_jp2_codestream(data) :]
        if data.startswith(_J2K_MAGIC):
            return _read_siz(data)
        if data.startswith(b"\xff\xd8"):
            return _read_sof(data)
    except (struct.error, IndexError):
        return None
    return None


def _read_siz(data: bytes) -> Codestream:
    """Read the SIZ segment of JPEG 2000 (ISO/IEC 15444-1 A.5.1).

    A codec may never end where tiles do not lie on the image.
    """
    width, height, left, top, *tile, samples = struct.unpack_from(">8IH", data, 8)
    for low, high, size, origin in ((left, width, tile[0], tile[2]), (top, height, tile[1], tile[3])):
        if not (low < high and size and origin <= low < origin + size):
            raise struct.error("tiles that are not on the image")
    if any(data[43 + 3 * k : 45 + 3 * k] != _NOT_SUBSAMPLED for k in range(min(samples, _MOST_SAMPLES))):
        raise struct.error("samples of different size")
    depth = data[42]
    precision, signed = (depth & 0x7F) + 1, bool(depth & 0x80)
    return Codestream(height - top, width - left, samples, precision, signed, ends=_has_all_tile_parts(data))


def _has_all_tile_parts(data: bytes) -> bool:
    """Whether every tile-part of JPEG 2000 is as long as it says (ISO/IEC 15444-1 A.4.2).

    The End of Codestream marker may be missing, but for a tile-part of length 0, which ends there.
    """
    position = 2
    while data[position : position + 2] != _SOT:
        position += 2 + max(2, struct.unpack_from(">H", data, position + 2)[0])
    while data[position : position + 2] == _SOT:
        (length,) = struct.unpack_from(">I", data, position + 6)
        if length < 12:
            return length == 0 and data.find(_EOI, position) >= 0
        position += length
    return position <= len(data)


def _read_sof(data: bytes) -> Codestream | None:
    position, transform = 2, None
    while True:
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _FRAME_MARKERS:
            precision, rows, columns, samples = struct.unpack_from(">BHHB", data, position + 4)
            # the marker of the end stands in no entropy-coded data
            ends = data.find(_EOI, position) >= 0
            return Codestream(rows, columns, samples, precision, ends=ends, adobe_transform=transform)
        elif marker in _STANDALONE_MARKERS:
            position += 2
        else:
            (length,) = struct.unpack_from(">H", data, position + 2)
            if marker == _ADOBE and length >= 14 and data[position + 4 : position + 9] == b"Adobe":
                transform = data[position + 15]
            position += 2 + max(2, length)


def _find_jp2_codestream(data: bytes) -> int:
    """Offset of the contiguous codestream in a JP2 file (ISO/IEC 15444-1 I.4)."""
    position = 0
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"jp2c":
            return position + (16 if length == 1 else 8)
        if length < 8:
            raise struct.error("box of no length")
        position += length
