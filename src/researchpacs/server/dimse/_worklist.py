"""Modality worklist (PS3.4 annex K) from a folder of ``.wl`` files, one scheduled item each.

The folder is read at every question, so that whoever plans puts files there and takes them away. A file is a DICOM data
set with what a modality asks for, the scheduled step in ScheduledProcedureStepSequence.
"""

import logging
from collections.abc import Iterator
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path

from pydicom import Dataset
from pydicom.dataelem import DataElement

from researchpacs.archive._dimse._association import Association, Message
from researchpacs.archive._dimse._identifier import read_identifier, write_identifier
from researchpacs.archive._names import name_matches
from researchpacs.dicom._walk import Walk
from researchpacs.dicom._walk_opening import read_opening
from researchpacs.dicom._walk_window import Window
from researchpacs.dicom.header import read_header
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import InvalidInputError
from researchpacs.server.dimse._find import CANCELLED, NO_MATCH_FOR_CLASS, PENDING, SUCCESS

__all__ = ["answer_worklist", "items_of"]

_log = logging.getLogger(__name__)
_LARGEST_ITEM = 1 << 20
_RANGES = frozenset({"DA", "TM", "DT"})
# PS3.4 C.2.2.2.4: for all others, * and ? mean themselves.
_WILD = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_CHARACTER_SET = 0x00080005


def answer_worklist(association: Association, request: Message, folder: Path) -> None:
    """Send a pending response for each item that matches, then the last."""
    syntax = request.context.transfer_syntax_uid
    try:
        query = read_identifier(request.data, syntax)
    except InvalidInputError as error:
        association.respond(request, NO_MATCH_FOR_CLASS, comment=str(error))
        return
    for item in items_of(folder):
        if association.is_cancelled(request):
            association.respond(request, CANCELLED)
            return
        with reading_quietly():
            answer = _answer(query, item) if _matches(query, item) else None
            encoded = None if answer is None else write_identifier(answer, syntax)
        if encoded is not None:
            association.respond(request, PENDING, encoded)
    association.respond(request, SUCCESS)


def items_of(folder: Path) -> Iterator[Dataset]:
    """Read the items of a folder, by name; what is no sound data set is left out and logged."""
    for path in sorted(folder.glob("*.wl")):
        try:
            data = path.read_bytes() if path.stat().st_size <= _LARGEST_ITEM else b""
            window = Window(BytesIO(data))
            opening = read_opening(window)
            Walk(
                window,
                opening.walk_offset,
                implicit=opening.implicit,
                little_endian=opening.little_endian,
                wanted=(),
            ).run()
            yield read_header(
                data, dataset_offset=opening.dataset_offset, transfer_syntax_uid=opening.transfer_syntax_uid
            )
        except (InvalidInputError, OSError) as error:
            _log.warning("the worklist item %s cannot be read: %s", path.name, error)


def _matches(query: Dataset, item: Dataset) -> bool:
    """Whether every key that has a value matches (PS3.4 C.2.2.2); of a sequence, one item has to match as a whole."""
    for key in query:
        if key.tag == _CHARACTER_SET or key.is_empty:
            continue
        held = item.get(key.tag)
        if key.VR == "SQ":
            wanted = key.value[0] if key.value else Dataset()
            candidates = held.value if held is not None and held.VR == "SQ" else []
            if any(not one.is_empty for one in wanted) and not any(_matches(wanted, one) for one in candidates):
                return False
        elif not any(_fits(key.VR, wanted, held) for wanted in _texts(key)):
            return False
    return True


def _fits(vr: str, wanted: str, held: DataElement | None) -> bool:
    if wanted == "*" and vr in _WILD:
        return True
    texts = [] if held is None else _texts(held)
    if vr == "PN":
        return any(name_matches(text, wanted) for text in texts)
    if vr in _RANGES:
        low, dash, high = wanted.partition("-")
        # A value that is cut short is its whole period; no digit comes after a tilde.
        return any(low <= text <= f"{(high if dash else low) or '~'}~" for text in texts)
    if vr in _WILD and ("*" in wanted or "?" in wanted):
        pattern = wanted.replace("[", "[[]")
        return any(fnmatchcase(text, pattern) for text in texts)
    return wanted in texts


def _texts(element: DataElement) -> list[str]:
    value = element.value
    values = value if element.VM > 1 else [value]
    return [str(one).strip() for one in values if one not in (None, "", b"")]


def _answer(query: Dataset, item: Dataset) -> Dataset:
    """Give what was asked for (PS3.4 K.4.1.1.3): of a sequence the items that match, whole where no part is named."""
    answer = Dataset()
    for key in query:
        if key.tag == _CHARACTER_SET:
            continue
        held = item.get(key.tag)
        if key.VR == "SQ":
            wanted = key.value[0] if key.value else Dataset()
            found = [one for one in (held.value if held is not None else []) if _matches(wanted, one)]
            value = [_answer(wanted, one) if len(wanted) else _answer(one, one) for one in found]
            answer[key.tag] = DataElement(key.tag, "SQ", value)
        else:
            texts = [] if held is None else _texts(held)
            answer[key.tag] = DataElement(key.tag, key.VR, texts[0] if len(texts) == 1 else texts)
    return answer
