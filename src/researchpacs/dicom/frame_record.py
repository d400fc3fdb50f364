"""The frames of an instance as a few bytes: what an archive keeps, so that nobody opens a file to place a frame.

A record is a form, text that most instances of a series share, and places, bytes that are the instance's own:
positions, offsets in the file, rescale. A single-frame CT slice has 64 of them.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

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
)
_OWN = frozenset({"position", "rescale_slope", "rescale_intercept", "byte_offset", "byte_length"})
"""Never part of a form where an instance has one frame: neighbours differ in them."""
_INTEGERS = frozenset({"dimension_indices", "byte_offset", "byte_length"})
_LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class Record:
    """The frames of one instance."""

    form: str
    places: bytes


@dataclass(frozen=True, slots=True)
class _Form:
    count: int
    number: bool
    """Whether places begin with the Instance Number."""
    layout: PixelLayout | None
    same: dict[str, Any]
    """What all frames have."""
    own: tuple[tuple[str, int], ...]
    """Fields that stand in places, with the count of their values; 0 where the field is one number."""
    each: dict[str, list[Any]]
    """Fields that some frames lack, frame by frame."""
    single: struct.Struct
    """Places of an instance of one frame."""


def pack(frames: Sequence[FrameRow], instance_number: int | None) -> Record:
    """Make the record of an instance from all its frames, in their order."""
    if not frames:
        return Record('{"count": 0}', b"")
    if len(frames) == 1 and frames[0].byte_offset is not None and frames[0].position is not None:
        return _pack_slice(frames[0], instance_number)
    return _pack_any(frames, instance_number)


def _pack_slice(frame: FrameRow, instance_number: int | None) -> Record:
    """Pack what most instances are: one frame with a place; its neighbours share the form, which is made once."""
    own = (*(frame.position or ()), frame.rescale_slope, frame.rescale_intercept, frame.byte_offset, frame.byte_length)
    text = _form_of_slices(
        frame.layout, frame.orientation, frame.pixel_spacing, frame.dimension_indices, instance_number is not None
    )
    if text is None or len(own) != 7:
        return _pack_any([frame], instance_number)
    head = () if instance_number is None else (instance_number,)
    return Record(text, _parsed(text).single.pack(*head, *own))


@lru_cache(maxsize=256)
def _form_of_slices(
    layout: PixelLayout,
    orientation: tuple[float, ...] | None,
    pixel_spacing: tuple[float, ...] | None,
    dimension_indices: tuple[int, ...] | None,
    number: bool,
) -> str | None:
    if dimension_indices is not None:
        return None
    frame = FrameRow(0, (0, 0, 0), orientation, pixel_spacing, 1.0, 0.0, None, 0, 0, layout)
    return _pack_any([frame], 0 if number else None).form


def _pack_any(frames: Sequence[FrameRow], instance_number: int | None) -> Record:
    form: dict[str, Any] = {"count": len(frames), "number": instance_number is not None}
    form |= {"layout": asdict(frames[0].layout), "same": {}, "own": [], "each": {}}
    columns: list[tuple[str, list[Any]]] = []
    for name in _FIELDS:
        values = [getattr(frame, name) for frame in frames]
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


def unpack(record: Record) -> tuple[int | None, list[FrameRow]]:
    """Give back the Instance Number and the frames."""
    form = _parsed(record.form)
    number, found = _values(form, record.places)
    return number, [FrameRow(index, *values) for index, values in enumerate(found)]


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
    return number, zip(*(columns[name] for name in _FIELDS), [form.layout] * form.count, strict=True)


def _single(form: _Form, places: bytes) -> tuple[int | None, Iterator[tuple[Any, ...]]]:
    found = form.single.unpack(places)
    at, values = int(form.number), dict(form.same)
    for name, width in form.own:
        values[name] = found[at : at + width] if width else found[at]
        at += max(width, 1)
    for name, each in form.each.items():
        (values[name],) = each
    return found[0] if form.number else None, iter([(*(values[name] for name in _FIELDS), form.layout)])


@lru_cache(maxsize=256)
def _parsed(text: str) -> _Form:
    found = json.loads(text)
    if not found["count"]:
        return _Form(0, False, None, {}, (), {}, struct.Struct("<"))
    numbers = (f"{max(width, 1)}{'q' if name in _INTEGERS else 'd'}" for name, width in found["own"])
    return _Form(
        count=found["count"],
        number=found["number"],
        layout=PixelLayout(**found["layout"]),
        same={name: _tuple(value) for name, value in found["same"].items()},
        own=tuple((name, width) for name, width in found["own"]),
        each={name: [_tuple(value) for value in values] for name, values in found["each"].items()},
        single=struct.Struct("<" + "q" * found["number"] + "".join(numbers)),
    )


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
