"""The guarded header scan: the first thing that reads bytes from outside, without trusting one of them.

It walks the whole structure of an instance, refuses what is unsafe to parse, notes what is odd but safe, and keeps the
raw values it is asked for. It takes time linear in the file's structure and memory bounded by a few blocks; pixel
values are walked over, never read.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO

from pydicom.datadict import dictionary_VR, tag_for_keyword

from researchpacs.dicom._walk import Walk
from researchpacs.dicom._walk_image import IMAGE_KEYWORDS, check_image
from researchpacs.dicom._walk_inflate import inflate
from researchpacs.dicom._walk_opening import Opening, read_opening
from researchpacs.dicom._walk_quick import Walked, walk_quickly
from researchpacs.dicom._walk_tags import name_of
from researchpacs.dicom._walk_text import as_text, knows_character_set, problem_of
from researchpacs.dicom._walk_window import Window
from researchpacs.dicom.keywords import INDEXED
from researchpacs.errors import InvalidInputError

__all__ = ["IMAGE_TAGS", "WANTED", "MediaDirectoryError", "Oddity", "Scan", "scan"]

_IDENTITY = {"StudyInstanceUID": 0x0020000D, "SeriesInstanceUID": 0x0020000E, "SOPInstanceUID": 0x00080018}
_SOP_CLASS = 0x00080016
_CHARACTER_SET = 0x00080005
IMAGE_TAGS = tuple(tag_for_keyword(keyword) or 0 for keyword in IMAGE_KEYWORDS)
"""What pixels are checked against."""
_NEEDED = frozenset((*_IDENTITY.values(), _SOP_CLASS, _CHARACTER_SET, *IMAGE_TAGS))
WANTED: frozenset[int] = _NEEDED | {tag_for_keyword(keyword) or 0 for level in INDEXED.values() for keyword in level}
"""Tags that are kept by default: the identity, the character set, the image's shape, what an archive indexes."""

_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_MAX_UID_LENGTH = 64
_LONGEST_REMEMBERED = 256
_PIXELS_BY_PREFERENCE = (0x7FE00010, 0x7FE00008, 0x7FE00009)


class MediaDirectoryError(InvalidInputError):
    """A DICOMDIR: it lists instances and is none itself."""


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something odd but safe."""

    keyword: str
    """The attribute's keyword, ``"(gggg,eeee)"`` for one without, empty for the file as a whole."""
    problem: str
    """A phrase that follows the keyword, without patient data."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What the header of one instance says."""

    transfer_syntax_uid: str
    """As declared in the File Meta Information; as recognised where nothing is declared."""
    size: int
    """Bytes of the whole file."""
    dataset_offset: int
    """First byte after the File Meta Information."""
    header_length: int
    """Bytes before the pixel data element; `size` where there is none or the data set is deflated."""
    elements: Mapping[int, bytes] = field(repr=False)
    """Raw value by tag: the File Meta Information and the wanted elements that are there."""
    issues: tuple[Oddity, ...]
    """What is odd but safe."""
    vrs: Mapping[int, bytes] = field(repr=False, default_factory=dict)
    """Explicit VR of the wanted elements, empty for one without."""
    little_endian: bool = True
    """Byte order of the data set."""
    known_texts: Mapping[int, str] = field(repr=False, default_factory=dict)
    """What `text` gives, by tag, as far as it is known already."""
    table: bytes | None = field(repr=False, default=None)
    """Tag, first and last byte of all elements but the pixels, as native 32-bit numbers; None where the structure is
    not that plain."""

    def has(self, keyword: str) -> bool:
        """Whether an attribute that was wanted is present, be it without a value."""
        return tag_for_keyword(keyword) in self.elements

    def text(self, keyword: str) -> str:
        r"""Decode an attribute with the file's character set (PS3.5 6.1).

        Padding is stripped as its VR allows, values are separated by ``\``, binary numbers are written out. Empty where
        the attribute is absent or was not wanted.
        """
        tag = tag_for_keyword(keyword)
        if tag is None:
            return ""
        known = self.known_texts.get(tag)
        return self._text(tag) if known is None else known

    def texts(self, tags: Mapping[str, int]) -> dict[str, str]:
        """Decode many attributes, as `text` does each: by what they are called, their tags."""
        known = self.known_texts
        found = {name: known.get(tag) for name, tag in tags.items()}
        return {name: self._text(tags[name]) if text is None else text for name, text in found.items()}

    def _text(self, tag: int) -> str:
        if not (value := self.elements.get(tag)):
            return ""
        character_set = self.elements.get(_CHARACTER_SET, b"")
        return _text(tag, self.vrs.get(tag, b""), value, character_set, self.little_endian)


