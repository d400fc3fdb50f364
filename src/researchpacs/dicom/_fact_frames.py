"""Frames of an instance from attributes that have been decoded already; what neighbours share is worked out once."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from researchpacs.dicom.attributes import HeaderLike, numbers_of
from researchpacs.dicom.encapsulation import frame_ranges
from researchpacs.dicom.frame_record import Record, pack
from researchpacs.dicom.frame_traits import TIMING, TRAITS, Timing, timing_of
from researchpacs.dicom.frames import FrameRow, frames_of
from researchpacs.dicom.header import read_header
from researchpacs.dicom.mosaics import is_mosaic
from researchpacs.dicom.nuclear import NUCLEAR
from researchpacs.dicom.pixels import PixelLayout, layout_of
from researchpacs.dicom.scan import Scan
from researchpacs.errors import PixelDataError

__all__ = ["PLACING", "FrameReader", "frame_problems"]

_GROUPS = (NUCLEAR - {"SpacingBetweenSlices"}) | {
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "GridFrameOffsetVector",
}
"""What has them is read as a whole; Spacing Between Slices many others have too."""
_SHARED = (
    frozenset(
        """
    ImageOrientationPatient PixelSpacing RescaleSlope RescaleIntercept DoseGridScaling ModalityLUTSequence
    RedPaletteColorLookupTableDescriptor
    SamplesPerPixel PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns BitsAllocated BitsStored
    HighBit PixelRepresentation FloatPixelData DoubleFloatPixelData
    """.split()  # noqa: SIM905 - a table of words reads better than quotes
    )
    | TRAITS
)
PLACING = _GROUPS | _SHARED | {"ImagePositionPatient", "InstanceNumber", *TIMING}
"""Attributes that frames are made of."""
_MOST = 2000
_NO_FRAMES = pack([], None)

Read = Callable[[int, int], bytes]
Problems = list[tuple[str, str]]


class Entry(Protocol):
    """An attribute: its keyword and the JSON of its value."""

    name: str
    text: str


def frame_problems(layout: PixelLayout, *, misfit: bool) -> Problems:
    """Say what is odd about the frames of an instance."""
    problems = []
    if misfit:
        problems.append((layout.pixel_keyword, "does not hold the frames that the header declares"))
    if layout.table_bits == 0:
        table = "RedPaletteColorLookupTableDescriptor" if layout.is_palette else "ModalityLUTSequence"
        problems.append((table, "is no look-up table: volumes open with their stored values only"))
    return problems


class FrameReader:
    """Reads the frames of one instance after the other."""

    def __init__(self) -> None:
        self._places: dict[bytes, tuple[dict[str, int], tuple[int, ...], bool]] = {}
        self._alike: dict[tuple[Any, ...], FrameRow | None] = {}
        self._timings: dict[tuple[str | None, ...], Timing] = {}

    def read(self, found: Scan, tags: bytes, entries: Sequence[Entry], read: Read) -> tuple[Record, Problems]:
        """Make the record of an instance's frames.

        Parameters
        ----------
        found
            What the scan says.
        tags
            What the instance has, in a form that is equal where the tags are.
        entries
            Its attributes.
        read
            Reads ``(offset, length)`` of the file.
        """
        if found.header_length >= found.size:
            return _NO_FRAMES, []
        names, shared, single = self._named(tags, entries)
        number = _instance_number(entries[names["InstanceNumber"]].text) if "InstanceNumber" in names else None
        if not single:
            return _all_frames(found, {entry.name: json.loads(entry.text) for entry in entries}, number, read)
        key = (tags, found.transfer_syntax_uid, *[entries[at].text for at in shared])
        if key not in self._alike:
            if len(self._alike) > _MOST:
                self._alike.clear()
            self._alike[key] = _first({entries[at].name: json.loads(entries[at].text) for at in shared}, found)
        alike = self._alike[key]
        if alike is None:
            return _all_frames(found, {entry.name: json.loads(entry.text) for entry in entries}, number, read)
        ranges, misfit = _ranges(found, alike.layout, read)
        start, length = ranges[0] if ranges else (None, None)
        position = None
        if "ImagePositionPatient" in names:
            value = json.loads(entries[names["ImagePositionPatient"]].text)
            position = numbers_of({"ImagePositionPatient": value}, "ImagePositionPatient", 3)
        frame = FrameRow(
            0,
            position,
            alike.orientation,
            alike.pixel_spacing,
            alike.rescale_slope,
            alike.rescale_intercept,
            alike.dimension_indices,
            start,
            length,
            alike.layout,
            alike.traits,
            self._timing(names, entries),
        )
        return pack([frame], number), frame_problems(alike.layout, misfit=misfit)

    def _timing(self, names: dict[str, int], entries: Sequence[Entry]) -> Timing:
        """When the instance was taken; most tell it in the same few words as their neighbours."""
        told = tuple(entries[names[name]].text if name in names else None for name in TIMING)
        known = self._timings.get(told)
        if known is None:
            if len(self._timings) > _MOST:
                self._timings.clear()
            known = timing_of({name: json.loads(text) for name, text in zip(TIMING, told, strict=True) if text})
            self._timings[told] = known
        return known

    def _named(self, tags: bytes, entries: Sequence[Entry]) -> tuple[dict[str, int], tuple[int, ...], bool]:
        known = self._places.get(tags)
        if known is None:
            if len(self._places) > _MOST:
                self._places.clear()
            names = {entry.name: at for at, entry in enumerate(entries)}
            shared = tuple(at for name, at in names.items() if name in _SHARED)
            known = self._places[tags] = (names, shared, not _GROUPS & names.keys())
        return known


def _first(tags: dict[str, Any], found: Scan) -> FrameRow | None:
    """The one frame of an instance as far as others are like it; None for one that has several, or none."""
    layout = layout_of(tags, found.transfer_syntax_uid)
    if layout is None or layout.number_of_frames != 1 or is_mosaic(tags):
        return None
    return frames_of(tags, layout, None)[0]


def _all_frames(found: Scan, tags: dict[str, Any], number: int | None, read: Read) -> tuple[Record, Problems]:
    layout = layout_of(tags, found.transfer_syntax_uid)
    if layout is None:
        return _NO_FRAMES, []
    ranges, misfit = _ranges(found, layout, read)
    problems = frame_problems(layout, misfit=misfit)
    header: HeaderLike = tags
    if is_mosaic(tags):  # where its slices are is told in bytes that the tags leave out
        data = read(0, found.header_length)
        header = read_header(data, dataset_offset=found.dataset_offset, transfer_syntax_uid=found.transfer_syntax_uid)
    return pack(frames_of(header, layout, ranges), number), problems


def _ranges(found: Scan, layout: PixelLayout, read: Read) -> tuple[list[tuple[int, int]] | None, bool]:
    try:
        return frame_ranges(read, found.header_length, found.size, layout), False
    except PixelDataError:
        return None, True


def _instance_number(text: str) -> int | None:
    """As the catalog's column has it: a whole number of 32 bits."""
    value = json.loads(text)
    return value if isinstance(value, int) and -(2**31) <= value < 2**31 else None
