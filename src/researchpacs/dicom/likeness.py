"""Headers that are like one that was read before, but for plain values of some elements: most of a series.

What is equal byte by byte was looked at once. A header in which anything else differs than values that take no thought
has to be read by `researchpacs.dicom.scan` and `researchpacs.dicom.facts`, which nothing here decides otherwise than.
"""

from array import array
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Generic, TypeVar

from researchpacs.dicom._fact_frames import FrameReader
from researchpacs.dicom._plain_values import CHARACTER_SETS
from researchpacs.dicom._walk_quick import creators, quickwalk, sequences
from researchpacs.dicom._walk_tags import VR_FORMS
from researchpacs.dicom.facts import Context, Entry, FactReader, Facts, decode
from researchpacs.dicom.scan import IMAGE_TAGS, WANTED, Scan

__all__ = ["Like", "Likeness"]

T = TypeVar("T")

_IMPLICIT = "1.2.840.10008.1.2"
_CHARACTER_SET, _SOP_INSTANCE, _DECLARED = 0x00080005, 0x00080018, 0x00020003
_FIXED = array("I", sorted({_CHARACTER_SET, 0x00080016, 0x00100020, 0x00100021, 0x0020000D, 0x0020000E, *IMAGE_TAGS}))
"""What an instance belongs to, what it is, and what its other elements are read by."""
_LONGEST_UID = 64
_VALUE = ',"value":'
_MODELS = 8
_MOST = 2000


@dataclass(frozen=True, slots=True)
class Like(Generic[T]):
    """A header that is like another."""

    model: T
    """What was learnt with the other."""
    found: Scan
    """Without elements."""
    texts: Mapping[int, str | None]
    """Of what differs, by tag, as `Scan.text` gives it; None only for what is not in `scan.WANTED`."""
    facts: Facts


@dataclass(slots=True)
class _Model(Generic[T]):
    known: T
    found: Scan
    table: bytes
    tags: "array[int]"
    header: bytes
    """Up to the value of the pixel data."""
    entries: list[Entry]
    context: Context
    facts: Facts
    sop_uid: str
    declared_uid: str
    """Of the File Meta Information; empty where it has none."""
    odd: Collection[int]
    """Places of attributes about which something is odd."""
    wraps: dict[int, tuple[str, str]] = field(default_factory=dict)
    """By place: what stands before and after the JSON of a value."""
    memory: dict[bytes, Entry] = field(default_factory=dict)
    """Elements that took thought."""

    def entry(self, place: int, json: str | bytes) -> Entry:
        """Make an attribute that differs, of the JSON of its value or of its bytes."""
        if isinstance(json, str):
            before, after = self.wraps.get(place) or self._wrap(place)
            return Entry(self.entries[place].name, f"{before}{json}{after}")
        entry = self.memory.get(json)
        if entry is None:
            if len(self.memory) >= _MOST:
                self.memory.clear()
            entry = self.memory[json] = decode(self.context, self.tags[place], json, implicit=False)
        return entry

    def _wrap(self, place: int) -> tuple[str, str]:
        """Private attributes have their value beside their creator."""
        entry = self.entries[place]
        before, after = "", ""
        if entry.name[0] == "(" and self.tags[place] & 0x10000:
            before, after = entry.text[: entry.text.index(_VALUE) + len(_VALUE)], "}"
        self.wraps[place] = before, after
        return before, after


class Likeness(Generic[T]):
    """Reads headers that are like one of the last few.

    Parameters
    ----------
    facts
        What has read those.
    """

    def __init__(self, facts: FactReader) -> None:
        self._facts = facts
        self._frames = FrameReader()
        self._models: deque[_Model[T]] = deque(maxlen=_MODELS)

    def learn(self, found: Scan, facts: Facts | None, block: bytes, known: T) -> None:
        """Take a header as a model for others, where nothing about it is odd.

        Parameters
        ----------
        found, facts
            What was read of it.
        block
            The first bytes of its file.
        known
            To be given with those that are like it.
        """
        if facts is None or found.table is None or found.transfer_syntax_uid == _IMPLICIT:
            return
        first = self._facts.first_of_kind(found, block)
        if first is None or facts.own != "{}" or found.issues:
            return
        odd = {place: entry.problems for place, entry in enumerate(first[0]) if entry.problems}
        if facts.issues != tuple(chain.from_iterable(odd.values())):
            return
        length = VR_FORMS.get(block[found.header_length + 4 : found.header_length + 6])
        if length is None or found.elements.get(_CHARACTER_SET, b"") not in CHARACTER_SETS:
            return
        self._models.appendleft(
            _Model(
                known,
                found,
                found.table,
                array("I", found.table)[::3],
                block[: found.header_length + length],
                *first,
                facts,
                found.text("SOPInstanceUID"),
                found.text("MediaStorageSOPInstanceUID"),
                odd.keys(),
            )
        )

    def read(self, block: bytes, size: int) -> Like[T] | None:
        """Read a header; None where it is like none, or where that takes thought.

        Parameters
        ----------
        block
            The first bytes of the file.
        size
            Bytes of the file.
        """
        for at, model in enumerate(self._models):
            like = self._like(model, block, size)
            if like is not None:
                if at:
                    del self._models[at]
                    self._models.appendleft(model)
                return like
        return None

    def _like(self, model: _Model[T], block: bytes, size: int) -> Like[T] | None:
        first = model.found
        compared = quickwalk.like(
            model.header,
            first.dataset_offset,
            model.table,
            first.header_length,
            block,
            size,
            _FIXED,
            sequences(),
            creators(),
        )
        if compared is None:
            return None
        places, jsons, texts, declared, begins, ends = compared
        entries, own, by_tag = model.entries.copy(), [], {}
        for place, json, text in zip(places, jsons, texts, strict=True):
            entry = entries[place] = model.entry(place, json)
            tag = model.tags[place]
            if entry.problems or place in model.odd or (text is None and tag in WANTED):
                return None
            own.append(entry.pair)
            by_tag[tag] = text
        uid = by_tag.get(_SOP_INSTANCE, model.sop_uid)
        if not uid or len(uid) > _LONGEST_UID or (declared or model.declared_uid or uid) != uid:
            return None
        found = Scan(first.transfer_syntax_uid, size, begins, ends, {}, ())
        record, problems = self._frames.read(
            found, model.tags.tobytes(), entries, lambda offset, length: block[offset : offset + length]
        )
        if problems:
            return None
        facts = Facts(model.facts.base, f"{{{','.join(own)}}}", model.facts.issues, record)
        return Like(model.known, found, by_tag, facts)
