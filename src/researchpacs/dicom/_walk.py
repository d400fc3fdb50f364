"""The walk through a data set's structure: tags, lengths, items and fragments, no value but those asked for (PS3.5 7).

It reads what pydicom would read and nothing else: implicit and explicit elements, and bytes that hold a sequence, are
told apart as pydicom tells them, so that a data set that passes here holds the same elements there.
"""

import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from researchpacs.dicom._walk_limits import MAX_DEPTH, MAX_ELEMENTS_OF_DATASET, MAX_VALUE_BYTES, Budget
from researchpacs.dicom._walk_tags import (
    ITEM,
    ITEM_END,
    LONG_FORM,
    PIXEL_TAGS,
    SEQUENCE_END,
    SEQUENCE_TAGS,
    SHORT_FORM,
    UNDEFINED,
    VR_FORMS,
    has_private_sequences,
    is_known,
    is_private_sequence,
    name_of,
)
from researchpacs.dicom._walk_window import Window
from researchpacs.errors import InvalidInputError

__all__ = ["PixelElement", "Walk", "looks_implicit"]

_IMPLICIT = b""
_MAY_NEST = frozenset((b"SQ", b"UN", _IMPLICIT))
_DELIMITERS = frozenset((ITEM, ITEM_END, SEQUENCE_END))
_MAX_NOTES = 50


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel data element of an instance is."""

    tag: int
    vr: bytes
    """Empty where implicit."""
    offset: int
    """Of the element's tag."""
    length: int
    """Bytes of the value; where encapsulated, of all fragments without their item headers."""
    fragments: int | None = None
    """Number of fragments without the Basic Offset Table; None for native pixel data."""


class _Element(NamedTuple):
    tag: int
    vr: bytes
    offset: int
    """Of the tag."""
    value: int
    """Offset of the value."""
    length: int


@dataclass(slots=True)
class _Level:
    """A data set, an item or a sequence that the walk is inside of."""

    end: int
    implicit: bool
    is_sequence: bool = False
    delimited: bool = False
    """Ends with a delimiter; `end` is then where the parent ends."""
    previous: int = -1
    count: int = 0
    spent: int = 0
    creators: dict[int, str] = field(default_factory=dict)


def looks_implicit(header: bytes) -> bool:
    """Whether an element's header, or what there is of it, has no VR where an explicit one has it."""
    return len(header) < 6 or not (0x40 < header[4] < 0x5B and 0x40 < header[5] < 0x5B)


