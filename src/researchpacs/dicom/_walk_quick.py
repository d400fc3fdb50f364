"""The walk as `scan` needs it: the compiled one as far as nothing is odd, the one in Python from there on.

Headers as scanners write them are walked in C (_quickwalk.c), in a twentieth of the time. It is compiled when the
package is installed where there is a compiler, and left out where there is none: nothing but time depends on it,
because it gives up at the first byte that raises a question, and Python decides.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from researchpacs.dicom._walk import PixelElement, Walk
from researchpacs.dicom._walk_tags import SEQUENCE_TAGS, SHORT_FORM, VR_FORMS, creators_of_sequences
from researchpacs.dicom._walk_window import Window

__all__ = ["Walked", "creators", "quickwalk", "sequences", "walk_quickly"]

_INTERFACE = 1
"""Raised here and in _quickwalk.c when a function there takes or gives something else."""
_META = 0x0002FFFF
_ENTRY = 3
_PIXELS, _AT = 6, 7
_NEAR = 4096
"""A walk that stops closer to the end of its block may have stopped for want of bytes."""
_LONG_BLOCK = 65_536


@dataclass(slots=True)
class Walked:
    """What a walk found."""

    transfer_syntax_uid: str
    dataset_offset: int
    deflated: bool
    little_endian: bool
    elements: dict[int, bytes]
    """The File Meta Information and the wanted elements."""
    vrs: dict[int, bytes]
    """Of the wanted elements."""
    pixels: Mapping[int, PixelElement]
    notes: list[tuple[str, str]]
    doubtful: list[int]
    """Wanted elements whose value may break its VR."""
    texts: dict[int, str] = field(default_factory=dict, repr=False)
    """Of the wanted elements whose text is plain."""
    table: bytes | None = field(default=None, repr=False)
    """Tag, first and last byte of all elements but the pixels, as 32-bit numbers; None where they were not all met."""


def _compiled() -> Any:
    """The compiled walk; None where there is none, or one of other sources, as after an update without a build."""
    try:
        from researchpacs.dicom import _quickwalk
    except ImportError:
        return None
    return _quickwalk if getattr(_quickwalk, "INTERFACE", None) == _INTERFACE else None


quickwalk: Any = _compiled()


def walk_quickly(window: Window, wanted: frozenset[int]) -> Walked | None:
    """Walk a header whose File Meta Information and first element are as they should be; None for another.

    Parameters
    ----------
    window
        As it was opened: with the first bytes of the file.
    wanted
        Tags whose values are kept.

    Raises
    ------
    InvalidInputError
        As `Walk.run`.
    """
    if quickwalk is None:
        return None
    found = _walk_block(window, wanted)
    if found is None:
        return None
    if found[_PIXELS] is None and len(window.data) < found[_AT] + _NEAR < window.size:
        window.hold(0, min(_LONG_BLOCK, window.size))  # a long header: it may be walked to its end in a longer block
        found = _walk_block(window, wanted) or found
    syntax, start, elements, vrs, texts, doubtful, pixels, at, previous, table = found
    walked = Walked(
        transfer_syntax_uid=syntax,
        dataset_offset=start,
        deflated=False,
        little_endian=True,
        elements=elements,
        vrs=vrs,
        pixels={} if pixels is None else {pixels[0]: PixelElement(*pixels)},
        notes=[],
        doubtful=doubtful,
        texts=texts,
        table=table,
    )
    if at < window.size:
        _walk_on(walked, window, wanted, at, previous)
    return walked


def _walk_block(window: Window, wanted: frozenset[int]) -> Any:
    return quickwalk.walk(window.data, window.size, _sorted(wanted), sequences(), creators())


def _walk_on(walked: Walked, window: Window, wanted: frozenset[int], at: int, previous: int) -> None:
    """Walk from where the quick walk stopped."""
    assert walked.table is not None
    implicit = walked.transfer_syntax_uid == "1.2.840.10008.1.2"
    walk = Walk(window, walked.dataset_offset, implicit=implicit, little_endian=True, wanted=wanted)
    walk.resume(at, previous=previous, creators=_private_creators(walked.table, implicit=implicit, window=window))
    before = set(walked.pixels)
    walk.elements |= {tag: value for tag, value in walked.elements.items() if tag > _META}
    walk.vrs |= walked.vrs
    walk.pixels |= walked.pixels
    walk.run()
    walked.elements |= walk.elements
    walked.vrs, walked.pixels, walked.notes = walk.vrs, walk.pixels, list(walk.notes)
    walked.doubtful = list(walk.vrs)
    if walk.count > len(set(walk.pixels) - before):
        walked.texts, walked.table = {}, None


def _private_creators(table: bytes, *, implicit: bool, window: Window) -> list[tuple[int, bytes]]:
    numbers = array("I", table)
    found = []
    for tag, start, end in zip(numbers[::_ENTRY], numbers[1::_ENTRY], numbers[2::_ENTRY], strict=True):
        if tag & 0x10000 and 0x10 <= tag & 0xFFFF <= 0xFF:
            element = window.take(start, end - start)
            found.append((tag, element[SHORT_FORM if implicit else VR_FORMS[element[4:6]] :]))
    return found


@lru_cache(maxsize=64)
def _sorted(tags: frozenset[int]) -> bytes:
    return array("I", sorted(tags)).tobytes()


@cache
def sequences() -> bytes:
    """Tags that the dictionary calls sequences, sorted."""
    return _sorted(SEQUENCE_TAGS)


@cache
def creators() -> frozenset[bytes]:
    """Private creators known to have sequences."""
    return frozenset(creator.encode("latin-1") for creator in creators_of_sequences())
