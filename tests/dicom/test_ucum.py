"""Units in base units: what conversion tables say, and nothing for what is not known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from researchpacs.dicom.ucum import unit_of

KNOWN = [
    ("mm", 12.0, 0.012, "m"),
    ("cm", 1.2, 0.012, "m"),
    ("mm3", 1000.0, 1e-6, "m3"),
    ("ml", 1.0, 1e-6, "m3"),
    ("deg", 180.0, 3.141592653589793, "rad"),
    ("%", 45.0, 0.45, "1"),
    ("{ratio}", 0.3, 0.3, "1"),
    ("{SUVbw}g/ml", 2.5, 2.5e6, "m-3.g"),
    ("10*-6.mm2/s", 800.0, 8e-10, "m2.s-1"),
    ("um2/s", 800.0, 8e-10, "m2.s-1"),
    ("km/h", 36.0, 10.0, "m.s-1"),
    ("/min", 60.0, 1.0, "s-1"),
    ("Bq/ml", 1.0, 1e6, "m-3.s-1"),
    ("mCi", 10.0, 3.7e8, "s-1"),
    ("kV", 120.0, 1.2e8, "m2.s-2.g.C-1"),
    ("mA.s", 50.0, 0.05, "C"),
    ("mGy", 5.0, 0.005, "m2.s-2"),
    ("mGy.cm", 100.0, 0.001, "m3.s-2"),
    ("dGy.cm2", 1.0, 1e-5, "m4.s-2"),
    ("mm[Hg]", 120.0, 15998640.0, "m-1.s-2.g"),
    ("Cel", 37.0, 310.15, "K"),
    ("g/(min.m2)", 6.0, 0.1, "m-2.s-1.g"),
    ("[hnsf'U]", -1000.0, -1000.0, "[hnsf'U]"),
]


@pytest.mark.parametrize(("code", "value", "expected", "base"), KNOWN)
def test_values_are_those_of_the_conversion_tables(code: str, value: float, expected: float, base: str) -> None:
    unit = unit_of(code)
    assert unit is not None
    assert (unit.evaluate(value), unit.base) == (pytest.approx(expected, rel=1e-9), base)


@pytest.mark.parametrize("code", ["", "foo", "MM", "m.", "m/", "((", "m99", "mmm", "HU", "m m", "{", "Å", "m" * 70])
def test_what_is_no_unit_is_not_taken_for_one(code: str) -> None:
    assert unit_of(code) is None


def test_most_units_that_pydicom_lists_for_imaging_are_known() -> None:
    from pydicom.sr.codedict import codes

    listed = {getattr(codes.UCUM, name).value for name in codes.UCUM.dir()}
    unknown = {code for code in listed if unit_of(code) is None}
    assert len(listed) > 80
    # Decibels are logarithms, the others are clinical conventions without a fixed size, or no UCUM.
    assert len(unknown) < len(listed) / 5
    assert not unknown & {"mm", "cm", "mm2", "ml", "[hnsf'U]", "g/ml", "Bq/ml", "mGy", "s", "deg", "%", "1"}


@given(st.text(st.sampled_from("mkgs10*^-+./(){}[]'%uL3x"), max_size=20))
def test_no_text_makes_it_fail(code: str) -> None:
    unit = unit_of(code)
    assert unit is None or unit.factor > 0