def scan(file: BinaryIO, *, wanted: Collection[int] = WANTED) -> Scan:
    """Check one instance and read its header.

    Parameters
    ----------
    file
        Seekable, binary, positioned anywhere; left open.
    wanted
        Tags of the data set's own elements (not of items) whose values are kept. The identity, the character set and
        the image's shape are kept in any case.

    Raises
    ------
    InvalidInputError
        Not DICOM, unsafe, or without the UIDs that identify an instance. The message is one line that names the
        element and the byte, never a value.
    MediaDirectoryError
        A DICOMDIR.
    """
    window = Window(file)
    needed = _needed(frozenset(wanted))
    walked = walk_quickly(window, needed) or _walk(file, window, needed)
    return _checked(walked, window.size)


@lru_cache(maxsize=64)
def _needed(wanted: frozenset[int]) -> frozenset[int]:
    return _NEEDED | wanted


def _walk(file: BinaryIO, window: Window, wanted: frozenset[int]) -> Walked:
    opening = read_opening(window)
    if opening.sop_class_uid == _MEDIA_DIRECTORY:
        raise MediaDirectoryError("a DICOMDIR lists instances and is none itself")
    with _data_set(file, window, opening) as (source, start):
        walk = Walk(source, start, implicit=opening.implicit, little_endian=opening.little_endian, wanted=wanted)
        for note in opening.notes:
            walk.note(*note)
        walk.run()
    return Walked(
        transfer_syntax_uid=opening.transfer_syntax_uid,
        dataset_offset=opening.dataset_offset,
        deflated=opening.deflated,
        little_endian=opening.little_endian,
        elements={**opening.elements, **walk.elements},
        vrs=walk.vrs,
        pixels=walk.pixels,
        notes=list(walk.notes),
        doubtful=list(walk.vrs),
    )


def _checked(walked: Walked, size: int) -> Scan:
    """Look at what the walk found: the identity, values against their VRs, pixels against their bytes."""
    _check_identity(walked)
    pixels = next((walked.pixels[tag] for tag in _PIXELS_BY_PREFERENCE if tag in walked.pixels), None)
    notes = [*walked.notes, *_meta_problems(walked), *_value_problems(walked)]
    if pixels is not None:
        notes += check_image(pixels, walked.transfer_syntax_uid, *_image(walked))
    return Scan(
        transfer_syntax_uid=walked.transfer_syntax_uid,
        size=size,
        dataset_offset=walked.dataset_offset,
        header_length=size if pixels is None or walked.deflated else pixels.offset,
        elements=walked.elements,
        issues=tuple(Oddity(*note) for note in notes) if notes else (),
        vrs=walked.vrs,
        little_endian=walked.little_endian,
        known_texts=walked.texts,
        table=walked.table,
    )


@contextlib.contextmanager
def _data_set(file: BinaryIO, window: Window, opening: Opening) -> Iterator[tuple[Window, int]]:
    """Give the window and the offset to walk from; for a deflated data set a window on what it inflates to."""
    if not opening.deflated:
        yield window, opening.walk_offset
        return
    inflated, left = inflate(file, opening.dataset_offset, window.size)
    with inflated:
        if left > 1:
            opening.notes.append(("", f"{left} bytes after the deflated data set"))
        yield Window(inflated), 0


