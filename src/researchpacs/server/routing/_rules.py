"""Rules: what happens to which series, read from a TOML file and checked before anything is served."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from researchpacs.archive._labels import check_label
from researchpacs.archive._remote_address import as_address
from researchpacs.catalog import check_condition, series_rows
from researchpacs.errors import InvalidInputError, MissingExtraError, ResearchPacsError
from researchpacs.plugins import load_route
from researchpacs.server.jobs import Retry

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["Action", "Rule", "Rules", "check_rules", "read_rules"]

Verb: TypeAlias = Literal["label", "send", "run"]

_PATIENT = Retry(attempts=100, first_s=5.0, longest_s=1800.0)
"""A peer may be away for a weekend: two days go by until a job fails."""
_MOST = 100


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a rule does."""

    verb: Verb
    target: str
    """A label; the name of a peer, or a URL without credentials; the name of an entry point."""

    @property
    def is_url(self) -> bool:
        """Whether it sends to a server rather than to a peer by name."""
        return self.verb == "send" and "://" in self.target


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to the series for which a condition holds."""

    name: str
    when: str
    """SQL over the row of a series."""
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a file."""

    rules: tuple[Rule, ...]
    retry: Retry
    """What becomes of a job whose peer fails."""

    def named(self, name: str) -> Rule | None:
        """The rule of this name."""
        return next((rule for rule in self.rules if rule.name == name), None)


def read_rules(path: Path) -> Rules:
    """Read a file of rules; credentials in URLs are remembered by this process only.

    Raises
    ------
    InvalidInputError
        It is not there, no TOML, or says something that no rule can; the message names the rule.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be read ({error.strerror}); give a file of rules with --rules"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} is no TOML: {error}") from None
    with _at(str(path)):
        _refuse_unknown(found, {"rule", "retry"})
        described = found.get("rule", [])
        if not isinstance(described, list) or not 0 < len(described) <= _MOST:
            raise InvalidInputError(f"a file of rules has 1 to {_MOST} tables [[rule]]")
        retry = _retry(found.get("retry", {}))
    rules = tuple(_rule(one, f"{path}, rule {number}") for number, one in enumerate(described, start=1))
    for number, rule in enumerate(rules, start=1):
        if rule.name in {one.name for one in rules[: number - 1]}:
            raise InvalidInputError(f"{path}, rule {number}: another rule is called {rule.name!r}")
    return Rules(rules, retry)


def check_rules(rules: Rules, pacs: "Pacs", *, source: str) -> None:
    """Refuse rules that cannot work with this archive: unknown columns, peers or functions.

    Parameters
    ----------
    source
        Where the rules are from, for the message.

    Raises
    ------
    ResearchPacsError
        Says which rule, and what is wrong.
    """
    rows = series_rows(pacs.catalog, [])
    for rule in rules.rules:
        with _at(f"{source}, rule {rule.name!r}"):
            check_condition(rule.when, rows)
            for action in rule.actions:
                _check(action, pacs)


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Say where an error is."""
    try:
        yield
    except MissingExtraError:
        raise
    except ResearchPacsError as error:
        raise InvalidInputError(f"{place}: {error}") from error


def _rule(found: Any, place: str) -> Rule:
    name = found.get("name") if isinstance(found, dict) else None
    with _at(f"{place} ({name!r})" if isinstance(name, str) else place):
        if not isinstance(found, dict):
            raise InvalidInputError("a rule is a table with name, when and then")
        _refuse_unknown(found, {"name", "when", "then"})
        if not isinstance(name, str) or not 0 < len(name) <= 64 or not name.isprintable():
            raise InvalidInputError("name is a text of 1 to 64 characters")
        when = found.get("when")
        if not isinstance(when, str):
            raise InvalidInputError("when is a text with a condition in SQL, such as \"Modality = 'CT'\"")
        return Rule(name, when, _actions(found.get("then")))


def _actions(then: Any) -> tuple[Action, ...]:
    if not isinstance(then, dict) or not then:
        raise InvalidInputError('then is a table with label, send or run, such as { send = "clinic" }')
    _refuse_unknown(then, set(get_args(Verb)))
    made: list[Action] = []
    for verb in get_args(Verb):
        given = then.get(verb, [])
        targets = [given] if isinstance(given, str) else given
        if not isinstance(targets, list) or not all(isinstance(one, str) and one for one in targets):
            raise InvalidInputError(f"{verb} is a text or a list of texts")
        if verb in then and not targets:
            raise InvalidInputError(f"{verb} is empty")
        made += [_action(verb, target) for target in targets]
    if len(set(made)) < len(made):
        raise InvalidInputError("then says the same twice")
    return tuple(made)


def _action(verb: Verb, target: str) -> Action:
    if verb == "label":
        check_label(target)
    if verb == "send" and "://" in target:
        return Action(verb, as_address(target).url)
    return Action(verb, target)


def _check(action: Action, pacs: "Pacs") -> None:
    if action.verb == "run":
        load_route(action.target)
    elif action.verb == "send" and not action.is_url:
        _ = pacs.peers[action.target]
        try:
            import researchpacs.archive._dimse  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingExtraError("sending to a DICOM node", "dimse") from error


def _retry(found: Any) -> Retry:
    with _at("retry"):
        if not isinstance(found, dict):
            raise InvalidInputError("it is a table")
        _refuse_unknown(found, {"attempts", "first_s", "longest_s"})
        given = {name: _positive(name, value) for name, value in found.items()}
        attempts = given.get("attempts", _PATIENT.attempts)
        if attempts != int(attempts):
            raise InvalidInputError("attempts is a whole number")
        return Retry(
            attempts=int(attempts),
            first_s=given.get("first_s", _PATIENT.first_s),
            longest_s=given.get("longest_s", _PATIENT.longest_s),
        )


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1e6:
        raise InvalidInputError(f"{name} is a number above 0")
    return float(value)


def _refuse_unknown(found: Mapping[str, Any], known: set[str]) -> None:
    unknown: Sequence[str] = sorted(set(found) - known)
    if unknown:
        raise InvalidInputError(f"{unknown[0]!r} means nothing here; there are {', '.join(sorted(known))}")
