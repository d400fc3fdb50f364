"""Compare person names as queries mean it (PS3.4 C.2.2.2.1, PS3.5 6.2.1)."""

import re
import unicodedata
from collections.abc import Iterator

__all__ = ["PLAIN", "fits", "have_name", "is_simple", "name_matches", "name_resembles", "trimmed"]

PLAIN = "not glob '*[^ -~]*'"
"""SQL: a text of printable ASCII alone, which SQLite itself can fold; a scan over it calls no Python."""

_LONG_ENOUGH_TO_ERR = 4
_MOST_STARS = 3


def name_matches(name: str | None, pattern: str) -> bool:
    """Whether a name, or one of its component groups, fits a pattern with ``*`` and ``?``, in any case."""
    if name is None:
        return False
    folded = trimmed(pattern)
    return any(fits(candidate, folded) for candidate in _candidates(name))


def have_name(condition: str) -> str:
    """SQL: that the patient is one of those for whom a condition on their name, in terms of `one`, holds.

    The names are looked through first, in their index, and only the patients found meet the levels below.
    """
    return (
        "patients.patient_key in (select one.patient_key from patients as one indexed by patients_by_name "  # noqa: S608
        f"where {condition})"
    )


def trimmed(name: str) -> str:
    """A name or pattern in lower case, without the delimiters of empty components and groups at its end."""
    return name.casefold().rstrip("^= ")


def is_simple(pattern: str) -> bool:
    """Whether SQLite's GLOB takes a bounded time for it: each star may make it begin again from every letter."""
    return pattern.count("*") <= _MOST_STARS


def name_resembles(name: str | None, wanted: str) -> bool:
    """Whether every word of a question begins a word of the name, in any order.

    Case and accents count for nothing, and in words of four letters and more one letter may be wrong, missing, too much
    or swapped with the next.
    """
    if name is None:
        return False
    words = list(_words(name))
    return all(any(_begins(word, part) for word in words) for part in _words(wanted))


def _candidates(name: str) -> Iterator[str]:
    yield trimmed(name)
    for group in name.casefold().split("="):
        yield group.rstrip("^ ")


def fits(text: str, pattern: str) -> bool:
    """Match wildcards in time proportional to text and pattern, whatever the pattern is."""
    at, place, star, resume = 0, 0, -1, 0
    while at < len(text):
        if place < len(pattern) and pattern[place] == "*":
            star, resume, place = place, at, place + 1
        elif place < len(pattern) and pattern[place] in ("?", text[at]):
            at, place = at + 1, place + 1
        elif star >= 0:
            # The last star takes one letter more.
            place, resume = star + 1, resume + 1
            at = resume
        else:
            return False
    return not pattern[place:].strip("*")


def _words(text: str) -> Iterator[str]:
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    yield from re.findall(r"\w+", plain.casefold())


def _begins(word: str, part: str) -> bool:
    if word.startswith(part):
        return True
    if len(part) < _LONG_ENOUGH_TO_ERR:
        return False
    return any(_is_one_off(word[:length], part) for length in range(len(part) - 1, len(part) + 2))


def _is_one_off(one: str, two: str) -> bool:
    """Whether one letter changed, added, left out or swapped with its neighbour makes one of the other."""
    start = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    one, two = one[start:], two[start:]
    return (
        one[1:] == two[1:]
        or one == two[1:]
        or one[1:] == two
        or (one[:2] == two[1::-1] and len(two) > 1 and one[2:] == two[2:])
    )