def _check_identity(walked: Walked) -> None:
    if _text_in(walked, _SOP_CLASS) == _MEDIA_DIRECTORY:
        raise MediaDirectoryError("a DICOMDIR lists instances and is none itself")
    for keyword, tag in _IDENTITY.items():
        uid = _text_in(walked, tag)
        if not uid:
            raise InvalidInputError(f"{keyword} is missing or empty, so that the instance has no identity")
        if len(uid) > _MAX_UID_LENGTH:
            raise InvalidInputError(f"{keyword} has {len(uid)} characters where a UID has at most {_MAX_UID_LENGTH}")


def _image(walked: Walked) -> tuple[Mapping[str, int], str]:
    """The numeric attributes of the image, those that are numbers, and its photometric interpretation."""
    elements, vrs = walked.elements, walked.vrs
    return _image_of(
        tuple([elements.get(tag) for tag in IMAGE_TAGS]),
        tuple([vrs.get(tag, b"") for tag in IMAGE_TAGS]),
        elements.get(_CHARACTER_SET, b""),
        walked.little_endian,
    )


@lru_cache(maxsize=256)
def _image_of(
    values: tuple[bytes | None, ...], vrs: tuple[bytes, ...], character_set: bytes, little_endian: bool
) -> tuple[Mapping[str, int], str]:
    numbers, photometric_interpretation = {}, ""
    for keyword, tag, value, vr in zip(IMAGE_KEYWORDS, IMAGE_TAGS, values, vrs, strict=True):
        text = _text(tag, vr, value or b"", character_set, little_endian)
        if keyword == "PhotometricInterpretation":
            photometric_interpretation = text
        with contextlib.suppress(ValueError):
            numbers[keyword] = int(text)
    return numbers, photometric_interpretation


def _meta_problems(walked: Walked) -> Iterator[tuple[str, str]]:
    for meta, keyword, tag in (
        (0x00020003, "SOPInstanceUID", 0x00080018),
        (0x00020002, "SOPClassUID", _SOP_CLASS),
    ):
        if (declared := _text_in(walked, meta)) and declared != _text_in(walked, tag):
            yield name_of(meta), f"is not the {keyword} of the data set"


def _value_problems(walked: Walked) -> Iterator[tuple[str, str]]:
    if not _knows_character_set(walked.elements.get(_CHARACTER_SET, b"")):
        yield "SpecificCharacterSet", "is unknown, so that text is read as Latin-1"
    for tag in walked.doubtful:
        if problem := _problem_of(walked.elements[tag], _vr_of(tag, walked.vrs[tag])):
            yield name_of(tag), problem


_knows_character_set = lru_cache(maxsize=256)(knows_character_set)
_problem_of = lru_cache(maxsize=4096)(problem_of)


def _text_in(walked: Walked, tag: int) -> str:
    if (known := walked.texts.get(tag)) is not None:
        return known
    elements = walked.elements
    if not (value := elements.get(tag)):
        return ""
    return _text(tag, walked.vrs.get(tag, b""), value, elements.get(_CHARACTER_SET, b""), walked.little_endian)


def _text(tag: int, vr: bytes, value: bytes, character_set: bytes, little_endian: bool) -> str:
    if len(value) > _LONGEST_REMEMBERED:
        return _decoded(tag, vr, value, character_set, little_endian)
    return _remembered(tag, vr, value, character_set, little_endian)


def _decoded(tag: int, vr: bytes, value: bytes, character_set: bytes, little_endian: bool) -> str:
    return as_text(value, _vr_of(tag, vr), character_set, little_endian=little_endian or tag >> 16 == 2)


# An instance mostly repeats its series.
_remembered = lru_cache(maxsize=16_384)(_decoded)


@lru_cache(maxsize=4096)
def _vr_of(tag: int, explicit: bytes) -> str:
    """Value representation that pydicom decodes an element with."""
    if explicit not in (b"", b"UN"):
        return explicit.decode("latin-1")
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"
