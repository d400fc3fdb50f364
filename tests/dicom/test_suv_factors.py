"""Factors of standardized uptake values are those of QIBA's computation, or a reason: never a guess.

Expected numbers are worked out by hand from the formulas, to as many digits as are written here.
"""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from researchpacs.dicom.frame_traits import acquired_of
from researchpacs.dicom.suv_factors import SUV_TYPES, suv_factors
from researchpacs.dicom.values import tags_of

NOON = acquired_of("", "20240301", "120000")
HALF_LIFE = 6000.0
DOSE = 400e6
WEIGHT = 70.0
PHILIPS = "Philips PET Private Group"


def pet(*, item=None, **changes):
    """A male of 70 kg and 1.75 m, given 400 MBq one half-life before the scan; None takes an attribute away."""
    ds = Dataset()
    told = {
        "Units": "BQML", "CorrectedImage": ["NORM", "DECY", "ATTN"], "DecayCorrection": "START",
        "SeriesDate": "20240301", "SeriesTime": "120000", "PatientWeight": "70", "PatientSize": "1.75",
        "PatientSex": "M", **changes,
    }  # fmt: skip
    dose = {
        "RadiopharmaceuticalStartTime": "102000", "RadionuclideTotalDose": str(int(DOSE)),
        "RadionuclideHalfLife": str(HALF_LIFE), **(item or {}),
    }  # fmt: skip
    radiopharmaceutical = Dataset()
    for target, values in ((ds, told), (radiopharmaceutical, dose)):
        for keyword, value in values.items():
            if value is not None:
                setattr(target, keyword, value)
    ds.RadiopharmaceuticalInformationSequence = [radiopharmaceutical]
    return ds


def of(ds, acquired=NOON, kind="BW"):
    factors = suv_factors(ds, [acquired])
    assert set(factors) == set(SUV_TYPES)
    # The catalog keeps attributes by keyword; they say the same.
    assert suv_factors(tags_of(ds), [acquired]) == factors
    return factors[kind]


def private(ds, group, creator, elements):
    ds.add_new(Tag(group, 0x0010), "LO", creator)
    for element, (vr, value) in elements.items():
        ds.add_new(Tag(group, 0x1000 | element), vr, value)
    return ds


def test_a_dose_that_decayed_to_the_start_of_the_scan():
    assert of(pet()) == pytest.approx(70_000 / 200e6)  # one half-life: half of 400 MBq is left
    assert of(pet(item={"RadiopharmaceuticalStartTime": "084000"})) == pytest.approx(70_000 / 100e6)


def test_values_corrected_to_the_injection_are_related_to_all_of_the_dose():
    assert of(pet(DecayCorrection="ADMIN")) == pytest.approx(70_000 / 400e6)


@pytest.mark.parametrize(("kind", "body"), [
    ("BW", 70_000),
    ("LBM", 57_800),  # 1.10 x 70 - 120 (70 / 175)^2 = 77 - 19.2
    ("LBMJAMES128", 56_520),  # 77 - 128 x 0.16
    ("LBMJANMA", 55_857.32),  # 9270 x 70 / (6680 + 216 x 22.857143) = 648900 / 11617.142857
    ("BSA", 18_481.4),  # 0.007184 x 70^0.425 x 175^0.725 m2; Du Bois' table has 1.85
])  # fmt: skip
def test_doses_are_related_to_the_body_of_a_man(kind, body):
    assert of(pet(), kind=kind) == pytest.approx(body / 200e6, rel=2e-5)


@pytest.mark.parametrize(("kind", "body"), [
    ("LBM", 51_220),  # 1.07 x 70 - 148 x 0.16
    ("LBMJAMES128", 51_220),
    ("LBMJANMA", 45_197.01),  # 9270 x 70 / (8780 + 244 x 22.857143) = 648900 / 14357.142857
])  # fmt: skip
def test_doses_are_related_to_the_lean_body_of_a_woman(kind, body):
    assert of(pet(PatientSex="F"), kind=kind) == pytest.approx(body / 200e6, rel=1e-5)


