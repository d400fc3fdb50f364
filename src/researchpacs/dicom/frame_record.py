"""The frames of an instance as a few bytes: what an archive keeps, so that nobody opens a file to place a frame.

A record is a form, text that most instances of a series share, and places, bytes that are the instance's own:
positions, offsets in the file, rescale. A single-frame CT slice has 64 of them.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from researchpacs.dicom.frame_traits import UNKNOWN, Timing, Traits
from researchpacs.dicom.frames import FrameRow
from researchpacs.dicom.pixels import PixelLayout

__all__ = ["Record", "pack", "unpack"]

_FIELDS = (
    "position",
    "orientation",
    "pixel_spacing",
    "rescale_slope",
    "rescale_intercept",
    "dimension_indices",
    "byte_offset",
    "byte_length",
    "temporal_position",
    "acquisition_number",
    "acquired_us",
    "trigger_ms",
    "traits",
)
_TIMING, _TRAITS = _FIELDS[8:12], _FIELDS[12]
_OWN = frozenset({"position", "rescale_slope", "rescale_intercept", "byte_offset", "byte_length", *_TIMING})
"""Never part of a form where an instance has one frame: neighbours differ in them."""
_INTEGERS = frozenset(
    {"dimension_indices", "byte_offset", "byte_length", "temporal_position", "acquisition_number", "acquired_us"}
    | {_TRAITS}
)
_LARGEST = 2**63
_VERSION = 3
"""Of what is known of a frame; what an older version kept has to be read from the file again."""


@dataclass(frozen=True, slots=True)
class Record:
    """The frames of one instance."""

    form: str
    places: bytes

    def __reduce__(self) -> tuple[object, ...]:
        return Record, (self.form, self.places)

    @property
    def is_complete(self) -> bool:
        """Whether it has all that is known of a frame today."""
        form = _parsed(self.form)
        return not form.count or form.version == _VERSION


@dataclass(frozen=True, slots=True)
class _Form:
    count: int
    version: int
    number: bool
    """Whether places begin with the Instance Number."""
    layout: Any
    """A PixelLayout; None where there is no frame."""
    same: dict[str, Any]
    """What all frames have."""
    own: tuple[tuple[str, int], ...]
    """Fields that stand in places, with the count of their values; 0 where the field is one number."""
    each: dict[str, list[Any]]
    """Fields that some frames lack, frame by frame."""
    traits: tuple[Traits, ...]
    """What frames name by number."""
    single: struct.Struct
    """Places of an instance of one frame."""


def pack(frames: Sequence[FrameRow], instance_number: int | None) -> Record:
    """Make the record of an instance from all its frames, in their order."""
    if not frames:
        return Record('{"count": 0}', b"")
    first = frames[0]
    whole = None not in (first.byte_offset, first.byte_length, first.position)
    if len(frames) == 1 and whole and first.dimension_indices is None:
        return _pack_slice(first, instance_number)
    return _pack_any(frames, instance_number)


def _pack_slice(frame: FrameRow, instance_number: int | None) -> Record:
    """Pack what most instances are: one frame with a place; its neighbours share the form, which is made once."""
    timing = frame.timing
    times = (timing.temporal_position, timing.acquisition_number, timing.acquired_us, timing.trigger_ms)
    own = (
        *(frame.position or ()),
        frame.rescale_slope,
        frame.rescale_intercept,
        frame.byte_offset,
        frame.byte_length,
        *[time for time in times if time is not None],
    )
    known = (times[0] is not None, times[1] is not None, times[2] is not None, times[3] is not None)
    shared = (frame.orientation, frame.pixel_spacing, frame.traits)
    text = _form_of_slices(frame.layout, shared, known, number=instance_number is not None)
    if len(own) != 7 + sum(known):
        return _pack_any([frame], instance_number)
    head = () if instance_number is None else (instance_number,)
    return Record(text, _parsed(text).single.pack(*head, *own))


@lru_cache(maxsize=256)
def _form_of_slices(
    layout: PixelLayout,
    shared: tuple[tuple[float, ...] | None, tuple[float, ...] | None, Traits],
    known: tuple[bool, bool, bool, bool],
    *,
    number: bool,
) -> str:
    orientation, pixel_spacing, traits = shared
    timing = Timing(*(0 if is_known else None for is_known in known))
    frame = FrameRow(0, (0, 0, 0), orientation, pixel_spacing, 1.0, 0.0, None, 0, 0, layout, traits, timing)
    return _pack_any([frame], 0 if number else None).form


def _pack_any(frames: Sequence[FrameRow], instance_number: int | None) -> Record:
    traits = {one: number for number, one in enumerate(dict.fromkeys(frame.traits for frame in frames))}
    form: dict[str, Any] = {"count": len(frames), "version": _VERSION, "number": instance_number is not None}
    form |= {"layout": asdict(frames[0].layout), "traits": [_told(one) for one in traits]}
    form |= {"same": {}, "own": [], "each": {}}
    columns: list[tuple[str, list[Any]]] = []
    for name in _FIELDS:
        values = _column(frames, name, traits)
        if all(_is_same(value, values[0]) for value in values) and (
            values[0] is None or len(values) > 1 or name not in _OWN
        ):
            form["same"][name] = values[0]
        elif _is_regular(values):
            form["own"].append([name, len(values[0]) if isinstance(values[0], tuple) else 0])
            columns.append((name, values))
        else:
            form["each"][name] = values
    text = json.dumps(form, separators=(",", ":"))
    return Record(text, _places(_parsed(text), instance_number, columns))


def _column(frames: Sequence[FrameRow], name: str, traits: Mapping[Traits, int]) -> list[Any]:
    if name == _TRAITS:
        return [traits[frame.traits] for frame in frames]
    return [getattr(frame.timing if name in _TIMING else frame, name) for frame in frames]


def _told(traits: Traits) -> dict[str, Any]:
    """What is known; all else has its default."""
    return {name: value for name, value in asdict(traits).items() if value != getattr(UNKNOWN, name)}


def unpack(record: Record) -> tuple[int | None, list[FrameRow]]:
    """Give back the Instance Number and the frames."""
    form = _parsed(record.form)
    number, found = _values(form, record.places)
    return number, [_frame(index, values, form) for index, values in enumerate(found)]


def _frame(index: int, values: tuple[Any, ...], form: _Form) -> FrameRow:
    everything: Any = (index, *values[:8], form.layout, form.traits[values[12]], Timing(*values[8:12]))
    return FrameRow(*everything)


def _is_same(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124 - NaN


def _is_regular(values: Sequence[Any]) -> bool:
    """Whether every frame has a value, all of the same count, and integers fit 64 bits."""
    if isinstance(values[0], tuple):
        regular = all(value is not None and len(value) == len(values[0]) for value in values)
        return regular and all(-_LARGEST <= one < _LARGEST for value in values for one in value)
    return all(value is not None for value in values)


def _places(form: _Form, instance_number: int | None, columns: Sequence[tuple[str, list[Any]]]) -> bytes:
    head = [] if instance_number is None else [instance_number]
    if form.count == 1:
        flat = [one for _, (value,) in columns for one in (value if isinstance(value, tuple) else (value,))]
        return form.single.pack(*head, *flat)
    parts = [struct.pack("<q", one) for one in head]
    for name, values in columns:
        table = np.array(values, "<i8" if name in _INTEGERS else "<f8")
        # Offsets grow evenly: what lies between them deflates to next to nothing.
        parts.append((np.diff(table, axis=0, prepend=table[:1] * 0) if name in _INTEGERS else table).tobytes())
    return zlib.compress(b"".join(parts), 1)


def _values(form: _Form, places: bytes) -> tuple[int | None, Iterator[tuple[Any, ...]]]:
    if not form.count:
        return None, iter(())
    if form.count == 1:
        return _single(form, places)
    data = zlib.decompress(places)
    number = int.from_bytes(data[:8], "little", signed=True) if form.number else None
    columns: dict[str, Sequence[Any]] = dict(form.each)
    start = 8 * form.number
    for name, width in form.own:
        table = np.frombuffer(data, "<i8" if name in _INTEGERS else "<f8", form.count * max(width, 1), start)
        start += table.nbytes
        table = table.reshape(form.count, width) if width else table
        values = (np.cumsum(table, axis=0) if name in _INTEGERS else table).tolist()
        columns[name] = list(map(tuple, values)) if width else values
    for name, value in form.same.items():
        columns[name] = [value] * form.count
    return number, zip(*(columns[name] for name in _FIELDS), strict=True)


def _single(form: _Form, places: bytes) -> tuple[int | None, Iterator[tuple[Any, ...]]]:
    found = form.single.unpack(places)
    at, values = int(form.number), dict(form.same)
    for name, width in form.own:
        values[name] = found[at : at + width] if width else found[at]
        at += max(width, 1)
    for name, each in form.each.items():
        (values[name],) = each
    return found[0] if form.number else None, iter([tuple(values[name] for name in _FIELDS)])


@lru_cache(maxsize=256)
def _parsed(text: str) -> _Form:
    found = json.loads(text)
    if not found["count"]:
        return _Form(0, _VERSION, False, None, {}, (), {}, (), struct.Struct("<"))
    numbers = (f"{max(width, 1)}{'q' if name in _INTEGERS else 'd'}" for name, width in found["own"])
    version = found.get("version", 1)
    older = dict.fromkeys(_TIMING) | {_TRAITS: 0} if version == 1 else {}
    return _Form(
        count=found["count"],
        version=version,
        number=found["number"],
        layout=PixelLayout(**found["layout"]),
        same={name: _tuple(value) for name, value in found["same"].items()} | older,
        own=tuple((name, width) for name, width in found["own"]),
        each={name: [_tuple(value) for value in values] for name, values in found["each"].items()},
        traits=tuple(
            Traits(**{name: _tuple(value) for name, value in one.items()}) for one in found.get("traits", [{}])
        ),
        single=struct.Struct("<" + "q" * found["number"] + "".join(numbers)),
    )


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
