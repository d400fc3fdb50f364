"""What turns the values of PET into standardized uptake values: a factor for each SUV Type, or why there is none.

As the Quantitative Imaging Biomarkers Alliance computes it for all vendors: activity is related to the dose, decayed to
the moment that the values are corrected to, and to the body. QIBA takes lean body mass after James.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any

from researchpacs.dicom.attributes import HeaderLike, items_of, numbers_of, private_of, text_of, texts_of
from researchpacs.dicom.frame_traits import acquired_of

__all__ = ["SUV_TYPES", "suv_factors"]

SUV_TYPES = ("BW", "LBM", "LBMJAMES128", "LBMJANMA", "BSA")
"""Defined Terms of SUV Type (PS3.3 C.8.9.1): per gram of body, of lean body mass after James with the constants of
SUVlbm and of SUVlbm(James128) in PS3.16 Annex D, after Janmahasatian, per cm2 of body surface after Du Bois."""

_DAY_US = 86_400_000_000
_LEAST_DOSE_BQ = 1e4
"""Less cannot be imaged; it was written in MBq."""
_MOST_HALF_LIVES = 10
_MOST_KG, _MOST_M, _MOST_BQ, _MOST_HALF_LIFE_S = 1000.0, 3.0, 1e15, 1e10
_LEAST = 1e-3
"""Of all of them: a gram, a millimetre."""
_LONGEST_MS = 1e9


class _LackingError(Exception):
    """Why there is no factor, in words without a patient's data."""


def suv_factors(header: HeaderLike, acquired_us: Iterable[int]) -> dict[str, float | str]:
    """Find the factors between rescaled values and standardized uptake values.

    Parameters
    ----------
    header
        Attributes that all images of a PET series have in common.
    acquired_us
        When its images were acquired, all of them: microseconds since 1970 in the time of the scanner.

    Returns
    -------
    factors
        SUV Type to its factor; to a sentence that says what is missing or cannot be where there is none. Results are
        g/ml, for ``BSA`` cm2/ml.
    """
    acquired = tuple(acquired_us)
    found: dict[str, float | str] = {}
    for kind in SUV_TYPES:
        try:
            factor = _factor(header, acquired, kind)
            found[kind] = factor if 0 < factor < math.inf else "the values of the header give no factor that can be"
        except _LackingError as lacking:
            found[kind] = str(lacking)
    return found


def _factor(header: HeaderLike, acquired: tuple[int, ...], kind: str) -> float:
    units = text_of(header, "Units")
    if units in ("GML", "CM2ML"):
        return _between(header, text_of(header, "SUVType") or ("BW" if units == "GML" else "BSA"), kind)
    if units not in ("BQML", "CNTS"):
        raise _LackingError(f"Units {units} cannot be scaled" if units else _absent("Units"))
    if not {"ATTN", "DECY"} <= set(texts_of(header, "CorrectedImage")):
        raise _LackingError("CorrectedImage does not say that attenuation and decay are corrected (ATTN, DECY)")
    if units == "BQML":
        return _body(header, kind) / _dose_bq(header, acquired)
    per_gram = _of_philips(header, 0x00)
    if per_gram is not None:
        return per_gram * (1.0 if kind == "BW" else _body(header, kind) / _body(header, "BW"))
    activity = _of_philips(header, 0x09)
    if activity is None:
        raise _LackingError("Units are CNTS, and no factor of Philips is there, (7053,xx00) or (7053,xx09)")
    return activity * _body(header, kind) / _dose_bq(header, acquired)


def _between(header: HeaderLike, told: str, kind: str) -> float:
    """From one SUV to another; by which formula a lean body mass was found is told by its own type alone."""
    if told == kind:
        return 1.0
    if told not in ("BW", "BSA"):
        raise _LackingError(f"the values are SUVs of SUVType {told}, which cannot be turned into another")
    return _body(header, kind) / _body(header, told)


def _of_philips(header: HeaderLike, element: int) -> float | None:
    """A factor of Philips: of SUV by body weight (xx00), or of Bq/ml (xx09); zero stands for none."""
    value = private_of(header, 0x7053, "Philips PET Private Group", element)
    found = _number({"value": value}, "value")
    return found if found is not None and found > 0 else None


def _body(header: HeaderLike, kind: str) -> float:
    """What the dose is shared among, in g, or cm2."""
    weight = _within(header, "PatientWeight", _MOST_KG)
    if kind == "BW":
        return weight * 1000
    height = _within(header, "PatientSize", _MOST_M)
    if kind == "BSA":
        area: float = 0.007184 * weight**0.425 * (height * 100) ** 0.725
        return area * 10_000
    sex = text_of(header, "PatientSex")
    if sex not in _LEAN[kind]:
        raise _LackingError("PatientSex is neither M nor F, for which lean body mass is known")
    lean = _LEAN[kind][sex](weight, height)
    if lean <= 0:
        raise _LackingError("PatientWeight and PatientSize give no lean body mass by this formula")
    return lean * 1000


_LEAN: Mapping[str, Mapping[str, Callable[[float, float], float]]] = {
    "LBM": {
        "M": lambda kg, m: 1.10 * kg - 120 * (kg / (m * 100)) ** 2,
        "F": lambda kg, m: 1.07 * kg - 148 * (kg / (m * 100)) ** 2,
    },
    "LBMJAMES128": {
        "M": lambda kg, m: 1.10 * kg - 128 * (kg / (m * 100)) ** 2,
        "F": lambda kg, m: 1.07 * kg - 148 * (kg / (m * 100)) ** 2,
    },
    "LBMJANMA": {
        "M": lambda kg, m: 9270 * kg / (6680 + 216 * kg / m**2),
        "F": lambda kg, m: 9270 * kg / (8780 + 244 * kg / m**2),
    },
}
"""Kilograms by kilograms and metres."""


