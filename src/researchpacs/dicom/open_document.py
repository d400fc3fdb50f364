"""A program: the words of an encapsulated document from standard input, in a process that can be given up.

``python -m researchpacs.dicom.open_document KIND CHARACTERS SECONDS BYTES`` writes UTF-8. The kinds are ``pdf`` and
``xml`` (CDA, PS3.3 A.45). A document without end, or one that is made to cost much, ends the process at its limits of
processor time and memory; the caller is not harmed.
"""

import re
import sys
from collections.abc import Iterator
from io import BytesIO

__all__ = ["ENCRYPTED", "LACKING", "TOO_MUCH", "UNREADABLE", "main"]

ENCRYPTED = 3
LACKING = 4
UNREADABLE = 5
TOO_MUCH = 6
"""Exit status where there is a password on it, no library for it, no sense in it, or more than memory holds."""

_CONTROLS = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f]")


def main(arguments: list[str]) -> int:
    """Write the words of the document on standard input; the exit status."""
    kind, most, seconds, memory_bytes = arguments[0], *map(int, arguments[1:])
    _limit(seconds, memory_bytes)
    data = sys.stdin.buffer.read()
    try:
        words = _joined(_PARTS[kind](data), most)
    except ImportError:
        return LACKING
    except PermissionError:
        return ENCRYPTED
    except MemoryError:
        return TOO_MUCH
    except Exception:  # parsers raise whatever a broken document trips over
        return UNREADABLE
    sys.stdout.buffer.write(words.encode("utf-8", "replace"))
    return 0


def _limit(seconds: int, memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:
        return  # Windows: the caller's clock is the only limit
    for limit, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (most, most))


def _joined(parts: Iterator[str], most: int) -> str:
    found, length = [], 0
    for part in parts:
        found.append(_CONTROLS.sub("", part).strip())
        length += len(found[-1]) + 1
        if length > most:
            break
    return "\n".join(one for one in found if one)[:most]


def _pages(data: bytes) -> Iterator[str]:
    import logging

    logging.disable()  # what is odd about a document is not for anybody's log
    from pypdf import PasswordType, PdfReader

    reader = PdfReader(BytesIO(data))
    if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
        raise PermissionError
    for page in reader.pages:
        yield page.extract_text()


def _elements(data: bytes) -> Iterator[str]:
    from xml.etree import ElementTree as ET

    # Without a document type there are no entities to expand, and none of CDA has one (HL7 CDA R2, 1.3).
    if b"<!DOCTYPE" in data.replace(b"\0", b""):
        raise ValueError("a document type")
    for text in ET.fromstring(data.rstrip(b"\0 ")).itertext():  # noqa: S314 - see above
        if text.strip():
            yield " ".join(text.split())


_PARTS = {"pdf": _pages, "xml": _elements}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
