"""The words of encapsulated documents (PS3.3 C.24.2): read by a process of its own, within bounds."""

import subprocess
import sys
from collections.abc import Callable

from pydicom.dataset import Dataset

from researchpacs.dicom import open_document
from researchpacs.dicom.report_text import LONGEST

__all__ = ["MOST_BYTES", "document_text"]

MOST_BYTES = 64 << 20
"""Bytes of a document up to which it is opened."""
MOST_SECONDS = 20
"""Seconds of processor time that a document may take."""
MOST_MEMORY_BYTES = 1 << 30

_WALL_S = 300
"""Seconds after which a process that does nothing is given up, on a machine that is very busy too."""
_KINDS = {"application/pdf": "pdf", "text/xml": "xml", "application/xml": "xml", "application/hl7-cda+xml": "xml"}
_PROBLEMS = {
    open_document.ENCRYPTED: "is encrypted: its text was not read",
    open_document.LACKING: "is not opened without pypdf: install 'researchpacs[pdf]', then run `researchpacs sync "
    "--rebuild`",
    open_document.UNREADABLE: "is no document of its type: its text was not read",
}


def document_text(ds: Dataset, mime_type: str | None, note: Callable[[str, str], None]) -> str | None:
    """Read the words of a PDF or CDA document, a page or a paragraph a line.

    Parameters
    ----------
    ds
        The object.
    mime_type
        Of its document.
    note
        Takes keyword and problem of what was not read.

    Returns
    -------
    text
        None for another type, a document without words, and one that was not read, which is told.
    """
    kind = _KINDS.get((mime_type or "").lower())
    data = ds.get("EncapsulatedDocument")
    if kind is None or not isinstance(data, bytes) or not data:
        return None
    if len(data) > MOST_BYTES:
        note("EncapsulatedDocument", f"has more than {MOST_BYTES >> 20} MiB: its text was not read")
        return None
    words, status = _ask(kind, _without_padding(ds, data))
    if status:
        too_much = "takes more time or memory than a document may: its text was not read"
        note("EncapsulatedDocument", _PROBLEMS.get(status, too_much))
        return None
    return words.decode("utf-8", "replace") or None


def _without_padding(ds: Dataset, data: bytes) -> bytes:
    length = ds.get("EncapsulatedDocumentLength")
    return data[:length] if isinstance(length, int) and 0 < length <= len(data) else data


def _ask(kind: str, data: bytes) -> tuple[bytes, int]:
    """The program's output and exit status; -1 where it had to be given up."""
    limits = map(str, (LONGEST, MOST_SECONDS, MOST_MEMORY_BYTES))
    # -P: no module is taken from the folder the notebook happens to be in.
    command = [sys.executable, "-P", "-m", open_document.__name__, kind, *limits]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=_WALL_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return b"", -1
    return done.stdout, done.returncode
