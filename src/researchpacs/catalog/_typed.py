"""JSON values of attributes -> typed columns (PS3.5 6.2)."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time
from typing import Any

from researchpacs.catalog._tables import NAME_PARTS, Column

__all__ = ["flattened", "name_parts", "typed", "typed_columns"]

_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?")
_DATETIME = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?)?)?)?(?:[+-]\d{4})?"
)
_BOUNDS = {
    "INTEGER": (-(2**31), 2**31 - 1),
    "BIGINT": (-(2**63), 2**63 - 1),
    "UBIGINT": (0, 2**64 - 1),
}


def typed_columns(tags: Mapping[str, Any], columns: Iterable[Column]) -> tuple[dict[str, Any], list[str]]:
    """Give the columns of attributes their typed values.

    Returns
    -------
    values
        By column name, name parts included; None where the attribute is absent, empty, or does not fit.
    misfits
        Keywords whose value does not fit the column.
    """
    values: dict[str, Any] = {}
    misfits = []
    for column in columns:
        if column.keyword is None:
            continue
        value = tags.get(column.keyword)
        try:
            values[column.name] = None if value is None else typed(value, column.type)
        except ValueError:
            values[column.name] = None
            misfits.append(column.keyword)
    for column in columns:
        if column.name.endswith("_parts"):
            whole = values.get(column.name.removesuffix("_parts"))
            values[column.name] = None if whole is None else name_parts(whole)
    return values, misfits


def typed(value: Any, kind: str) -> Any:
    """Convert one attribute's value to a SQL type.

    Raises
    ------
    ValueError
        It does not fit.
    """
    if kind.endswith("[]"):
        one = kind.removesuffix("[]")
        found = [None if part is None else typed(part, one) for part in (value if isinstance(value, list) else [value])]
        return found if any(part is not None for part in found) else None
    if isinstance(value, list):
        # Several values where the Standard has one: text keeps them in DICOM's own form.
        if kind != "VARCHAR" or any(isinstance(part, dict) for part in value):
            raise ValueError("one value was expected")
        return "\\".join("" if part is None else _as_text(part) for part in value)
    return _CONVERTERS[kind](value)


def flattened(tags: Mapping[str, Any]) -> Mapping[str, Any]:
    """Bring what all frames of a multi-frame image share up to the top, where single-frame images have it."""
    shared = tags.get("SharedFunctionalGroupsSequence")
    if not shared:
        return tags
    found: dict[str, Any] = {}
    for macro in shared[0].values():
        if isinstance(macro, list) and macro and isinstance(macro[0], dict):
            found |= macro[0]
    return {**found, **{keyword: value for keyword, value in tags.items() if value is not None}}


def name_parts(name: str) -> dict[str, str | None]:
    """Split a PN into its components (PS3.5 6.2.1); the alphabetic group, or the first one there is, gives them."""
    groups = [*name.split("="), "", "", ""][:3]
    main = groups[0] or groups[1] or groups[2]
    components = [*main.split("^"), "", "", "", "", ""][:5]
    values = [*components, groups[1].replace("^", " ").strip(), groups[2].replace("^", " ").strip()]
    return {part: value or None for part, value in zip(NAME_PARTS, values, strict=True)}


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        raise ValueError("bytes are no text")
    # SQLite, which holds a lake's smallest inserts, ends text at NUL.
    return str(value).replace("\0", "")


def _as_integer(bounds: tuple[int, int]) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not bounds[0] <= value <= bounds[1]:
            raise ValueError("an integer was expected")
        return value

    return convert


def _as_number(value: Any) -> float:
    # "NaN" and "inf" stay in tags: as a number NaN is larger than all others in SQL.
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError("a finite number was expected")
    return float(value) + 0.0  # -0.0 and 0.0 are one number, whichever way the lake keeps them


def _as_date(value: Any) -> date:
    year, month, day = _match(_DATE, value).groups()
    return date(int(year), int(month), int(day))


def _as_time(value: Any) -> time:
    hour, minute, second, fraction = _match(_TIME, value).groups()
    return time(int(hour), int(minute or 0), int(second or 0), _microseconds(fraction))


def _as_timestamp(value: Any) -> datetime:
    """The time on the clock of the place; its distance from UTC, if it is given, stays in tags."""
    year, month, day, hour, minute, second, fraction = _match(_DATETIME, value).groups()
    return datetime(
        int(year),
        int(month or 1),
        int(day or 1),
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        _microseconds(fraction),
    )


def _match(pattern: re.Pattern[str], value: Any) -> re.Match[str]:
    found = pattern.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError("the text has another form")
    return found


def _microseconds(fraction: str | None) -> int:
    return int((fraction or "0").ljust(6, "0"))


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "VARCHAR": _as_text,
    "DOUBLE": _as_number,
    "DATE": _as_date,
    "TIME": _as_time,
    "TIMESTAMP": _as_timestamp,
    **{kind: _as_integer(bounds) for kind, bounds in _BOUNDS.items()},
}
