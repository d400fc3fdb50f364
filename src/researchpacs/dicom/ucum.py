"""Units of measure in UCUM's case-sensitive form, evaluated in its base units (The Unified Code for Units of Measure).

What imaging writes is known, not all of UCUM; another unit is told as unknown, never taken for a similar one. Arbitrary
units such as Hounsfield's are their own base: they convert into nothing else.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

__all__ = ["Unit", "unit_of"]

_LONGEST = 64
_DEEPEST = 8
_LARGEST_POWER = 9

_BASE = ("m", "s", "g", "rad", "K", "C", "cd")
_ARBITRARY = ("[hnsf'U]", "[arb'U]", "[iU]", "bit", "By")
_PREFIXES = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1,
    "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18,
}  # fmt: skip
"""Powers of ten."""
_METRIC = {
    "m": "m", "s": "s", "g": "g", "rad": "rad", "K": "K", "C": "C", "cd": "cd",
    "Hz": "s-1", "N": "kg.m/s2", "Pa": "N/m2", "J": "N.m", "W": "J/s", "A": "C/s", "V": "J/C", "F": "C/V",
    "Ohm": "V/A", "S": "Ohm-1", "Wb": "V.s", "T": "Wb/m2", "H": "Wb/A", "Bq": "s-1", "Gy": "J/kg", "Sv": "J/kg",
    "Ci": "37000000000.Bq", "RAD": "0.01.Gy", "REM": "0.01.Sv", "R": "0.000258.C/kg", "G": "0.0001.T",
    "L": "dm3", "l": "dm3", "ar": "100.m2", "t": "1000.kg", "bar": "100000.Pa", "eV": "1.602176634.10*-19.J",
    "mol": "602214076000000000000000", "cal": "4.184.J", "m[H2O]": "9806.65.Pa", "m[Hg]": "133322.Pa",
}  # fmt: skip
_PLAIN = {
    "min": "60.s", "h": "60.min", "d": "24.h", "wk": "7.d", "mo": "30.4375.d", "a": "365.25.d", "mo_j": "30.4375.d",
    "a_j": "365.25.d", "%": "0.01", "[ppth]": "0.001", "[ppm]": "0.000001", "[pi]": "3.14159265358979323846",
    "deg": "0.01745329251994329577.rad", "'": "0.01666666666666666667.deg", "''": "0.01666666666666666667.'",
    "gon": "0.9.deg", "sr": "rad2", "[in_i]": "0.0254.m", "[ft_i]": "0.3048.m", "[lb_av]": "453.59237.g",
}  # fmt: skip
_NUMBER = re.compile(r"\d+(\.\d+)?(?=[./)]|\Z)|\d+")
_TEN_TO = re.compile(r"10[*^]([+-]?\d{1,2})?")
_POWER = re.compile(r"([+-]?)(\d{1,2})\Z")
_ATOM = re.compile(r"10[*^][+-]?\d*|\[[^\]]*\]|[A-Za-z%']+(?:\[[^\]]*\])?(?:_[a-z]+)?(?:[+-]?\d+)?")
_ANNOTATION = re.compile(r"\{[ -z|~]*\}")


@dataclass(frozen=True, slots=True)
class Unit:
    """What one of a unit is."""

    factor: float
    """How many of the base unit."""
    offset: float
    """Added after the factor; zero for all but temperatures on a scale."""
    base: str
    """Product of powers of base units, such as ``"m3"`` or ``"g.m-3"``; ``"1"`` for numbers."""

    def evaluate(self, value: float) -> float:
        """A value of this unit in the base unit."""
        return value * self.factor + self.offset


@dataclass(frozen=True, slots=True)
class _Product:
    factor: Fraction
    powers: tuple[tuple[str, int], ...] = ()

    def times(self, other: "_Product", sign: int) -> "_Product":
        powers = dict(self.powers)
        for name, power in other.powers:
            powers[name] = powers.get(name, 0) + sign * power
        return _Product(self.factor * other.factor**sign, tuple(sorted((n, p) for n, p in powers.items() if p)))


class _UnknownUnitError(ValueError):
    """Nothing here knows the unit."""


@lru_cache(maxsize=1024)
def unit_of(code: str) -> Unit | None:
    """Evaluate a unit; None where it is unknown or no unit.

    Parameters
    ----------
    code
        Case-sensitive, such as ``"mm"``, ``"g/ml"``, ``"{SUVbw}g/ml"``, ``"10*-6.mm2/s"``.
    """
    if not code or len(code) > _LONGEST:
        return None
    if code == "Cel":
        return Unit(1.0, 273.15, "K")
    if code == "[degF]":
        return Unit(5 / 9, 459.67 * 5 / 9, "K")
    try:
        found = _term(_ANNOTATION.sub(_as_one, code), 0)
        factor = float(found.factor)
    except (_UnknownUnitError, OverflowError, ZeroDivisionError):
        return None
    if not factor:
        return None
    order = (*_BASE, *_ARBITRARY)
    powers = sorted(found.powers, key=lambda one: order.index(one[0]))
    return Unit(factor, 0.0, ".".join(f"{name}{'' if power == 1 else power}" for name, power in powers) or "1")


def _as_one(annotation: re.Match[str]) -> str:
    """An annotation says what is counted; where it stands alone it is a one."""
    before = annotation.string[: annotation.start()][-1:]
    after = annotation.string[annotation.end() :][:1]
    return "1" if before in ("", ".", "/", "(") and after in ("", ".", "/", ")") else ""


def _term(text: str, depth: int) -> _Product:
    """Components joined by ``.`` and ``/``, evaluated from the left."""
    if depth > _DEEPEST:
        raise _UnknownUnitError
    product, sign, at = _Product(Fraction(1)), 1, 0
    if text.startswith("/"):
        sign, at = -1, 1
    while True:
        part, at = _component(text, at, depth)
        product = product.times(part, sign)
        if at == len(text):
            return product
        if text[at] not in "./":
            raise _UnknownUnitError
        sign, at = (1 if text[at] == "." else -1), at + 1


def _component(text: str, at: int, depth: int) -> tuple[_Product, int]:
    if text[at : at + 1] == "(":
        end, level = at, 0
        for end in range(at, len(text)):
            level += {"(": 1, ")": -1}.get(text[end], 0)
            if not level:
                break
        if level:
            raise _UnknownUnitError
        return _term(text[at + 1 : end], depth + 1), end + 1
    if found := _TEN_TO.match(text, at):
        return _Product(Fraction(10) ** int(found.group(1) or 1)), found.end()
    if found := _NUMBER.match(text, at):
        return _Product(Fraction(found.group())), found.end()
    if found := _ATOM.match(text, at):
        return _simple(found.group(), depth), found.end()
    raise _UnknownUnitError


def _simple(text: str, depth: int) -> _Product:
    """A unit with its prefix and exponent."""
    power = 1
    if found := _POWER.search(text):
        power = int(f"{found.group(1)}{found.group(2)}")
        text = text[: found.start()]
    if abs(power) > _LARGEST_POWER:
        raise _UnknownUnitError
    unit = _atom(text, depth)
    product = _Product(Fraction(1))
    for _ in range(abs(power)):
        product = product.times(unit, 1 if power > 0 else -1)
    return product


def _atom(text: str, depth: int) -> _Product:
    if text in _PLAIN:
        return _term(_PLAIN[text], depth + 1)
    if text in _ARBITRARY:
        return _Product(Fraction(1), ((text, 1),))
    for length in (0, 1, 2):
        prefix, metric = text[:length], text[length:]
        if (length == 0 or prefix in _PREFIXES) and metric in _METRIC:
            unit = _Product(Fraction(1), ((metric, 1),)) if metric in _BASE else _term(_METRIC[metric], depth + 1)
            return _Product(Fraction(10) ** _PREFIXES.get(prefix, 0)).times(unit, 1)
    raise _UnknownUnitError
