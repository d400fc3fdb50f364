"""What was computed, kept as it comes: one small file for each series, and a table of them for SQL.

    HOME/features/<save>/<code>/<series>.json    values of one series, by the digest of the code and of its files
    HOME/features/<save>.parquet                 the table

Each file is written atomically, so after a kill what is there is whole. The table is made of all that is kept for one
version of the code, and written anew at the end of each run.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from researchpacs.cohort._members import IDENTITY, Member
from researchpacs.errors import InvalidInputError
from researchpacs.storage.durable import write_atomically

__all__ = ["COLUMNS", "Kept", "Outcome", "as_values"]

COLUMNS = (*IDENTITY, "error", "function", "code", "segmentations", "versions", "computed_at")
"""Columns that every table has beside those of the function."""

_NAME = re.compile(r"[a-z0-9_]{1,60}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one series."""

    identity: tuple[str, str, str]
    function: str
    code: str
    versions: str
    computed_at: str
    """UTC, ISO 8601."""
    values: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    segmentations: str | None = None
    """JSON: SOPInstanceUIDs of the segmentations that gave the masks; None where none were asked for."""

    def row(self) -> dict[str, Any]:
        """Who it is, the values, then where they come from."""
        identity = dict(zip(IDENTITY, self.identity, strict=True))
        return {**identity, **self.values, **{name: getattr(self, name) for name in COLUMNS[len(IDENTITY) :]}}


class Kept:
    """Results under one name and one version of the code.

    Parameters
    ----------
    folder
        HOME/features.
    save
        Their name.
    code
        Digest of the function and its options.
    """

    def __init__(self, folder: Path, save: str, code: str) -> None:
        if not isinstance(save, str) or not _NAME.fullmatch(save):
            raise InvalidInputError("save= has 1 to 60 of a-z, 0-9 and _; the table is then called features_<save>")
        self._table = folder / f"{save}.parquet"
        self._folder = folder / save / code[:32]
        self._folder.mkdir(parents=True, exist_ok=True)

    def get(self, member: Member) -> Outcome | None:
        """What was computed from the files that a series has now."""
        try:
            return _read(self._path(member))
        except FileNotFoundError:
            return None

    def put(self, member: Member, outcome: Outcome) -> None:
        """Keep a result; it is durable on return."""
        write_atomically(self._path(member), json.dumps(asdict(outcome)).encode())

    def publish(self, now: Iterable[Outcome]) -> None:
        """Write the table: all that is kept, and what came of the series of this run."""
        found = sorted((_read(path) for path in self._folder.glob("*.json")), key=lambda one: one.computed_at)
        rows = {one.identity: one.row() for one in (*found, *now)}
        write_atomically(self._table, _parquet(list(rows.values())))

    def _path(self, member: Member) -> Path:
        return self._folder / f"{sha256(repr((member.identity, member.digest)).encode()).hexdigest()}.json"


def as_values(result: Any) -> dict[str, Any]:
    """What a function returned, as a row of a table has it.

    Raises
    ------
    InvalidInputError
        No dict of names and single values.
    """
    if not isinstance(result, Mapping):
        raise InvalidInputError(f"the function returned a {type(result).__name__}; expected a dict of names and values")
    taken = {name.lower() for name in COLUMNS}
    values: dict[str, Any] = {}
    for name, value in result.items():
        if not isinstance(name, str) or not name or name.lower() in taken:
            raise InvalidInputError(f"the function returned the name {name!r}, which is no text, taken, or there twice")
        taken.add(name.lower())
        values[name] = _as_value(name, value)
    return values


def _as_value(name: str, value: Any) -> Any:
    plain = value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
    if not isinstance(plain, str | int | float | None):
        raise InvalidInputError(
            f"the function returned a {type(value).__name__} as {name!r}; expected a number, a text, a bool or None"
        )
    if isinstance(plain, str) and not plain.isascii():
        try:
            plain.encode()
        except UnicodeEncodeError:
            raise InvalidInputError(f"the text {name!r} holds half of a surrogate pair; give whole Unicode") from None
    return plain


def _read(path: Path) -> Outcome:
    found = json.loads(path.read_bytes())
    return Outcome(**{**found, "identity": tuple(found["identity"])})


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    own = list(dict.fromkeys(name for row in rows for name in row if name not in COLUMNS))
    names = [*IDENTITY, *own, *COLUMNS[len(IDENTITY) :]]
    arrays = [_array([row.get(name) for row in rows], fixed=name in COLUMNS) for name in names]
    out = pa.BufferOutputStream()
    pq.write_table(pa.table(dict(zip(names, arrays, strict=True))), out)
    return bytes(out.getvalue().to_pybytes())


def _array(values: list[Any], *, fixed: bool) -> Any:
    """A column: BOOLEAN, BIGINT, DOUBLE or, where values differ in kind or are too large, VARCHAR."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if fixed or (not kinds and values):
        return pa.array(values, pa.string())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pa.array(values, pa.int64())
    if float in kinds and kinds <= {int, float}:
        return pa.array([None if value is None else _as_float(value) for value in values], pa.float64())
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