class Walk:
    """A walk from ``start`` to the end of the file.

    Parameters
    ----------
    window
        The file.
    start
        Offset of the data set.
    implicit, little_endian
        How it is declared to be encoded; whether VRs are there, its first element decides.
    wanted
        Tags of top-level elements whose value is kept.

    Attributes
    ----------
    elements, vrs
        Raw value and explicit VR (empty where implicit) of the wanted elements found; of duplicates the last.
    notes
        What is odd but safe: (keyword, problem), in order, without repetition.
    pixels
        Pixel data elements by tag; of duplicates the last.
    """

    def __init__(
        self, window: Window, start: int, *, implicit: bool, little_endian: bool, wanted: Collection[int]
    ) -> None:
        order = "<" if little_endian else ">"
        self._window = window
        self._header = struct.Struct(order + "HH2sH").unpack_from
        self._long = struct.Struct(order + "I").unpack_from
        self._item = struct.Struct(order + "HHI").unpack_from
        self._keep = frozenset(wanted) | PIXEL_TAGS
        self._position = start
        self._top = _Level(window.size, implicit)
        self._levels = [self._top]
        self._budget = Budget(start)
        self.elements: dict[int, bytes] = {}
        self.vrs: dict[int, bytes] = {}
        self.notes: dict[tuple[str, str], None] = {}
        self.pixels: dict[int, PixelElement] = {}
        self._resumed = False

    def resume(self, position: int, *, previous: int, creators: Iterable[tuple[int, bytes]]) -> None:
        """Begin at a later element, the part before being sound: its last tag, its private creators by tag."""
        self._resumed, self._position = True, position
        self._top.previous = previous
        for tag, creator in creators:
            self._top.creators[tag] = _creator(creator)

    @property
    def count(self) -> int:
        """Elements of the data set itself that were met."""
        return self._top.count

    def run(self) -> None:
        """Walk to the end.

        Raises
        ------
        InvalidInputError
            The structure is unsafe; the message names the tag and the byte.
        """
        top = self._top
        if not self._resumed and top.end - self._position >= SHORT_FORM:
            implicit = looks_implicit(self._window.take(self._position, SHORT_FORM))
            if implicit != top.implicit:
                found, declared = ("implicit", "explicit") if implicit else ("explicit", "implicit")
                self.note("TransferSyntaxUID", f"declares {declared} VR where the data set has {found} VR")
            top.implicit = implicit
        while self._levels:
            level = self._levels[-1]
            if level.is_sequence:
                self._walk_items(level)
            else:
                self._walk_elements(level)

    def note(self, keyword: str, problem: str) -> None:
        """Remember what is odd but safe."""
        if len(self.notes) < _MAX_NOTES:
            self.notes[keyword, problem] = None

    def _walk_elements(self, level: _Level) -> None:
        """Walk the elements of a data set up to its end or to one that is not plain."""
        window, header, long_length = self._window, self._header, self._long
        implicit, end, previous, position = level.implicit, level.end, level.previous, self._position
        keep = self._keep if len(self._levels) == 1 else frozenset()
        data, start, limit = b"", 0, -1
        while position < end:
            if position > limit or window.start != start:
                if end - position < SHORT_FORM:
                    self._end_short(level, position)
                    return
                window.hold(position, min(LONG_FORM, window.size - position))
                data, start = window.data, window.start
                limit = start + len(data) - LONG_FORM
                self._spend(level, position)
            index = position - start
            group, number, vr, length = header(data, index)
            tag = group << 16 | number
            form = VR_FORMS.get(vr, 0)
            if implicit:
                vr, form = _IMPLICIT, SHORT_FORM
                (length,) = long_length(data, index + 4)
            elif form == LONG_FORM:
                if position + LONG_FORM > end:
                    refuse(tag, position, "is cut off")
                (length,) = long_length(data, index + SHORT_FORM)
            elif not form:
                vr, length = self._odd_vr(tag, vr, length, data, index)
                form = SHORT_FORM
            value = position + form
            level.count += 1
            if tag <= previous:
                self._note_order(level, tag, previous)
            if (
                length == UNDEFINED
                or value + length > end
                or group == 0xFFFE
                or not tag
                or (vr in _MAY_NEST and length and self._is_sequence(level, tag, vr, length))
            ):
                level.previous = tag
                self._walk_special(level, _Element(tag, vr, position, value, length))
                return
            if tag in keep or (group & 1 and 0x10 <= number <= 0xFF):
                self._keep_value(level, _Element(tag, vr, position, value, length), previous)
            previous = tag
            position = value + length
        self._position = position
        self._close(level)

    def _walk_special(self, level: _Level, element: _Element) -> None:
        """Walk one element that ends or opens something, or is wrong."""
        tag, vr, position, value, length = element
        self._spend(level, position)
        top = len(self._levels) == 1
        if tag == ITEM_END and level.delimited:
            self._levels.pop()
            self._position = position + SHORT_FORM
        elif tag in _DELIMITERS:
            refuse(tag, position, "stands where an element was expected")
        elif top and not tag and self._window.is_zero(position, level.end):
            self.note("", f"{level.end - position} zero bytes after the data set")
            self._position = level.end
        elif length == UNDEFINED:
            if self._is_undefined_sequence(tag, vr, value, level.end):
                self._open(_Level(level.end, level.implicit, is_sequence=True, delimited=True), tag, value)
            else:
                self._walk_fragments(level, element)
        elif value + length > level.end:
            refuse(tag, position, f"declares {length} bytes where {level.end - value} are left")
        elif length and vr in _MAY_NEST and self._is_sequence(level, tag, vr, length):
            self._open(_Level(value + length, level.implicit, is_sequence=True), tag, value)
        else:  # (0000,0000) that is not padding
            self._position = value + length

    def _walk_items(self, level: _Level) -> None:
        """Walk items of a sequence up to its end or to one that holds something."""
        position, end = self._position, level.end
        while position < end:
            if end - position < SHORT_FORM:
                refuse(SEQUENCE_END, position, "or an item was expected, the sequence is cut off")
            group, number, length = self._item(self._window.take(position, SHORT_FORM))
            tag = group << 16 | number
            value = position + SHORT_FORM
            if tag == SEQUENCE_END:
                self._end_sequence(level, position)
                return
            if tag != ITEM:
                refuse(tag, position, "stands where an item was expected")
            level.count += 1
            self._spend(level, position)
            if length:
                undefined = length == UNDEFINED
                if not undefined and value + length > end:
                    refuse(tag, position, f"declares {length} bytes where {end - value} are left")
                implicit = level.implicit or looks_implicit(self._window.take(value, min(SHORT_FORM, end - value)))
                self._levels.append(_Level(end if undefined else value + length, implicit, delimited=undefined))
                self._position = value
                return
            position = value
        self._position = position
        self._close(level)

    def _walk_fragments(self, level: _Level, element: _Element) -> None:
        """Walk an encapsulated value: a table of offsets and fragments up to a delimiter (PS3.5 A.4)."""
        tag, vr, offset, position, _ = element
        fragments, total = -1, 0
        while True:
            if level.end - position < SHORT_FORM:
                refuse(tag, offset, f"is encapsulated and not terminated by byte {level.end}")
            group, number, length = self._item(self._window.take(position, SHORT_FORM))
            item = group << 16 | number
            position += SHORT_FORM
            if item == SEQUENCE_END:
                break
            if item != ITEM:
                refuse(tag, offset, f"is encapsulated, but has no fragment at byte {position - SHORT_FORM}")
            if length > level.end - position:
                refuse(tag, offset, f"declares a fragment of {length} bytes where {level.end - position} are left")
            if fragments >= 0:
                total += length
            fragments += 1
            self._budget.spend(1, position)
            position += length
        if len(self._levels) == 1 and tag in PIXEL_TAGS:
            self.pixels[tag] = PixelElement(tag, vr, offset, total, max(fragments, 0))
        self._position = position

    def _open(self, level: _Level, tag: int, value: int) -> None:
        if sum(outer.is_sequence for outer in self._levels) >= MAX_DEPTH:
            refuse(tag, value, f"is nested deeper than {MAX_DEPTH} sequences")
        self._levels.append(level)
        self._position = value

    def _close(self, level: _Level) -> None:
        if level.delimited:
            what = "a sequence" if level.is_sequence else "an item"
            raise InvalidInputError(f"truncated: {what} is not terminated by byte {level.end}")
        self._spend(level, self._position)
        self._levels.pop()

    def _end_sequence(self, level: _Level, position: int) -> None:
        """End a sequence at a delimiter; one of defined length needs none, but some writers add it."""
        if not level.delimited:
            if position + SHORT_FORM != level.end:
                refuse(SEQUENCE_END, position, "ends a sequence before its declared length")
            self.note("", "a sequence of defined length has a delimiter")
        self._levels.pop()
        self._position = position + SHORT_FORM

    def _end_short(self, level: _Level, position: int) -> None:
        """End a data set whose last bytes are too few for an element."""
        if len(self._levels) > 1:
            raise InvalidInputError(f"truncated: an item ends at byte {level.end} inside an element's header")
        self.note("", f"{level.end - position} bytes after the data set")
        self._position = level.end
        self._close(level)

    def _is_sequence(self, level: _Level, tag: int, vr: bytes, length: int) -> bool:
        """Whether pydicom takes a value of defined length for a sequence."""
        if vr == b"SQ":
            return True
        if tag & 0x10000:
            creator = level.creators.get(tag & 0xFFFF0000 | (tag >> 8 & 0xFF), "")
            return bool(creator) and is_private_sequence(tag, creator)
        return tag in SEQUENCE_TAGS and (vr == _IMPLICIT or length < 0xFFFF)

    def _is_undefined_sequence(self, tag: int, vr: bytes, value: int, end: int) -> bool:
        """Whether pydicom takes a value of undefined length for a sequence (PS3.5 6.2.2)."""
        if vr != _IMPLICIT:
            return vr in _MAY_NEST
        if is_known(tag):
            return tag in SEQUENCE_TAGS
        if end - value < SHORT_FORM:
            return False
        group, number, _ = self._item(self._window.take(value, SHORT_FORM))
        return bool(group << 16 | number == ITEM)

    def _odd_vr(self, tag: int, vr: bytes, length: int, data: bytes, index: int) -> tuple[bytes, int]:
        """Read an element whose VR the Standard does not know: none at all, or one with a short length."""
        if b"AA" <= vr <= b"ZZ":
            self.note(name_of(tag), "has an unknown VR")
            return vr, length
        if tag and tag >> 16 != 0xFFFE:
            self.note(name_of(tag), "has no VR although the data set has VRs")
        (long_length,) = self._long(data, index + 4)
        return _IMPLICIT, long_length

    def _note_order(self, level: _Level, tag: int, previous: int) -> None:
        if tag == previous or (len(self._levels) == 1 and (tag in self.elements or tag in self.pixels)):
            self.note(name_of(tag), "appears more than once")
        elif tag and tag >> 16 != 0xFFFE:
            self.note("", "elements are not in the order of their tags")

    def _keep_value(self, level: _Level, element: _Element, previous: int) -> None:
        """Keep a value that was asked for, or the creator of a block of private elements."""
        tag, vr, position, value, length = element
        top = len(self._levels) == 1
        if tag & 0x10000:
            creator = _creator(self._window.take(value, min(length, MAX_VALUE_BYTES)))
            level.creators[tag] = creator
            if tag < previous and has_private_sequences(creator):
                refuse(tag, position, "is a private creator after the elements of its block")
        if top and tag in PIXEL_TAGS:
            self.pixels[tag] = PixelElement(tag, vr, position, length)
        elif top and tag in self._keep:
            if length > MAX_VALUE_BYTES:
                self.note(name_of(tag), f"has {length} bytes, too long to be indexed")
                self.elements.pop(tag, None)
                return
            self.elements[tag] = self._window.take(value, length)
            self.vrs[tag] = vr

    def _spend(self, level: _Level, position: int) -> None:
        if level.count > MAX_ELEMENTS_OF_DATASET and not level.is_sequence:
            raise InvalidInputError(f"more than {MAX_ELEMENTS_OF_DATASET} elements in one data set at byte {position}")
        self._budget.spend(level.count - level.spent, position)
        level.spent = level.count


def _creator(value: bytes) -> str:
    return value.rstrip(b"\0 ").decode("latin-1")


def refuse(tag: int, position: int, problem: str) -> NoReturn:
    """Raise for an unsafe element."""
    raise InvalidInputError(f"{name_of(tag)} at byte {position} {problem}")
