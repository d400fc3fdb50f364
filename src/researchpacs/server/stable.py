"""Announces objects as stable when nothing has come for them for a while."""

import logging
import sqlite3
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["STABLE_AGE_S", "StableWatch"]

STABLE_AGE_S = 60.0
"""How long nothing may have come below an object."""

_log = logging.getLogger(__name__)


class StableWatch:
    """A thread that looks every second; a context manager.

    Parameters
    ----------
    pacs
        Whose objects.
    age_s
        How long nothing may have come.
    """

    def __init__(self, pacs: "Pacs", *, age_s: float = STABLE_AGE_S) -> None:
        self._resources = pacs.archive.resources
        self._age_s = age_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="researchpacs-stable", daemon=True)

    def __enter__(self) -> "StableWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(min(1.0, self._age_s)):
            try:
                self._resources.settle(self._age_s)
            except (sqlite3.Error, OSError) as error:  # such as a full disk; the next look may succeed
                _log.error("stable objects could not be announced: %s", type(error).__name__)
