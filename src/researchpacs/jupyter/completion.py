"""Tab completion in SQL cells: tables and columns of the catalog, and the notebook's variables behind ``$``."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)

from researchpacs._pacs import Pacs

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["add_completion"]

_CELL = re.compile(r"\s*%%?pacs\b")
_WORD = re.compile(r"\$?\w*$")


def add_completion(shell: "InteractiveShell", archive: Callable[[], Pacs | None]) -> None:
    """Complete words of SQL cells from the tables of an archive; once, however often the extension is loaded."""
    completer = shell.Completer
    if any(getattr(one, "completes_pacs", False) for one in completer.custom_matchers):
        return

    @context_matcher(identifier="researchpacs")
    def matcher(context: CompletionContext) -> SimpleMatcherResult:
        return _complete(context, shell.user_ns, archive)

    matcher.completes_pacs = True
    completer.custom_matchers.append(matcher)


def _complete(
    context: CompletionContext, variables: dict[str, Any], archive: Callable[[], Pacs | None]
) -> SimpleMatcherResult:
    if not _CELL.match(context.full_text):
        return {"completions": []}
    found = _WORD.search(context.line_with_cursor[: context.cursor_position])
    word = found.group() if found else ""
    if word.startswith("$"):
        names = [f"${name}" for name in variables if not name.startswith("_")]
    else:
        names = _names_in(archive())
    fitting = sorted(name for name in names if name.lower().startswith(word.lower()))
    return {
        "completions": [SimpleCompletion(text=name, type="instance") for name in fitting],
        "matched_fragment": word,
        "suppress": True,
    }


def _names_in(archive: Pacs | None) -> list[str]:
    if archive is None:
        return []
    schema = archive.schema()
    return [*schema.tables, *schema.df()["column"].unique()]
