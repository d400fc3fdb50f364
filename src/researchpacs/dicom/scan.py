"""The guarded header scan: the first thing that reads bytes from outside, without trusting one of them.

It walks the whole structure of an instance, refuses what is unsafe to parse, notes what is odd but safe, and keeps the
raw values it is asked for. It takes time linear in the file's structure and memory bounded by a few blocks; pixel
values are walked over, never read.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from pydicom.datadict import dictionary_VR, tag_for_keyword

from researchpacs.dicom._walk import Walk
from researchpacs.dicom._walk_image import IMAGE_KEYWORDS, check_image
from researchpacs.dicom._walk_inflate import inflate
from researchpacs.dicom._walk_opening import Opening, read_opening
from researchpacs.dicom._walk_tags import name_of
from researchpacs.dicom._walk_text import as_text, knows_character_set, problem_of
from researchpacs.dicom._walk_window import Window
from researchpacs.dicom.keywords import INDEXED
from researchpacs.errors import InvalidInputError

__all__ = ["WANTED", "MediaDirectoryError", "Oddity", "Scan", "scan"]

_IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_NEEDED = frozenset(
    tag_for_keyword(keyword) or 0 for keyword in (*_IDENTITY, "SOPClassUID", "SpecificCharacterSet", *IMAGE_KEYWORDS)
)
WANTED: frozenset[int] = _NEEDED | {tag_for_keyword(keyword) or 0 for level in INDEXED.values() for keyword in level}
"""Tags that are kept by default: the identity, the character set, the image's shape, what an archive indexes."""

_CHARACTER_SET = 0x00080005
_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_MAX_UID_LENGTH = 64
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

    def has(self, keyword: str) -> bool:
        """Whether an attribute that was wanted is present, be it without a value."""
        return tag_for_keyword(keyword) in self.elements

    def text(self, keyword: str) -> str:
        r"""Decode an attribute with the file's character set (PS3.5 6.1).

        Padding is stripped as its VR allows, values are separated by ``\``, binary numbers are written out. Empty where
        the attribute is absent or was not wanted.
        """
        tag = tag_for_keyword(keyword)
        if tag is None or not (value := self.elements.get(tag)):
            return ""
        little_endian = self.little_endian or tag >> 16 == 2
        return as_text(
            value,
            _vr_of(tag, self.vrs.get(tag, b"")),
            self.elements.get(_CHARACTER_SET, b""),
            little_endian=little_endian,
        )


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
    opening = read_opening(window)
    if opening.sop_class_uid == _MEDIA_DIRECTORY:
        raise MediaDirectoryError("a DICOMDIR lists instances and is none itself")
    with _data_set(file, window, opening) as (source, start):
        walk = Walk(
            source,
            start,
            implicit=opening.implicit,
            little_endian=opening.little_endian,
            wanted=_NEEDED.union(wanted),
        )
        for note in opening.notes:
            walk.note(*note)
        walk.run()
    pixels = next((walk.pixels[tag] for tag in _PIXELS_BY_PREFERENCE if tag in walk.pixels), None)
    found = Scan(
        transfer_syntax_uid=opening.transfer_syntax_uid,
        size=window.size,
        dataset_offset=opening.dataset_offset,
        header_length=window.size if pixels is None or opening.deflated else pixels.offset,
        elements={**opening.elements, **walk.elements},
        issues=(),
        vrs=walk.vrs,
        little_endian=opening.little_endian,
    )
    _check_identity(found)
    notes = [*walk.notes, *_meta_problems(found), *_value_problems(found)]
    if pixels is not None:
        notes += check_image(
            pixels, found.transfer_syntax_uid, _numbers(found), found.text("PhotometricInterpretation")
        )
    return replace(found, issues=tuple(Oddity(*note) for note in notes))


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


def _check_identity(found: Scan) -> None:
    if found.text("SOPClassUID") == _MEDIA_DIRECTORY:
        raise MediaDirectoryError("a DICOMDIR lists instances and is none itself")
    for keyword in _IDENTITY:
        uid = found.text(keyword)
        if not uid:
            raise InvalidInputError(f"{keyword} is missing or empty, so that the instance has no identity")
        if len(uid) > _MAX_UID_LENGTH:
            raise InvalidInputError(f"{keyword} has {len(uid)} characters where a UID has at most {_MAX_UID_LENGTH}")


def _numbers(found: Scan) -> dict[str, int]:
    """Read the numeric attributes of the image; one that is no number is left out."""
    numbers = {}
    for keyword in IMAGE_KEYWORDS:
        with contextlib.suppress(ValueError):
            numbers[keyword] = int(found.text(keyword))
    return numbers


def _meta_problems(found: Scan) -> Iterator[tuple[str, str]]:
    for meta, keyword in (
        ("MediaStorageSOPInstanceUID", "SOPInstanceUID"),
        ("MediaStorageSOPClassUID", "SOPClassUID"),
    ):
        if (declared := found.text(meta)) and declared != found.text(keyword):
            yield meta, f"is not the {keyword} of the data set"


def _value_problems(found: Scan) -> Iterator[tuple[str, str]]:
    if not knows_character_set(found.elements.get(_CHARACTER_SET, b"")):
        yield "SpecificCharacterSet", "is unknown, so that text is read as Latin-1"
    for tag, vr in found.vrs.items():
        if problem := problem_of(found.elements[tag], _vr_of(tag, vr)):
            yield name_of(tag), problem


def _vr_of(tag: int, explicit: bytes) -> str:
    """Value representation that pydicom decodes an element with."""
    if explicit not in (b"", b"UN"):
        return explicit.decode("latin-1")
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"
