"""Routing: rules from a configuration, applied to series when they are stable, as jobs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from researchpacs.errors import InvalidInputError
from researchpacs.server.jobs import JobRunner
from researchpacs.server.routing._router import KIND, Router, apply_rule
from researchpacs.server.routing._rules import Action, Rule, Rules, check_rules, read_rules
from researchpacs.server.routing._work import handler

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["Action", "Rule", "Rules", "apply_now", "check_rules", "read_rules", "routing"]


@contextmanager
def routing(pacs: "Pacs", path: Path | None, *, workers: int = 2) -> Iterator[None]:
    """Route by the rules of a file while a block lasts; without a file there is nothing to do.

    Parameters
    ----------
    pacs
        Whose series; something else has to announce them as stable (`researchpacs.server.stable`).
    path
        TOML; read now and never again.
    workers
        How many jobs are done at a time, beside those of clients.

    Raises
    ------
    ResearchPacsError
        A rule has a mistake; says which one and what.
    """
    if path is None:
        yield
        return
    rules = read_rules(path)
    check_rules(rules, pacs, source=str(path))
    with Router(pacs, rules), JobRunner(pacs, {KIND: handler(rules)}, workers=workers, retry=rules.retry):
        yield


def apply_now(pacs: "Pacs", path: Path, name: str, *, dry_run: bool = False) -> int:
    """Put jobs into the queue for all series that a rule chooses among those that are there; how many series.

    The jobs are done by the server that runs with the same rules.
    """
    rules = read_rules(path)
    check_rules(rules, pacs, source=str(path))
    rule = rules.named(name)
    if rule is None:
        known = ", ".join(one.name for one in rules.rules)
        raise InvalidInputError(f"no rule of {path} is called {name!r}; there are: {known}")
    return apply_rule(pacs, rule, dry_run=dry_run)
