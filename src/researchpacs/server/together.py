"""One commit for all who wait: requests that come while another is being stored share the next transaction."""

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from researchpacs.model import Incoming, Outcome

if TYPE_CHECKING:
    from researchpacs.archive import EmbeddedArchive

__all__ = ["held_workspace", "store_together", "workspace"]


@dataclass(slots=True)
class _Ticket:
    """What one request wants stored, and what became of it."""

    items: Sequence[Incoming]
    outcomes: list[Outcome] = field(default_factory=list)
    error: BaseException | None = None
    done: bool = False


class _Counter:
    """Where the requests of one archive meet."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        """Held by the request that commits for all."""
        self._gate = threading.Lock()
        self._waiting: list[_Ticket] = []
        self.workspace: Path | None = None

    def add(self, ticket: _Ticket) -> None:
        with self._gate:
            self._waiting.append(ticket)

    def take_all(self) -> list[_Ticket]:
        with self._gate:
            taken, self._waiting = self._waiting, []
        return taken


_counters: "weakref.WeakKeyDictionary[EmbeddedArchive, _Counter]" = weakref.WeakKeyDictionary()
_counters_lock = threading.Lock()


def store_together(archive: "EmbeddedArchive", items: Sequence[Incoming]) -> list[Outcome]:
    """Store instances; returns when they are durable, perhaps in one commit with those of other threads.

    Returns
    -------
    outcomes
        In the order of the items.
    """
    counter, ticket = _counter(archive), _Ticket(items)
    counter.add(ticket)
    with counter.turn:
        if not ticket.done:
            _commit(archive, counter.take_all())
    if ticket.error is not None:
        raise ticket.error
    return ticket.outcomes


@contextmanager
def held_workspace(archive: "EmbeddedArchive") -> Iterator[None]:
    """Keep one workspace and all folders while a server runs, so that not every request makes its own."""
    counter = _counter(archive)
    archive.make_folders()
    with archive.home.workspace() as tmp:
        counter.workspace = tmp
        try:
            yield
        finally:
            counter.workspace = None


@contextmanager
def workspace(archive: "EmbeddedArchive") -> Iterator[Path]:
    """The workspace that is held, or one for this block."""
    held = _counter(archive).workspace
    if held is not None:
        yield held
        return
    with archive.home.workspace() as tmp:
        yield tmp


def _counter(archive: "EmbeddedArchive") -> _Counter:
    with _counters_lock:
        return _counters.setdefault(archive, _Counter())


def _commit(archive: "EmbeddedArchive", batch: Sequence[_Ticket]) -> None:
    # A source may be the same in several requests, so each item goes under a name of its own.
    owners = {
        f"{at}/{number}": (ticket, number) for at, ticket in enumerate(batch) for number in range(len(ticket.items))
    }
    named = (replace(ticket.items[number], source=name) for name, (ticket, number) in owners.items())
    try:
        found = {outcome.source: outcome for outcome in archive.store(named)}
        for name, (ticket, number) in owners.items():
            ticket.outcomes.append(replace(found[name], source=ticket.items[number].source))
    except BaseException as error:
        for ticket in batch:
            ticket.error = error
        raise
    finally:
        for ticket in batch:
            ticket.done = True
