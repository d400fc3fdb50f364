"""What an MP4 file says of its video (ISO/IEC 14496-12, -14, -15), and the same file without what is not the video.

Sizes, counts and times come from the container; profile, level and sampling from the configuration of the codec.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from researchpacs.convert._boxes import Box, boxes, only, unsigned
from researchpacs.errors import InvalidInputError, UnsupportedError

__all__ = ["Video", "read_mp4", "without_metadata"]

_TRACK_PATH = (b"mdia", b"minf", b"stbl")
_AVC, _HEVC = ("H.264", b"avcC"), ("H.265", b"hvcC")
_CODECS = {b"avc1": _AVC, b"avc3": _AVC, b"hvc1": _HEVC, b"hev1": _HEVC}
_SAMPLE_ENTRY_BYTES = 78
"""Of a visual sample entry, before the boxes in it."""
_METADATA = frozenset((b"udta", b"meta", b"uuid", b"skip"))
_CONTAINERS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl"))
_TIMED = frozenset((b"mvhd", b"tkhd", b"mdhd"))
"""Headers that begin with two times: of creation and of modification."""
_MOST_EDITS = 1000
_EVEN = 0.01
"""How much the duration of a frame may differ from the mean, as a fraction, beside one tick of the clock."""


@dataclass(frozen=True, slots=True)
class Video:
    """The one video track."""

    codec: str
    """``"H.264"`` or ``"H.265"``."""
    configuration: bytes
    """The body of ``avcC`` or ``hvcC``."""
    rows: int
    columns: int
    number_of_frames: int
    frame_time_ms: float
    pixel_aspect: tuple[int, int] | None
    """Height and width of a pixel; None for square ones."""


def read_mp4(content: bytes) -> Video:
    """Read the parameters of the only track.

    Raises
    ------
    InvalidInputError
        Damaged, truncated, fragmented, of an uneven frame rate, turned, or with frames that it does not show.
    UnsupportedError
        Another codec, several tracks, or sound.
    """
    movie = _movie(content)
    tracks = [box for box in boxes(content, movie.body, movie.end) if box.kind == b"trak"]
    handlers = [_handler(content, track) for track in tracks]
    if b"soun" in handlers:
        raise UnsupportedError(
            "the video has sound, which may say names; take it off without loss: ffmpeg -i in.mp4 -an -c copy out.mp4"
        )
    if handlers != [b"vide"]:
        raise UnsupportedError(f"the MP4 file has {len(tracks)} tracks; DICOM takes one, of video")
    track = tracks[0]
    table = only(content, track, *_TRACK_PATH)
    entry = _sample_entry(content, only(content, table, b"stsd"))
    codec, kind = _CODECS[entry.kind]
    configuration = only(content, _after_fields(entry), kind)
    _require_upright(content, only(content, track, b"tkhd"))
    frames, ticks = _times(content, only(content, table, b"stts"))
    sizes = only(content, table, b"stsz")
    if not frames or unsigned(content, sizes.body + 8, 4) != frames:
        raise InvalidInputError(
            "the MP4 file has no frames here, or not as many as times; a fragmented file is "
            "written anew by ffmpeg -i in.mp4 -c copy out.mp4"
        )
    _require_samples(content, table)
    header = only(content, track, b"mdia", b"mdhd")
    timescale = unsigned(content, header.body + (20 if content[header.body] else 12), 4)
    if not timescale or not ticks:
        raise InvalidInputError("the MP4 file has frames without a duration")
    _require_nothing_hidden(content, movie, track, frames * ticks / timescale, 1.5 * ticks / timescale)
    return Video(
        codec=codec,
        configuration=content[configuration.body : configuration.end],
        rows=unsigned(content, entry.body + 26, 2),
        columns=unsigned(content, entry.body + 24, 2),
        number_of_frames=frames,
        frame_time_ms=ticks / timescale * 1000,
        pixel_aspect=_pixel_aspect(content, entry),
    )


def without_metadata(content: bytes) -> bytes:
    """Blank places, devices, titles and times of creation; every byte of the video stays where it is."""
    clean = bytearray(content)
    for box in _all_boxes(clean, 0, len(clean)):
        if box.kind in _METADATA:
            clean[box.start + 4 : box.start + 8] = b"free"
            clean[box.body : box.end] = bytes(box.end - box.body)
        elif box.kind == b"free":
            clean[box.body : box.end] = bytes(box.end - box.body)
        elif box.kind in _TIMED:
            length = 16 if clean[box.body] else 8
            clean[box.body + 4 : box.body + 4 + length] = bytes(length)
        elif box.kind == b"hdlr" and box.end - box.body > 24:
            # A name for people; the last byte ends it.
            clean[box.body + 24 : box.end] = bytes(box.end - box.body - 24)
    return bytes(clean)


def _all_boxes(content: bytes | bytearray, start: int, end: int, deep: int = 0) -> Iterator[Box]:
    for box in boxes(content, start, end):
        if box.kind in _CONTAINERS and deep < len(_CONTAINERS):
            yield from _all_boxes(content, box.body, box.end, deep + 1)
        else:
            yield box


def _movie(content: bytes) -> Box:
    found = list(boxes(content, 0, len(content)))
    movies = [box for box in found if box.kind == b"moov"]
    if len(movies) != 1 or not any(box.kind == b"mdat" for box in found):
        raise InvalidInputError("the MP4 file is truncated: its movie header or its data is missing")
    return movies[0]


def _handler(content: bytes, track: Box) -> bytes:
    handler = only(content, track, b"mdia", b"hdlr")
    return content[handler.body + 8 : handler.body + 12]


def _sample_entry(content: bytes, description: Box) -> Box:
    """Give the one description of all frames (ISO/IEC 14496-12 12.1.3)."""
    entries = list(boxes(content, description.body + 8, description.end))
    if len(entries) != 1 or entries[0].kind not in _CODECS:
        kinds = ", ".join(entry.kind.decode("latin-1") for entry in entries) or "none"
        raise UnsupportedError(
            f"the codec of the video is {kinds}; DICOM takes H.264 (avc1) and H.265 (hvc1): "
            "ffmpeg -i in.mp4 -an -c:v libx264 -profile:v high -pix_fmt yuv420p out.mp4"
        )
    return entries[0]


def _after_fields(entry: Box) -> Box:
    return Box(entry.kind, entry.start, entry.body + _SAMPLE_ENTRY_BYTES, entry.end)


def _pixel_aspect(content: bytes, entry: Box) -> tuple[int, int] | None:
    inner = _after_fields(entry)
    for box in boxes(content, inner.body, inner.end):
        if box.kind == b"pasp":
            width, height = unsigned(content, box.body, 4), unsigned(content, box.body + 4, 4)
            return (height, width) if width and height and width != height else None
    return None


def _require_nothing_hidden(content: bytes, movie: Box, track: Box, total_s: float, allowed_s: float) -> None:
    """Refuse an edit list that leaves frames out: whoever cut them off would find them in the archive again."""
    lists = [box for box in boxes(content, track.body, track.end) if box.kind == b"edts"]
    if not lists:
        return
    edits = only(content, lists[0], b"elst")
    header = only(content, movie, b"mvhd")
    timescale = unsigned(content, header.body + (20 if content[header.body] else 12), 4)
    width = 8 if content[edits.body] else 4
    shown = 0
    for k in range(min(unsigned(content, edits.body + 4, 4), _MOST_EDITS)):
        place = edits.body + 8 + k * (2 * width + 4)
        if unsigned(content, place + width, width) != (1 << 8 * width) - 1:  # -1: an empty edit, a pause
            shown += unsigned(content, place, width)
    if not timescale or (shown and total_s - shown / timescale > allowed_s):
        raise InvalidInputError(
            "the video has frames that it does not show (it was cut without coding it anew); write what is shown: "
            "ffmpeg -i in.mp4 -an -c:v libx264 -profile:v high -pix_fmt yuv420p out.mp4"
        )


def _require_upright(content: bytes, header: Box) -> None:
    """Refuse a turned video: DICOM has no place for the turn."""
    matrix = header.body + (52 if content[header.body] else 40)
    terms = [unsigned(content, matrix + 4 * k, 4) for k in range(5)]
    if terms != [0x10000, 0, 0, 0, 0x10000]:
        raise InvalidInputError(
            "the video is stored turned, and DICOM has no attribute for that; turn the frames: "
            "ffmpeg -i in.mp4 -an -c:v libx264 -profile:v high -pix_fmt yuv420p out.mp4"
        )


def _times(content: bytes, box: Box) -> tuple[int, float]:
    """Count the frames, and give the ticks of one; the last may last as long as it likes."""
    runs = _table(content, box, ">u4", 2).astype(np.int64).reshape(-1, 2)
    frames = int(runs[:, 0].sum())
    if not frames:
        return 0, 0.0
    if len(runs) > 1 and runs[-1, 0] == 1:
        runs = runs[:-1]
    mean = float((runs[:, 0] * runs[:, 1]).sum() / runs[:, 0].sum())
    if np.abs(runs[:, 1] - mean).max() > max(1, _EVEN * mean):
        raise InvalidInputError(
            "the frames of the video have different durations; DICOM wants one rate: "
            "ffmpeg -i in.mp4 -an -r 25 -c:v libx264 -profile:v high -pix_fmt yuv420p out.mp4"
        )
    return frames, mean


def _require_samples(content: bytes, table: Box) -> None:
    """Every chunk of frames has to lie in the data of this file."""
    tables = {box.kind: box for box in boxes(content, table.body, table.end)}
    chunks = tables.get(b"co64") or tables.get(b"stco")
    if chunks is None:
        raise InvalidInputError("the MP4 file is damaged: it does not say where its frames are")
    places = _table(content, chunks, ">u8" if b"co64" in tables else ">u4", 1)
    inside = np.zeros(len(places), bool)
    for box in boxes(content, 0, len(content)):
        if box.kind == b"mdat":
            inside |= (places >= box.body) & (places < box.end)
    if not inside.all():
        raise InvalidInputError("the MP4 file is damaged or truncated: frames lie outside of its data")


def _table(content: bytes, box: Box, kind: str, columns: int) -> NDArray[Any]:
    """Read the numbers of a table that begins with the count of its rows."""
    count = unsigned(content, box.body + 4, 4) * columns
    if box.body + 8 + np.dtype(kind).itemsize * count > box.end:
        raise InvalidInputError("the MP4 file is damaged: a table is shorter than it says")
    return np.frombuffer(content, kind, count, box.body + 8)