def test_an_injection_before_midnight_was_the_day_before():
    ds = pet(SeriesTime="003000", item={"RadiopharmaceuticalStartTime": "225000"})
    assert of(ds, acquired_of("", "20240301", "003000")) == pytest.approx(70_000 / 200e6)
    across = {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20240229225000.00"}
    ds = pet(SeriesTime="003000", item=across)  # a leap day
    assert of(ds, acquired_of("", "20240301", "003000")) == pytest.approx(70_000 / 200e6)


def test_a_date_of_the_injection_counts_before_its_time():
    # Zirconium: three days.
    item = {"RadiopharmaceuticalStartDateTime": "20240227120000", "RadionuclideHalfLife": "259200"}
    assert of(pet(item=item)) == pytest.approx(70_000 / 200e6)


@pytest.mark.parametrize(("zone", "moment"), [
    ("+0100", "20240301092000+0000"), (None, "20240301102000+0500"), ("-0500", "20240301102000"),
])  # fmt: skip
def test_zones_count_where_both_sides_tell_them(zone, moment):
    ds = pet(TimezoneOffsetFromUTC=zone, item={"RadiopharmaceuticalStartDateTime": moment})
    assert of(ds) == pytest.approx(70_000 / 200e6)


def test_a_series_made_later_is_corrected_to_the_first_acquisition():
    later = pet(SeriesDate="20240305", SeriesTime="090000")
    factors = suv_factors(later, [NOON + 600 * 10**6, NOON])
    assert factors["BW"] == pytest.approx(70_000 / 200e6)


def test_a_series_made_later_by_ge_tells_when_the_scan_began():
    ds = private(pet(SeriesDate="20240305"), 0x0009, "GEMS_PETD_01", {0x0D: ("DT", "20240301120000.00")})
    assert of(ds, NOON + 900 * 10**6) == pytest.approx(70_000 / 200e6)


def test_the_beginning_is_found_back_from_the_mean_count_rate_of_a_bed_position():
    # A frame of one half-life has its mean at ln(ln 2 / (1 - 1/2)) / ln 2 = 0.47123 half-lives.
    ds = pet(SeriesDate="20240305", FrameReferenceTime=str(0.47123 * 6e6), ActualFrameDuration="6000000")
    assert of(ds) == pytest.approx(70_000 / 200e6, rel=1e-5)
    ds.FrameReferenceTime = str(1.47123 * 6e6)  # the scan began a half-life before this bed position
    assert of(ds, NOON + 6000 * 10**6) == pytest.approx(70_000 / 200e6, rel=1e-5)


def test_counts_of_philips_become_suv_by_its_factor():
    ds = private(pet(Units="CNTS", PatientSize=None), 0x7053, PHILIPS, {0: ("DS", "0.000381"), 9: ("DS", "1.5")})
    assert of(ds) == pytest.approx(0.000381)
    ds.PatientSize = "1.75"
    assert of(ds, kind="LBM") == pytest.approx(0.000381 * 57.8 / 70)


def test_counts_of_philips_become_activity_where_the_factor_of_suv_is_not_set():
    ds = private(pet(Units="CNTS"), 0x7053, PHILIPS, {0: ("DS", "0.0"), 9: ("DS", "1.5")})
    assert of(ds) == pytest.approx(1.5 * 70_000 / 200e6)
    assert "(7053,xx09)" in of(pet(Units="CNTS"))


def test_values_in_g_per_ml_are_suvs_already():
    assert of(pet(Units="GML")) == 1.0
    assert of(pet(Units="GML", SUVType="BW", PatientWeight=None)) == 1.0
    assert of(pet(Units="GML"), kind="LBM") == pytest.approx(57.8 / 70)
    assert of(pet(Units="CM2ML"), kind="BSA") == 1.0
    assert of(pet(Units="GML", SUVType="LBM"), kind="LBM") == 1.0
    assert "SUVType LBM" in of(pet(Units="GML", SUVType="LBM"))


@pytest.mark.parametrize(("changes", "says"), [
    ({"PatientWeight": None}, "PatientWeight"),
    ({"PatientWeight": "0"}, "PatientWeight"),
    ({"PatientWeight": "70000"}, "PatientWeight"),
    ({"Units": None}, "Units"),
    ({"Units": "PROPCPS"}, "PROPCPS"),
    ({"CorrectedImage": ["ATTN"]}, "DECY"),
    ({"CorrectedImage": ["DECY"]}, "ATTN"),
    ({"DecayCorrection": "NONE"}, "DecayCorrection NONE"),
    ({"DecayCorrection": None}, "DecayCorrection"),
    ({"item": {"RadionuclideTotalDose": None}}, "RadionuclideTotalDose"),
    ({"item": {"RadionuclideTotalDose": "400"}}, "MBq"),
    ({"item": {"RadionuclideTotalDose": "-1"}}, "RadionuclideTotalDose"),
    ({"item": {"RadionuclideHalfLife": None}}, "RadionuclideHalfLife"),
    ({"item": {"RadionuclideHalfLife": "0"}}, "RadionuclideHalfLife"),
    ({"item": {"RadiopharmaceuticalStartTime": None}}, "RadiopharmaceuticalStart"),
    ({"item": {"RadiopharmaceuticalStartDateTime": "20240301130000"}}, "after the scan began"),
    ({"item": {"RadiopharmaceuticalStartTime": "120001"}}, "half-lives"),
    ({"item": {"RadiopharmaceuticalStartDateTime": "20230301102000"}}, "half-lives"),
])  # fmt: skip
def test_what_is_missing_or_cannot_be_is_said(changes, says):
    assert says in of(pet(**changes))


def test_two_radiopharmaceuticals_or_none_are_no_dose():
    ds = pet()
    ds.RadiopharmaceuticalInformationSequence = [*ds.RadiopharmaceuticalInformationSequence] * 2
    assert "several" in of(ds)
    del ds.RadiopharmaceuticalInformationSequence
    assert "RadiopharmaceuticalInformationSequence" in of(ds)


def test_without_the_day_of_the_acquisition_nothing_is_decayed():
    assert "AcquisitionDate" in of(pet(), acquired_of("", "", "120000"))
    assert "AcquisitionDate" in suv_factors(pet(), [])["BW"]


@pytest.mark.parametrize(("changes", "kind", "says"), [
    ({"PatientSize": None}, "LBM", "PatientSize"),
    ({"PatientSize": "175"}, "BSA", "PatientSize"),
    ({"PatientSex": "O"}, "LBMJANMA", "PatientSex"),
    ({"PatientWeight": "400", "PatientSize": "1.2"}, "LBM", "no lean body mass"),
])  # fmt: skip
def test_other_kinds_need_more_of_the_body(changes, kind, says):
    assert says in of(pet(**changes), kind=kind)
    assert isinstance(of(pet(**changes)), float)


def test_no_reason_tells_a_patients_data():
    ds = pet(PatientWeight="1234.5", PatientSize="17.5", PatientSex="O", item={"RadionuclideTotalDose": "987"})
    text = " ".join(str(one) for one in suv_factors(ds, [NOON]).values())
    assert not any(value in text for value in ("1234", "17.5", "987", "2024"))


numbers = st.floats() | st.sampled_from([0.0, 1e-308, 1e308, -1.0, 60.0, 1.7, 4e8, 6586.2]) | st.none() | st.just("x")
times = st.sampled_from(
    ["", "120000", "235959.999999", "240000", "20240301102000", "20240301102000+0100", "zero", "000000"]
)


@settings(max_examples=120)
@given(st.data())
def test_no_header_makes_it_fail(data):
    dose = {name: data.draw(numbers) for name in ("RadionuclideTotalDose", "RadionuclideHalfLife")}
    dose |= {f"RadiopharmaceuticalStart{name}": data.draw(times) for name in ("Time", "DateTime")}
    header = {
        name: data.draw(numbers)
        for name in ("PatientWeight", "PatientSize", "FrameReferenceTime", "ActualFrameDuration")
    } | {
        "Units": data.draw(st.sampled_from(["BQML", "CNTS", "GML", "CM2ML", ""])),
        "SUVType": data.draw(st.sampled_from(["BW", "LBM", "BSA", ""])),
        "DecayCorrection": data.draw(st.sampled_from(["START", "ADMIN"])),
        "PatientSex": data.draw(st.sampled_from(["M", "F", "O"])),
        "CorrectedImage": ["ATTN", "DECY"],
        "SeriesDate": data.draw(st.sampled_from(["20240301", "20240305", "x", None])),
        "SeriesTime": data.draw(times),
        "TimezoneOffsetFromUTC": data.draw(st.sampled_from(["+0100", "x", None])),
        "RadiopharmaceuticalInformationSequence": [dose],
        "(7053,1000)": {"creator": PHILIPS, "value": data.draw(numbers)},
        "(7053,1009)": {"creator": PHILIPS, "value": data.draw(numbers)},
    }  # fmt: skip
    acquired = data.draw(st.lists(st.integers(-(10**18), 10**18) | st.just(NOON), max_size=2))
    for factor in suv_factors(header, acquired).values():
        assert isinstance(factor, str) or 0 < factor < math.inf


@pytest.mark.data
def test_the_decay_factor_of_a_real_scan_agrees_with_the_beginning_that_is_taken(real_data):
    import pydicom

    path = next(one for one in sorted((real_data / "pet_seg_qin").rglob("*")) if one.name == "000000.dcm")
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    began = acquired_of("", ds.SeriesDate, ds.SeriesTime)
    acquired = acquired_of("", ds.AcquisitionDate, ds.AcquisitionTime)
    half_life = float(ds.RadiopharmaceuticalInformationSequence[0].RadionuclideHalfLife)
    # The scanner's own factor leads from the mean of this bed position back to the beginning.
    middle = (acquired - began) / 1e6 + float(ds.ActualFrameDuration) / 2000
    assert 2 ** (middle / half_life) == pytest.approx(float(ds.DecayFactor), rel=2e-4)
    injected = acquired_of("", ds.SeriesDate, ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime)
    dose = 381_470_000 * 2 ** (-(began - injected) / 1e6 / half_life)
    assert suv_factors(ds, [acquired])["BW"] == pytest.approx(66.2 * 1000 / dose, rel=1e-9)
