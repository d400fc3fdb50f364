"""What may stand behind ``keyword=`` -> strict tests of one value: exact, like a pattern, or in a range."""

import math
import re
from calendar import monthrange
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import Enum
from typing import Any, Final

from researchpacs.errors import InvalidInputError

__all__ = ["MISSING", "Between", "Equal", "Like", "Missing", "Test", "tests_of"]


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "MISSING"

    def __repr__(self) -> str:
        return "researchpacs.MISSING"


MISSING: Final = Missing.MISSING
"""Matches what is absent or empty."""


@dataclass(frozen=True, slots=True)
class Equal:
    """The value itself."""

    value: Any


@dataclass(frozen=True, slots=True)
class Like:
    """Text that fits a pattern of C-FIND: ``*`` any characters, ``?`` one (PS3.4 C.2.2.2.4)."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Between:
    """A range with its ends; None for an open end."""

    low: Any
    high: Any


Test = Equal | Like | Between | Missing

_NUMBERS = frozenset({"INTEGER", "BIGINT", "UBIGINT", "DOUBLE"})
_BEYOND = 2**127
_IDENTITIES = frozenset({"PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"})
_DATE = re.compile(r"(\d{4})(?:-?(\d{2})(?:-?(\d{2}))?)?")
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?")


def tests_of(keyword: str, value: Any, kind: str) -> list[Test]:
    """Read a filter's value; an object matches when one of the tests holds.

    Parameters
    ----------
    keyword
        For messages.
    value
        One value, a list of them, a ``(low, high)`` tuple, or `MISSING`; handles and relations stand for their UIDs.
    kind
        SQL type of one value.
    """
    if value is None:
        raise InvalidInputError(
            f"{keyword}=None means nothing: None only opens an end of a range; researchpacs.MISSING is what is absent"
        )
    if isinstance(value, tuple):
        return [_range(keyword, value, kind)]
    values = _several(keyword, value)
    if values is None:
        return [_test(keyword, value, kind)]
    return [_range(keyword, one, kind) if isinstance(one, tuple) else _test(keyword, one, kind) for one in values]


def _several(keyword: str, value: Any) -> list[Any] | None:
    """The values of a list, a relation, a data frame or a search; None for a single value."""
    if hasattr(value, "fetchall"):
        at = _column(keyword, value.columns)
        return [row[at] for row in value.fetchall()]
    if hasattr(value, "columns") and hasattr(value, "iloc"):
        return list(value.iloc[:, _column(keyword, value.columns)])
    if isinstance(value, (str, bytes, Missing, Mapping)) or hasattr(value, "uid") or not isinstance(value, Iterable):
        return None
    return list(value)


def _column(keyword: str, columns: Iterable[str]) -> int:
    """Where a table has the values of a keyword."""
    names = list(columns)
    if keyword in names:
        return names.index(keyword)
    if len(names) == 1:
        return 0
    raise InvalidInputError(f"a table for {keyword}= has one column, or one of this name; found {', '.join(names)}")


def _range(keyword: str, ends: tuple[Any, ...], kind: str) -> Between:
    if len(ends) != 2:
        raise InvalidInputError(
            f"{keyword}= takes a tuple of two as a range, (low, high); for any of several values give a list"
        )
    low, high = (None if end is None else _span(keyword, end, kind) for end in ends)
    return Between(None if low is None else low[0], None if high is None else high[1])


def _test(keyword: str, value: Any, kind: str) -> Test:
    if isinstance(value, Missing):
        return value
    if value is None:
        raise InvalidInputError(f"a list for {keyword}= cannot hold None; researchpacs.MISSING is what is absent")
    if kind == "VARCHAR" and isinstance(value, str) and ("*" in value or "?" in value):
        return Like(value)
    low, high = _span(keyword, value, kind)
    return Equal(low) if low == high else Between(low, high)


def _span(keyword: str, value: Any, kind: str) -> tuple[Any, Any]:
    """The first and the last value that is meant: a partial date is its whole period."""
    try:
        if kind == "VARCHAR":
            text = _text(keyword, value)
            return text, text
        if kind in _NUMBERS:
            number = _number(value)
            return number, number
        if kind == "DATE":
            return _dates(value)
        if kind == "TIME":
            return _times(value)
        if kind == "TIMESTAMP":
            return _timestamps(value)
    except (ValueError, TypeError, OverflowError):
        pass
    expected = {
        "VARCHAR": "text",
        "DATE": "a date such as '2021', '2021-03' or '20210325'",
        "TIME": "a time such as '1330'",
    }
    raise InvalidInputError(
        f"the value for {keyword}= does not fit; expected {expected.get(kind, f'a value of type {kind}')}"
    )


def _text(keyword: str, value: Any) -> str:
    if hasattr(value, "uid") and not isinstance(value, str):
        return _of_handle(keyword, value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise TypeError(value)
    return str(value)


def _of_handle(keyword: str, handle: Any) -> str:
    """The handle's own attribute: a series has the UID of its study, a study has none of a series."""
    known = handle.attributes() if hasattr(handle, "attributes") else {keyword: handle.uid}
    found = known.get(keyword)
    if found is None and keyword in _IDENTITIES:
        raise InvalidInputError(f"a {type(handle).__name__} has no single {keyword}; filter by the UID that it has")
    return str(found or handle.uid)


def _number(value: Any) -> int | float:
    if isinstance(value, bool):
        raise TypeError(value)
    if isinstance(value, str):
        value = float(value) if re.search(r"[.eE]", value) else int(value)
    number = int(value) if isinstance(value, int) else float(value)
    if (isinstance(number, float) and not math.isfinite(number)) or abs(number) >= _BEYOND:
        raise ValueError(value)
    return number


def _dates(value: Any) -> tuple[date, date]:
    if hasattr(value, "dtype"):
        value = value.astype("datetime64[us]").item()
    if isinstance(value, datetime):
        value = value.date()
    if isinstance(value, date):
        return value, value
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise TypeError(value)
    found = _DATE.fullmatch(str(value).strip())
    if found is None:
        raise ValueError(value)
    year, month, day = (None if part is None else int(part) for part in found.groups())
    assert year is not None
    last_month = month or 12
    last_day = day or monthrange(year, last_month)[1]
    return date(year, month or 1, day or 1), date(year, last_month, last_day)


def _times(value: Any) -> tuple[time, time]:
    if isinstance(value, datetime):
        value = value.time()
    if isinstance(value, time):
        return value, value
    found = _TIME.fullmatch(str(value).strip())
    if found is None:
        raise ValueError(value)
    hour, minute, second, fraction = found.groups()
    micros = fraction or ""
    return (
        time(int(hour), int(minute or 0), int(second or 0), int(micros.ljust(6, "0"))),
        time(int(hour), int(minute or 59), int(second or 59), int(micros.ljust(6, "9"))),
    )


def _timestamps(value: Any) -> tuple[datetime, datetime]:
    if isinstance(value, datetime):
        plain = value.replace(tzinfo=None)
        return plain, plain
    if isinstance(value, str) and len(value) > 10:
        plain = datetime.fromisoformat(value).replace(tzinfo=None)
        return plain, plain
    first, last = _dates(value)
    return datetime.combine(first, time.min), datetime.combine(last, time.max)
