"""What a user tells of an annotation: a label, an author, an algorithm, a time; parsed alike for all of them."""

from datetime import UTC, datetime
from unicodedata import category

from researchpacs.dicom.codes import Code
from researchpacs.errors import InvalidInputError

__all__ = ["LONGEST_NAME", "as_algorithm", "as_author", "as_text", "as_utc", "one_line", "require_code"]

LONGEST_NAME = 64
"""Characters of a person name (PS3.5 6.2)."""
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories that no one-line text has: controls, halves of characters, line and paragraph separators."""


def as_text(text: str, name: str) -> str:
    """Parse one line of text; `name` says what it is, for the message."""
    stripped = text.strip() if isinstance(text, str) else ""
    if not stripped or any(category(character) in _UNPRINTABLE for character in stripped):
        raise InvalidInputError(f"the {name} is one line of text; this one is {text!r}")
    return stripped


def as_author(author: str) -> str:
    """Parse a name that fits a DICOM person name."""
    name = as_text(author, "author").rstrip("^")
    if not name or len(name) >= LONGEST_NAME or set(name) & set("\\="):
        raise InvalidInputError(
            f"an author is a name of less than {LONGEST_NAME} characters, without backslash and equals sign"
        )
    return name


def as_algorithm(algorithm: str | None) -> str | None:
    """Parse the name and version of a program."""
    if algorithm is None:
        return None
    text = as_text(algorithm, "algorithm")
    if " " not in text:
        raise InvalidInputError(f"an algorithm has a name and a version, as in 'nnU-Net 2.5'; this one is {text!r}")
    return text


def require_code(code: object, name: str) -> None:
    """Refuse what is neither a code nor absent."""
    if code is not None and not isinstance(code, Code):
        raise InvalidInputError(f"{name} is a Code, such as researchpacs.codes.NODULE; this one is {code!r}")


def as_utc(time: datetime | None) -> datetime | None:
    """Parse a moment, which has a time zone."""
    if time is not None and not isinstance(time, datetime):
        raise InvalidInputError(f"created_at is a datetime with a time zone, not a {type(time).__name__}")
    if time is not None and time.tzinfo is None:
        raise InvalidInputError("created_at has no time zone; use datetime.now(timezone.utc), or leave it out")
    return time.astimezone(UTC) if time else None


def one_line(text: str | None, without: str = "") -> str:
    """One line of what another vendor wrote."""
    kept = (character for character in text or "" if character not in without)
    return "".join(" " if category(character) in _UNPRINTABLE else character for character in kept).strip()