def _dose_bq(header: HeaderLike, acquired: tuple[int, ...]) -> float:
    """The dose at the moment that the values are corrected to."""
    items = items_of(header, "RadiopharmaceuticalInformationSequence")
    if len(items) != 1:
        several = "names several radiopharmaceuticals"
        keyword = "RadiopharmaceuticalInformationSequence"
        raise _LackingError(f"{keyword} {several}" if items else _absent(keyword))
    dose = _within(items[0], "RadionuclideTotalDose", _MOST_BQ)
    if dose < _LEAST_DOSE_BQ:
        raise _LackingError("RadionuclideTotalDose is less than can be imaged; its unit is Bq, not MBq")
    half_life = _within(items[0], "RadionuclideHalfLife", _MOST_HALF_LIFE_S)
    if half_life < 1:
        raise _LackingError("RadionuclideHalfLife is less than a second; its unit is s")
    correction = text_of(header, "DecayCorrection")
    if correction == "ADMIN":
        return dose
    if correction != "START":
        raise _LackingError(
            f"DecayCorrection {correction} tells no moment" if correction else _absent("DecayCorrection")
        )
    scan = _scan_us(header, acquired, half_life)
    decay = (scan - _injected_us(header, items[0], scan)) / 1e6
    if decay < 0:
        raise _LackingError("the radiopharmaceutical is told to be given after the scan began")
    if decay > _MOST_HALF_LIVES * half_life:
        raise _LackingError(f"the scan is told to begin more than {_MOST_HALF_LIVES} half-lives after the injection")
    left: float = 2.0 ** (-decay / half_life)
    return dose * left


def _scan_us(header: HeaderLike, acquired: tuple[int, ...], half_life: float) -> int:
    """When the scan began: Series Date and Time, unless the series was made later; then what else tells it."""
    if not acquired or min(acquired) < _DAY_US:
        raise _LackingError("AcquisitionDate or AcquisitionTime is missing")
    first = min(acquired)
    series = _moment(header, "SeriesDate", "SeriesTime")
    if series is not None and series <= first:
        return series
    of_ge = acquired_of(str(private_of(header, 0x0009, "GEMS_PETD_01", 0x0D) or ""), "", "")
    if of_ge is not None:
        return of_ge
    reference, duration = _number(header, "FrameReferenceTime"), _number(header, "ActualFrameDuration")
    sound = (
        reference is not None and duration is not None and 0 < reference < _LONGEST_MS and 0 < duration < _LONGEST_MS
    )
    if reference and duration and sound and len(set(acquired)) == 1:
        # Frame Reference Time is when the mean count rate was met, in ms after the beginning (PS3.3 C.8.9.4).
        decay = math.log(2) / half_life
        within = decay * duration / 1000
        mean_s = math.log(within / -math.expm1(-within)) / decay
        return first + round((mean_s - reference / 1000) * 1e6)
    return first


def _injected_us(header: HeaderLike, item: HeaderLike, scan: int) -> int:
    """When the radiopharmaceutical was given; a time without a day is the last one before the scan."""
    moment = text_of(item, "RadiopharmaceuticalStartDateTime")
    started = acquired_of(moment, "", "")
    if started is not None:
        there, here = _offset_us(moment[8:]), _offset_us(text_of(header, "TimezoneOffsetFromUTC"))
        return started if there is None or here is None else started - there + here
    time = acquired_of("", "", text_of(item, "RadiopharmaceuticalStartTime"))
    if time is None:
        raise _LackingError(_absent("RadiopharmaceuticalStartDateTime or RadiopharmaceuticalStartTime"))
    started = scan - scan % _DAY_US + time
    return started - _DAY_US if started > scan else started


def _offset_us(text: str) -> int | None:
    """A difference from UTC such as +0130, at the end of a text."""
    sign, digits = text[-5:-4], text[-4:]
    if sign not in ("+", "-") or not (len(digits) == 4 and digits.isdigit()):
        return None
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return (minutes if sign == "+" else -minutes) * 60_000_000


def _moment(header: HeaderLike, day: str, time: str) -> int | None:
    """A date and a time, as text or as the catalog has them; None where one is missing."""
    told: list[Any] = [header.get(day), header.get(time)]
    days, times = (
        one.isoformat() if isinstance(one, date | datetime) or hasattr(one, "isoformat") else str(one or "").strip()
        for one in told
    )
    return acquired_of("", days.replace("-", "").replace(".", ""), times) if days and times else None


def _within(header: HeaderLike, keyword: str, most: float) -> float:
    value = _number(header, keyword)
    if value is None or value == 0:
        raise _LackingError(_absent(keyword))
    if not _LEAST < value <= most:
        raise _LackingError(f"{keyword} cannot be: it is negative, or of another order than its unit")
    return value


def _number(header: HeaderLike, keyword: str) -> float | None:
    found = numbers_of(header, keyword, 1)
    return None if found is None else found[0]


def _absent(keyword: str) -> str:
    return f"{keyword} is missing, or differs between images"
