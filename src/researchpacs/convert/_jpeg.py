"""A JPEG's own parameters (ISO/IEC 10918-1), and its stream without what cameras and phones write beside it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from researchpacs.errors import InvalidInputError

__all__ = ["Jpeg", "read_jpeg"]

_BASELINE = 0xC0
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_KEPT = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD, _SCAN, *_FRAMES})
_APP0, _APP2, _APP14 = 0xE0, 0xE2, 0xEE
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
_JFIF, _ADOBE, _ICC = b"JFIF\0", b"Adobe", b"ICC_PROFILE\0"
_TRUNCATED = "the JPEG is damaged or truncated"


@dataclass(frozen=True, slots=True)
class Jpeg:
    """What the markers say."""

    stream: bytes
    """From SOI to EOI: no EXIF, XMP, IPTC, comment, thumbnail or second picture, and nothing behind the end."""
    process: int
    """Marker of the frame header: 0xC0 for baseline."""
    precision: int
    rows: int
    columns: int
    components: bytes
    """Their identifiers."""
    adobe_transform: int | None
    is_jfif: bool
    icc_profile: bytes

    @property
    def is_baseline(self) -> bool:
        """Whether JPEG Baseline (Process 1) decoders read it, with one or three components."""
        return self.process == _BASELINE and self.precision == 8 and len(self.components) in (1, 3)

    @property
    def photometric_interpretation(self) -> str:
        """How a baseline stream means its components, by the rules that all JPEG decoders keep."""
        if len(self.components) == 1:
            return "MONOCHROME2"
        told_rgb = self.components == b"RGB" if self.adobe_transform is None else self.adobe_transform == 0
        if told_rgb and not self.is_jfif:
            return "RGB"
        # Whatever the sampling is, which the stream itself tells (PS3.3 C.7.6.3.1.2, C.8.12.4.1.5).
        return "YBR_FULL_422"


def read_jpeg(content: bytes) -> Jpeg:
    """Walk the markers up to the end of the picture; its compressed data stays bit for bit.

    Raises
    ------
    InvalidInputError
        Damaged, truncated, or a hierarchy of pictures.
    """
    segments = list(_segments(content))
    frames = [(marker, segment) for marker, segment, _ in segments if marker in _FRAMES]
    if len(frames) != 1:
        raise InvalidInputError(f"a JPEG that holds {len(frames)} pictures; save one of them")
    process, frame = frames[0]
    count = frame[5] if len(frame) > 5 else 0
    if not count or len(frame) < 6 + 3 * count:
        raise InvalidInputError(_TRUNCATED)
    kept = [(marker, _without_extras(marker, segment), scan) for marker, segment, scan in segments]
    jfif, adobe, icc = _colour_of(segments)
    return Jpeg(
        stream=b"".join((b"\xff\xd8", *(_written(*one) for one in kept), b"\xff\xd9")),
        process=process,
        precision=frame[0],
        rows=int.from_bytes(frame[1:3], "big"),
        columns=int.from_bytes(frame[3:5], "big"),
        components=frame[6 : 6 + 3 * count : 3],
        adobe_transform=adobe,
        is_jfif=jfif,
        icc_profile=icc,
    )


def _without_extras(marker: int, segment: bytes) -> bytes | None:
    """Give what a decoder needs of a segment, None where that is nothing."""
    if marker == _APP0 and segment.startswith(_JFIF) and len(segment) >= 14:
        return segment[:12] + b"\0\0"  # the size of a thumbnail, which is left out
    if marker == _APP14 and segment.startswith(_ADOBE) and len(segment) >= 12:
        return segment[:12]
    return segment if marker in _KEPT else None


def _written(marker: int, segment: bytes | None, scan: bytes) -> bytes:
    if segment is None:
        return b""
    return bytes((0xFF, marker)) + (len(segment) + 2).to_bytes(2, "big") + segment + scan


def _colour_of(segments: list[tuple[int, bytes, bytes]]) -> tuple[bool, int | None, bytes]:
    """Whether there is a JFIF header; the transform that an Adobe marker tells; the ICC profile."""
    jfif, adobe, parts = False, None, {}
    for marker, segment, _ in segments:
        if marker == _APP0 and segment.startswith(_JFIF):
            jfif = True
        elif marker == _APP14 and segment.startswith(_ADOBE) and len(segment) >= 12:
            adobe = segment[11]
        elif marker == _APP2 and segment.startswith(_ICC) and len(segment) > 14:
            parts[segment[12]] = segment[14:]
    return jfif, adobe, b"".join(parts[number] for number in sorted(parts))


def _segments(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Give each marker with its parameters, and for a scan the compressed data behind it."""
    position = 2
    while True:
        while content[position : position + 2] == b"\xff\xff":
            position += 1
        if len(content) < position + 2 or content[position] != 0xFF:
            raise InvalidInputError(_TRUNCATED)
        marker = content[position + 1]
        position += 2
        if marker == _END:
            return
        if marker in _ALONE:
            continue
        length = int.from_bytes(content[position : position + 2], "big")
        segment = content[position + 2 : position + length]
        if length < 2 or len(segment) != length - 2 or marker == _START:
            raise InvalidInputError(_TRUNCATED)
        position += length
        scan = b""
        if marker == _SCAN:
            found = _NEXT_MARKER.search(content, position)
            if not found:
                raise InvalidInputError(_TRUNCATED)
            scan, position = content[position : found.start()], found.start()
        yield marker, segment, scan
