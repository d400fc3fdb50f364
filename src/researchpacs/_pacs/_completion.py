"""Tab completion in Python cells: keywords in ``pacs.search(<Tab>``, columns in ``hits.df(columns=["<Tab>``."""

import re
import sys
from collections.abc import Iterable
from typing import Any

from researchpacs.catalog import column_types
from researchpacs.search import Search

__all__ = ["complete_call", "offer_completion"]

_OPTIONS = ("text", "labels", "where", "order", "limit")
_TABLES = ("patients", "studies", "series", "instances")
_OPEN, _CLOSE = "([{", ")]}"
_CALL = re.compile(r"([A-Za-z_]\w*)\s*\.\s*(search|df|arrow|pl)$")
_WORD = re.compile(r"\s*(\w*)")
_LIST = re.compile(r"columns\s*=\s*[\[(]")
_GIVEN = re.compile(r"\b(\w+)\s*=(?!=)")
_FEWEST_LETTERS = 2


def offer_completion() -> None:
    """Teach the IPython that runs here, if one does; once."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    completer = getattr(shell, "Completer", None)
    known = getattr(completer, "custom_matchers", None)
    if shell is None or known is None or any(getattr(one, "completes_search", False) for one in known):
        return
    from IPython.core.completer import SimpleCompletion, context_matcher

    def matcher(context: Any) -> Any:
        lines = [*context.full_text.split("\n")[: context.cursor_line], context.text_until_cursor]
        word, names = complete_call("\n".join(lines), shell.user_ns)
        found = [SimpleCompletion(text=name, type="param") for name in names]
        return {"completions": found, "matched_fragment": word, "suppress": False}

    made = context_matcher(identifier="researchpacs.search")(matcher)
    made.completes_search = True
    known.append(made)


def complete_call(text: str, variables: dict[str, Any]) -> tuple[str, list[str]]:
    """Give the word before the cursor and what may stand there; nothing outside of calls of ours.

    Parameters
    ----------
    text
        The cell up to the cursor.
    variables
        Of the notebook, by name; none is asked for anything but its type.
    """
    start, quote = _innermost(text)
    if start is None:
        return "", []
    owner = _CALL.search(text[:start].rstrip())
    target = variables.get(owner[1]) if owner else None
    arguments = text[start + 1 :]
    if owner is None or target is None:
        return "", []
    if owner[2] == "search" and not quote and hasattr(target, "search") and hasattr(target, "catalog"):
        return _keyword(arguments)
    if owner[2] != "search" and quote and isinstance(target, Search) and _LIST.match(arguments.lstrip()):
        word = arguments.rpartition(quote)[2]
        return word, _beginning(word, _columns())
    return "", []


def _keyword(arguments: str) -> tuple[str, list[str]]:
    """The name of an argument that is being written."""
    last = _after_last_comma(arguments)
    found = _WORD.fullmatch(last)
    if found is None:
        return "", []
    given = set(_GIVEN.findall(arguments))
    names = [f"{name}=" for name in (*_OPTIONS, *_names(found[1])) if name not in given]
    return found[1], _beginning(found[1], names)


def _names(word: str) -> Iterable[str]:
    """All keywords where something is typed, else those that are columns."""
    if len(word) < _FEWEST_LETTERS:
        return [name for name in _columns() if name[:1].isupper() and "_" not in name]
    from pydicom.datadict import DicomDictionary  # type: ignore[attr-defined]

    return [entry[4] for entry in DicomDictionary.values() if entry[4]]


def _columns() -> list[str]:
    return [name for table in _TABLES for name in column_types(table)]


def _beginning(word: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.lower().startswith(word.lower())})


def _innermost(text: str) -> tuple[int | None, str]:
    """Where the innermost call before the end of a text opens, and the quote that is open there.

    A list of names within a call counts as the call's.
    """
    opened: list[int] = []
    quote, at = "", 0
    while at < len(text):
        one = text[at]
        if quote:
            at += one == "\\"
            quote = "" if one == quote else quote
        elif one in "'\"":
            quote = one
        elif one == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif one in _OPEN:
            opened.append(at)
        elif one in _CLOSE and opened:
            opened.pop()
        at += 1
    if len(opened) > 1 and text[opened[-1]] != "(" and quote:
        opened.pop()
    return (opened[-1] if opened and text[opened[-1]] == "(" else None), quote


def _after_last_comma(arguments: str) -> str:
    depth, quote, start = 0, "", 0
    for at, one in enumerate(arguments):
        if quote:
            quote = "" if one == quote else quote
        elif one in "'\"":
            quote = one
        elif one in _OPEN:
            depth += 1
        elif one in _CLOSE:
            depth -= 1
        elif one == "," and not depth:
            start = at + 1
    return arguments[start:]
