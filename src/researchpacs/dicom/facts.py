"""What a catalog wants to know of an instance, taken from its header when it is first read.

Headers of a series repeat each other: an element that came with the same bytes before is not decoded again, and what is
kept of an instance is where it differs from the first of its kind. All of it can be derived from the file again, which
`researchpacs.dicom.values` and `researchpacs.dicom.frames` do for headers that are not plain; nothing here decides
otherwise than they do.
"""

import json
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from researchpacs.dicom._fact_frames import PLACING, FrameReader
from researchpacs.dicom._plain_values import plain_json
from researchpacs.dicom._walk_quick import quickwalk
from researchpacs.dicom._walk_tags import LONG_FORM, SHORT_FORM, VR_FORMS
from researchpacs.dicom.frame_record import Record
from researchpacs.dicom.header import read_trailer
from researchpacs.dicom.scan import Scan
from researchpacs.dicom.values import name_of, read_tag

__all__ = ["Context", "Entry", "FactReader", "Facts", "decode"]

_IMPLICIT = "1.2.840.10008.1.2"
_EXPLICIT = "1.2.840.10008.1.2.1"
_CHARACTER_SET = 0x00080005
_CONTEXT = frozenset((_CHARACTER_SET, 0x00280010, 0x00280011, 0x00280100, 0x00280103))
"""Elements that others are read by: character set; rows, columns, bits and sign of what implicit VR leaves open."""
_LONGEST = 65_536
_MOST_ELEMENTS = 50_000
_MOST_KINDS = 500


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an instance beside its identity."""

    base: str
    """Attributes of the first instance of its kind, the JSON object that `read_tags` gives."""
    own: str
    """Attributes in which it differs, as a JSON object."""
    issues: tuple[tuple[str, str], ...]
    """(keyword, problem) of its frames and of its values."""
    frames: Record

    def __reduce__(self) -> tuple[object, ...]:
        return Facts, (self.base, self.own, self.issues, self.frames)


@dataclass(slots=True, eq=False)
class Entry:
    """An element that was decoded."""

    name: str
    text: str
    """JSON of its value."""
    problems: tuple[tuple[str, str], ...] = ()

    @property
    def pair(self) -> str:
        """As it stands in a JSON object."""
        return f'"{self.name}":{self.text}'


@dataclass(slots=True)
class _Kind:
    """Instances of one series with the same elements."""

    entries: list[Entry]
    base: str


@dataclass(slots=True)
class Context:
    """What elements are read by, and what became of them."""

    character_set: bytes
    elements: bytes
    creators: dict[int, str | None]
    """By group and block; None for one that is not plain."""
    memory: dict[bytes, Entry]


class FactReader:
    """Reads one header after the other, remembering what it has decoded."""

    def __init__(self) -> None:
        self._places: dict[bytes, tuple[int, ...]] = {}
        self._unique: dict[bytes, bool] = {}
        self._contexts: dict[tuple[bool, bytes], Context] = {}
        self._kinds: dict[tuple[str, bytes], _Kind] = {}
        self._remembered = 0
        self._frames = FrameReader()

    def read(self, found: Scan, header: bytes, read: Callable[[int, int], bytes]) -> Facts | None:
        """Take the facts from a header; None where they have to be read from the file as a whole.

        Parameters
        ----------
        found
            What the scan says.
        header
            The file up to its pixel data.
        read
            Reads ``(offset, length)`` of the file.
        """
        if found.table is None or quickwalk is None:
            return None
        numbers = array("I", found.table)
        if not numbers or numbers[-1] > len(header) or len(header) > _LONGEST:
            return None
        tags = numbers[::3].tobytes()
        implicit = found.transfer_syntax_uid == _IMPLICIT
        context = self._context(tags, numbers, header, implicit=implicit)
        entries, missing = quickwalk.recall(header, found.table, context.memory)
        for at in missing:
            tag, start, end = numbers[3 * at : 3 * at + 3]
            entries[at] = self._decode(context, tag, header[start:end], implicit=implicit)
        odd = [entry for entry in entries if entry.problems]
        if any(entry.name in PLACING for entry in odd) or not self._is_unique(tags, entries):
            return None
        kind = self._kind((found.text("SeriesInstanceUID"), tags), entries)
        differ = [new.pair for new, old in zip(entries, kind.entries, strict=True) if new is not old]
        frames, problems = self._frames.read(found, tags, entries, read)
        self._forget()
        problems += [problem for entry in odd for problem in entry.problems]
        return Facts(kind.base, f"{{{','.join(differ)}}}", tuple(problems), frames)

    def first_of_kind(self, found: Scan, header: bytes) -> tuple[list[Entry], Context] | None:
        """Give the attributes that `Facts.base` of a header like this has, and what they are read by; None for none."""
        numbers = array("I", found.table or b"")
        tags = numbers[::3].tobytes()
        kind = self._kinds.get((found.text("SeriesInstanceUID"), tags))
        if kind is None:
            return None
        return kind.entries, self._context(tags, numbers, header, implicit=found.transfer_syntax_uid == _IMPLICIT)

    def _is_unique(self, tags: bytes, entries: list[Entry]) -> bool:
        """Whether every attribute has a name of its own: repeating groups share theirs."""
        known = self._unique.get(tags)
        if known is None:
            known = self._unique[tags] = len({entry.name for entry in entries}) == len(entries)
        return known

    def _kind(self, key: tuple[str, bytes], entries: list[Entry]) -> _Kind:
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind(entries, f"{{{','.join(entry.pair for entry in entries)}}}")
        return kind

    def _forget(self) -> None:
        if self._remembered > _MOST_ELEMENTS or len(self._kinds) > _MOST_KINDS or len(self._places) > _MOST_KINDS:
            for memory in (self._places, self._unique, self._contexts, self._kinds):
                memory.clear()
            self._remembered = 0

    def _context(self, tags: bytes, numbers: "array[int]", header: bytes, *, implicit: bool) -> Context:
        places = self._places.get(tags)
        if places is None:
            places = tuple(at for at, tag in enumerate(numbers[::3]) if tag in _CONTEXT or _reserves(tag))
            self._places[tags] = places
        elements = b"".join([header[numbers[3 * at + 1] : numbers[3 * at + 2]] for at in places])
        context = self._contexts.get((implicit, elements))
        if context is None:
            character_set, creators = b"", {}
            for at in places:
                tag, start, end = numbers[3 * at : 3 * at + 3]
                value = header[_value_at(header, start, implicit=implicit) : end]
                if tag == _CHARACTER_SET:
                    character_set = value
                elif _reserves(tag):
                    is_plain = header[start + 4 : start + 6] == b"LO"
                    creators[tag & 0xFFFF0000 | (tag & 0xFF) << 8] = plain_json(b"LO", value, b"") if is_plain else None
            context = Context(character_set, elements, creators, {})
            self._contexts[implicit, elements] = context
        return context

    def _decode(self, context: Context, tag: int, element: bytes, *, implicit: bool) -> Entry:
        entry = context.memory[element] = decode(context, tag, element, implicit=implicit)
        self._remembered += 1
        return entry


def decode(context: Context, tag: int, element: bytes, *, implicit: bool) -> Entry:
    """Decode an element by what stands around it."""
    entry = None if implicit else _plain_entry(context, tag, element)
    return entry or _thorough_entry(context, tag, element, implicit=implicit)


def _reserves(tag: int) -> bool:
    """Whether an element reserves a block of private ones (PS3.5 7.8.1)."""
    return bool(tag & 0x10000) and 0x10 <= tag & 0xFFFF <= 0xFF


def _value_at(header: bytes, start: int, *, implicit: bool) -> int:
    return start + (SHORT_FORM if implicit else VR_FORMS[header[start + 4 : start + 6]])


def _plain_entry(context: Context, tag: int, element: bytes) -> Entry | None:
    vr = element[4:6]
    value = element[SHORT_FORM if VR_FORMS[vr] == SHORT_FORM else LONG_FORM :]
    text = plain_json(vr, value, context.character_set)
    if text is None:
        return None
    name = name_of(tag)
    if name[0] != "(":
        return Entry(name, text)
    block = tag & 0xFFFFFF00
    if not tag & 0x10000 or tag & 0xFFFF <= 0xFF or block not in context.creators:
        return Entry(name, f'{{"creator":null,"value":{text}}}')
    creator = context.creators[block]
    return None if creator is None else Entry(name, f'{{"creator":{creator},"value":{text}}}')


def _thorough_entry(context: Context, tag: int, element: bytes, *, implicit: bool) -> Entry:
    """Decode an element as the catalog would from the file, among the elements it is read by."""
    syntax = _IMPLICIT if implicit else _EXPLICIT
    among = context.elements if tag in _CONTEXT or _reserves(tag) else context.elements + element
    value, oddities = read_tag(read_trailer(among, transfer_syntax_uid=syntax), tag)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Entry(name_of(tag), text, tuple((oddity.keyword, oddity.problem) for oddity in oddities))
