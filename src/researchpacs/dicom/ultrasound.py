"""Calibrated regions of ultrasound (PS3.3 C.8.5.5): where a picture shows the body, and how large its pixels are."""

from dataclasses import dataclass

from researchpacs.dicom.attributes import HeaderLike, items_of, numbers_of

__all__ = ["Region", "regions_of"]

FORMATS = {1: "2D", 2: "M-Mode", 3: "spectral", 4: "wave form", 5: "graphics"}
"""Region Spatial Format; 0 is none or not applicable."""
DATA = {
    1: "tissue",
    2: "color flow",
    3: "PW spectral Doppler",
    4: "CW spectral Doppler",
    5: "Doppler mean trace",
    6: "Doppler mode trace",
    7: "Doppler max trace",
    8: "volume trace",
    10: "ECG trace",
    11: "pulse trace",
    12: "phonocardiogram trace",
}
"""Region Data Type; all others are told by their number."""
_UNITS = {3: ("mm", 10.0), 4: ("s", 1.0), 7: ("mm/s", 10.0)}
"""Physical Units of a direction, from cm, s and cm/s; others are not calibrated in a unit that is used here."""

_LARGEST = 1e6


@dataclass(frozen=True, slots=True)
class Region:
    """One region of a picture."""

    rows: tuple[int, int]
    """First and last."""
    columns: tuple[int, int]
    format: str
    """``2D``, ``M-Mode``, ``spectral``, ``wave form``, ``graphics``; empty for none."""
    data: str
    """``tissue``, ``color flow`` ...; empty for none."""
    row_step: float | None
    """From one row to the next in `row_units`, unsigned; None where it is not calibrated."""
    row_units: str
    """``mm``, ``s``, ``mm/s``; empty where it is none of them."""
    column_step: float | None
    column_units: str


def regions_of(header: HeaderLike) -> tuple[Region, ...]:
    """Read the regions of an image; those whose place in the picture is not told are left out."""
    return tuple(found for item in items_of(header, "SequenceOfUltrasoundRegions") if (found := _region(item)))


def _region(item: HeaderLike) -> Region | None:
    corners = [
        numbers_of(item, f"RegionLocation{end}", 1)
        for end in ("MinY0", "MaxY1", "MinX0", "MaxX1")
    ]  # fmt: skip
    told = [int(one[0]) for one in corners if one is not None and one[0].is_integer() and one[0] >= 0]
    if len(told) != len(corners) or told[0] > told[1] or told[2] > told[3]:
        return None
    (row_step, row_units), (column_step, column_units) = _step(item, "Y"), _step(item, "X")
    return Region(
        rows=(told[0], told[1]),
        columns=(told[2], told[3]),
        format=FORMATS.get(_number(item, "RegionSpatialFormat"), ""),
        data=_data(_number(item, "RegionDataType")),
        row_step=row_step,
        row_units=row_units,
        column_step=column_step,
        column_units=column_units,
    )


def _step(item: HeaderLike, direction: str) -> tuple[float | None, str]:
    delta = numbers_of(item, f"PhysicalDelta{direction}", 1)
    units, factor = _UNITS.get(_number(item, f"PhysicalUnits{direction}Direction"), ("", 0.0))
    is_told = delta is not None and 0 < abs(delta[0]) < _LARGEST and units
    return (abs(delta[0]) * factor, units) if delta is not None and is_told else (None, "")


def _data(number: int) -> str:
    return DATA.get(number, str(number) if number > 0 else "")


def _number(item: HeaderLike, keyword: str) -> int:
    found = numbers_of(item, keyword, 1)
    return int(found[0]) if found is not None else 0
