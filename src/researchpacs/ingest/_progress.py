"""A progress bar where somebody looks at it: on a terminal and in a notebook."""

import sys
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

__all__ = ["Progress"]

T = TypeVar("T")


class Progress:
    """A bar that counts files, or what else, and may learn their number while it runs.

    Parameters
    ----------
    wanted
        True or False; None shows it where standard error is a terminal or the process is a notebook's kernel.
    what
        What is going on.
    total
        How many there are, where that is known.
    unit
        What is counted.
    """

    def __init__(self, *, wanted: bool | None, what: str = "ingest", total: int = 0, unit: str = "files") -> None:
        self._bar: Any = None
        self._what, self._total, self._unit = what, total, unit
        self._wanted = _is_watched() if wanted is None else wanted

    def expect(self, items: Iterable[T]) -> Iterator[T]:
        """Pass items through, each of which will be counted."""
        for item in items:
            if self._bar is not None:
                self._bar.total += 1
            yield item

    def count(self, items: Iterable[T]) -> Iterator[T]:
        """Pass items through and move the bar."""
        for item in items:
            if self._bar is not None:
                self._bar.update()
            yield item

    def __enter__(self) -> Self:
        if self._wanted:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=self._total, desc=self._what, unit=f" {self._unit}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def _is_watched() -> bool:
    if sys.stderr is not None and sys.stderr.isatty():
        return True
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")
