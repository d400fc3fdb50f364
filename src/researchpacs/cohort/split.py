"""Part a cohort without tearing groups: the same parts for the same seed, on every machine."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from math import isclose, isfinite
from typing import TYPE_CHECKING, Any

from researchpacs.cohort._members import Member
from researchpacs.cohort.part import Part
from researchpacs.errors import InvalidInputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Splits", "folds", "split"]


class Splits:
    """The parts of a cohort, by name and in their order."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = {part.name: part for part in parts}

    def __getitem__(self, name: str) -> Part:
        if name not in self._parts:
            raise InvalidInputError(f"there is no part {name!r}; there are {', '.join(self._parts)}")
        return self._parts[name]

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts.values())

    def __len__(self) -> int:
        return len(self._parts)

    def df(self) -> "pd.DataFrame":
        """All members with their part in the column ``split``."""
        import pandas as pd

        return pd.concat([part.df().assign(split=part.name) for part in self], ignore_index=True)

    def check(self, *, pixels: bool = True) -> "pd.DataFrame":
        """Look for leakage: whatever of one part stands in another too.

        Parameters
        ----------
        pixels
            Compare the middle images as well, which reads one frame of each series.

        Returns
        -------
        leaks
            One row per pair of series in two parts: ``kind`` is patient, study, frame_of_reference or pixels, the last
            also where the same images came under two PatientIDs; empty where nothing leaks. Series whose middle image
            cannot be compared are named in ``leaks.attrs["not_compared"]``.
        """
        from researchpacs.cohort.leakage import leaks_of

        return leaks_of(list(self), pixels=pixels)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self))

    def _repr_html_(self) -> str:
        return "".join(part._repr_html_() for part in self)


def split(whole: Part, parts: Mapping[str, float], *, by: str, stratify: str | None, seed: int) -> Splits:
    """Part members by shares; see `Cohort.split`."""
    if len(parts) < 2 or not all(isfinite(share) and share > 0 for share in parts.values()):
        raise InvalidInputError("at least two parts are needed, each with a share above 0")
    if not isclose(sum(parts.values()), 1.0, abs_tol=1e-6):
        raise InvalidInputError(f"the shares add up to {sum(parts.values()):g}; they have to add up to 1")
    dealt = _deal(whole, list(parts.values()), by=by, stratify=stratify, seed=seed)
    return Splits([_part(whole, name, dealt, {at}) for at, name in enumerate(parts)])


def folds(whole: Part, count: int, *, by: str, stratify: str | None, seed: int) -> list[Splits]:
    """Make folds; see `Cohort.folds`."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 2:
        raise InvalidInputError("folds() makes at least two folds")
    dealt = _deal(whole, [1 / count] * count, by=by, stratify=stratify, seed=seed)
    return [
        Splits([
            _part(whole, "train", dealt, set(range(count)) - {at}),
            _part(whole, "test", dealt, {at}),
        ])
        for at in range(count)
    ]  # fmt: skip


def _part(whole: Part, name: str, dealt: Sequence[int], wanted: set[int]) -> Part:
    members = tuple(one for one, at in zip(whole.members, dealt, strict=True) if at in wanted)
    return whole.part(name, members)


def _deal(whole: Part, shares: Sequence[float], *, by: str, stratify: str | None, seed: int) -> list[int]:
    """Give the number of the part of each member.

    Groups are dealt largest first, equal ones in an order that the seed decides, each to the part that lacks most of
    what the group is made of: of its strata, then of members in all.
    """
    keys = [_group(one, by) for one in whole.members]
    strata = [_value(one, stratify) for one in whole.members]
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for key, stratum in zip(keys, strata, strict=True):
        groups[key][stratum] += 1
    if len(groups) < len(shares):
        raise InvalidInputError(f"{len(groups)} groups cannot make {len(shares)} parts: groups are never torn")
    totals = Counter(strata)
    wanted = [{stratum: share * count for stratum, count in totals.items()} for share in shares]
    held: list[Counter[str]] = [Counter() for _ in shares]
    dealt: dict[str, int] = {}
    for key in sorted(groups, key=lambda one: (-groups[one].total(), _shuffled(seed, one))):
        group = groups[key]
        best = max(range(len(shares)), key=lambda at: (_lack(wanted[at], held[at], group), -at))
        dealt[key] = best
        held[best].update(group)
    return [dealt[key] for key in keys]


def _lack(wanted: Mapping[str, float], held: Mapping[str, int], group: Counter[str]) -> tuple[float, float]:
    """How much a part lacks of what a group holds, in shares of what it should have."""
    strata = sum(count * (1 - held[name] / wanted[name]) for name, count in group.items()) / group.total()
    return strata, 1 - sum(held.values()) / sum(wanted.values())


def _group(member: Member, by: str) -> str:
    known = {
        "PatientID": member.patient_key,
        "patient_key": member.patient_key,
        "StudyInstanceUID": f"{member.patient_key}/{member.study_uid}",
        "SeriesInstanceUID": "/".join(member.identity),
    }
    return known[by] if by in known else _value(member, by)


def _value(member: Member, column: str | None) -> str:
    if column is None:
        return ""
    if column not in member.columns:
        has = ", ".join(member.columns) or "none"
        raise InvalidInputError(f"the cohort has no column {column!r}; of its own it has {has}")
    value: Any = member.columns[column]
    return repr(value)


def _shuffled(seed: int, key: str) -> bytes:
    return sha256(f"{seed}\t{key}".encode()).digest()
