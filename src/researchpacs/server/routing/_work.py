"""What a routing job does: label a series, send it, or run a function on it.

A job says which rule it is of and what to do for which series. It is done only while the rules of the running server
say the same, so that nothing but the configuration can make this archive send something away.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from researchpacs.archive import Stored, Subject
from researchpacs.archive._remote_address import address_of
from researchpacs.archive._remote_frames import server_of
from researchpacs.archive.holdings import instances_of, open_instance
from researchpacs.catalog import decide, series_rows
from researchpacs.errors import ConflictError, InvalidInputError, NotFoundError, RemoteError, UnsupportedError
from researchpacs.plugins import load_route
from researchpacs.server.jobs import Handler, Run
from researchpacs.server.routing._rules import Action, Rules

if TYPE_CHECKING:
    from researchpacs._pacs import Series

__all__ = ["handler"]

_NOTE_S = 1.0
_NO_CONTEXT, _UNREADABLE = 0x0122, 0x0110


def handler(rules: Rules) -> Handler:
    """Give what does routing jobs by these rules."""
    pauses = _Pauses(rules.retry.first_s)

    def work(run: Run) -> Mapping[str, Any]:
        action = _allowed(run, rules)
        if action is None:
            return {**run.job.content, "Chosen": False}
        instances = _instances(run)
        if not instances:
            return {**run.job.content, "InstancesCount": 0, "Gone": True}
        if action.verb == "label":
            run.pacs.archive.labels.add([Subject("series", run.job.request["Series"])], action.target)
        elif action.verb == "run":
            load_route(action.target)(run.pacs, _series(run))
        else:
            with pauses.around(action.target):
                return _send(run, action, instances)
        return {**run.job.content, "InstancesCount": len(instances)}

    return work


class _Pauses:
    """Peers that were just found to be away: jobs for them do not wait for them one after the other.

    Parameters
    ----------
    shortest_s
        How long not to ask a peer again; longer where finding out took longer.
    """

    def __init__(self, shortest_s: float) -> None:
        self._shortest_s = shortest_s
        self._until: dict[str, tuple[float, str]] = {}

    @contextmanager
    def around(self, target: str) -> Iterator[None]:
        """Fail at once in a pause of the peer, and begin one where it fails."""
        began = time.monotonic()
        until, why = self._until.get(target, (0.0, ""))
        if began < until:
            raise RemoteError(why)
        try:
            yield
        except RemoteError as error:
            now = time.monotonic()
            self._until[target] = (now + max(self._shortest_s, now - began), str(error))
            raise


@dataclass(frozen=True, slots=True)
class _Result:
    """What became of one instance at a peer."""

    refusal: str = ""
    again: bool = False
    """It may be taken another time."""
    kind: type[Exception] = UnsupportedError


def _allowed(run: Run, rules: Rules) -> Action | None:
    """What to do; None where the condition does not hold after all."""
    asked = run.job.request
    rule, action = rules.named(asked["Rule"]), Action(asked["Action"], asked["Target"])
    if rule is None or action not in rule.actions:
        raise NotFoundError(
            f"the rules of this server do not say any more that rule {asked['Rule']!r} does this; "
            "put it back and resubmit the job, or leave it"
        )
    if asked["Undecided"]:
        rows = series_rows(run.pacs.catalog, [asked["Series"].rpartition("/")[2]])
        verdict = decide(rule.when, rows)
        if asked["Series"] in verdict.undecided:
            raise InvalidInputError(
                f"the condition of rule {rule.name!r} cannot be computed for this series; try_cast() gives null where "
                "a value does not convert. Mend the rule, restart the server and resubmit the job"
            )
        if asked["Series"] not in verdict.chosen:
            return None
    return action


def _instances(run: Run) -> list[Stored]:
    """The series' instances in an order that stays, each class for itself, as a peer gets them."""
    patient, study, series = run.job.request["Series"].split("/", 2)
    found = [one for one in instances_of(run.pacs.archive, study, series) if one.identity.patient_key == patient]
    return sorted(found, key=_place)


def _place(stored: Stored) -> tuple[str, str]:
    return stored.sop_class_uid, stored.key


def _series(run: Run) -> "Series":
    owner = run.job.request["Series"]
    found = run.pacs.search("series", SeriesInstanceUID=owner.rpartition("/")[2])
    series: Series | None = next((one for one in found if one.subject.owner == owner), None)
    if series is None:
        raise NotFoundError("the series is not in the archive any more")
    return series


def _send(run: Run, action: Action, instances: Sequence[Stored]) -> Mapping[str, Any]:
    """Send what the peer does not have yet, and note how far it came.

    A job that was put off goes on behind the last instance before which all were taken; one that was resubmitted begins
    anew.
    """
    content = dict(run.job.content)
    reached = tuple(content.get("Reached", "").split(" ")) if run.job.attempts > 1 else ()
    left = [one for one in instances if not reached or _place(one) > reached]
    sent, refused, told = len(instances) - len(left), list[_Result](), time.monotonic()
    content.update(InstancesCount=len(instances), SentCount=sent)
    try:
        results = _over_http(action, left) if action.is_url else _over_dimse(run, action, left)
        for stored, result in zip(left, results, strict=True):
            if result.refusal:
                refused.append(result)
            else:
                sent += 1
                if not refused:
                    content["Reached"] = " ".join(_place(stored))
            content["SentCount"] = sent
            if time.monotonic() - told > _NOTE_S:
                run.step(sent / len(instances), content)
                told = time.monotonic()
    finally:
        run.step(sent / len(instances), content)
    if refused:
        raise _error(action, refused, len(instances))
    content.pop("Reached", None)
    return content


def _error(action: Action, refused: Sequence[_Result], count: int) -> Exception:
    first = next((one for one in refused if one.again), refused[0])
    what = f"{action.target} did not take {len(refused)} of {count} instances: {first.refusal}"
    return RemoteError(what) if first.again else first.kind(what)


def _over_dimse(run: Run, action: Action, instances: Sequence[Stored]) -> Iterator[_Result]:
    from researchpacs.archive._dimse._store_scu import send

    for sent in send(run.pacs.peers[action.target], instances):
        if sent.ok:
            yield _Result()
        elif sent.status is None:
            raise RemoteError(sent.reason)
        elif sent.status == _UNREADABLE:
            yield _Result(f"{sent.reason}; `researchpacs verify` says more", kind=ConflictError)
        else:
            again = sent.status != _NO_CONTEXT
            yield _Result(f"status {sent.status:#06x}, {sent.reason}", again=again)


def _over_http(action: Action, instances: Sequence[Stored]) -> Iterator[_Result]:
    server = server_of(address_of(action.target))
    for stored in instances:
        try:
            open_instance(stored).close()
        except (ConflictError, NotFoundError) as error:
            yield _Result(str(error), kind=ConflictError)
            continue
        yield _Result(server.send(stored.path, stored.identity).refusal)
