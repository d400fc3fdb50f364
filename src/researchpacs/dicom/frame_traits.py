"""What tells a frame from others at the same place: echo, b-value, time, component; what stacks are made apart by.

Single-frame images say so at the top level, enhanced multi-frame images in functional groups (PS3.3 C.7.6.16). Vendors
that had no attribute for it used private ones, which are read here too.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from researchpacs.dicom.attributes import HeaderLike, numbers_of, private_of, text_of, texts_of

__all__ = ["TIMING", "TRAITS", "UNKNOWN", "UNTIMED", "Timing", "Traits", "acquired_of", "timing_of", "traits_of"]

TRAITS = frozenset(
    """
    FrameOfReferenceUID ImageType ComplexImageComponent StackID EchoTime DiffusionBValue DiffusionGradientOrientation
    Manufacturer (0019,100c) (0019,100e) (0043,1039) (0043,102f) (2001,1003)
    """.split()  # noqa: SIM905 - a table of words reads better than quotes
)
"""Top-level attributes that `traits_of` reads."""
TIMING = (
    "TemporalPositionIdentifier",
    "AcquisitionNumber",
    "AcquisitionDateTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "TriggerTime",
)
"""Top-level attributes that `timing_of` reads."""

_GE_COMPONENTS = {0: "MAGNITUDE", 1: "PHASE", 2: "REAL", 3: "IMAGINARY"}
_GE_NO_B_VALUE = 1_000_000_000
"""GE adds it to b-values of more than one digit count; the b-value is what remains."""
_MOST_B_VALUE = 100_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)?(\d\d)?(?:\.(\d{1,6}))?")
_MOST_INTEGER = 2**31

_FRAME_TYPES = (
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "PETFrameTypeSequence",
    "XRay3DFrameTypeSequence",
    "ParametricMapFrameTypeSequence",
    "USImageDescriptionSequence",
)
_TO_GRADIENT = 1e-3
"""How far the length of a gradient direction may be off one."""

Macro = Callable[[str], HeaderLike | None]


@dataclass(frozen=True, slots=True)
class Traits:
    """What most frames of a stack share."""

    frame_of_reference_uid: str = ""
    image_type: str = ""
    """Image Type or Frame Type, values joined by a backslash."""
    component: str = ""
    """Complex Image Component: MAGNITUDE, PHASE, REAL, IMAGINARY, MIXED."""
    stack_id: str = ""
    """Stack ID, with what a parametric map measures; of Nuclear Medicine energy window, detector and RR interval."""
    echo_time_ms: float | None = None
    b_value: float | None = None
    """s/mm2."""
    gradient: tuple[float, ...] | None = None
    """Diffusion Gradient Orientation: a unit vector, LPS."""
    segment: int | None = None
    """Referenced Segment Number."""
    tiles: int | None = None
    """Slices in a mosaic, row by row from the top left; None for what is none."""
    tile_step: tuple[float, ...] | None = None
    """(x, y, z) LPS mm from one slice of a mosaic to the next."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When a frame was taken, in as many ways as the header says it."""

    temporal_position: int | None = None
    acquisition_number: int | None = None
    acquired_us: int | None = None
    """Microseconds since 1970 in the time of the scanner; of the day alone where no date is told."""
    trigger_ms: float | None = None
    """After the R peak."""


UNKNOWN = Traits()
UNTIMED = Timing()


def traits_of(ds: HeaderLike, macro: Macro | None = None) -> Traits:
    """Read what tells a frame from others.

    Parameters
    ----------
    ds
        The instance's header.
    macro
        Gives a functional group of the frame by keyword, None where it has none; None for single-frame images.
    """
    group = macro or _no_group
    frame_type = _first(group, *_FRAME_TYPES)
    content = group("FrameContentSequence")
    echo = group("MREchoSequence")
    segment = group("SegmentIdentificationSequence")
    b_value, gradient = _diffusion(ds, group("MRDiffusionSequence"))
    return Traits(
        frame_of_reference_uid=text_of(ds, "FrameOfReferenceUID"),
        image_type="\\".join(texts_of(frame_type, "FrameType") or texts_of(ds, "ImageType")),
        component=text_of(frame_type, "ComplexImageComponent") or _component(ds),
        stack_id=", ".join(filter(None, (text_of(content, "StackID") or text_of(ds, "StackID"), _quantity(group)))),
        echo_time_ms=_number(echo, "EffectiveEchoTime") if echo is not None else _number(ds, "EchoTime"),
        b_value=b_value,
        gradient=gradient,
        segment=_integer(segment, "ReferencedSegmentNumber"),
    )


def timing_of(ds: HeaderLike, macro: Macro | None = None) -> Timing:
    """Read when a frame was taken; arguments as for `traits_of`."""
    group = macro or _no_group
    content = group("FrameContentSequence")
    cardiac = group("CardiacSynchronizationSequence")
    at = text_of(content, "FrameAcquisitionDateTime") or text_of(content, "FrameReferenceDateTime")
    return Timing(
        temporal_position=_either(_integer(content, "TemporalPositionIndex"), ds, "TemporalPositionIdentifier"),
        acquisition_number=_either(_integer(content, "FrameAcquisitionNumber"), ds, "AcquisitionNumber"),
        acquired_us=acquired_of(at, "", "") if at else acquired_of(*(text_of(ds, name) for name in TIMING[2:5])),
        trigger_ms=_number(cardiac, "NominalCardiacTriggerDelayTime") if cardiac else _number(ds, "TriggerTime"),
    )


def acquired_of(moment: str, date: str, time: str) -> int | None:
    """Read Acquisition DateTime, else Acquisition Date with Acquisition Time, as microseconds since 1970.

    Time zones are left aside: frames of one series share theirs.
    """
    found = _DATE_TIME.match(moment.strip()) if moment else None
    if found is None and time:
        # Before DICOM dates had points and times had colons (PS3.5 6.2).
        found = _DATE_TIME.match((date.strip().replace(".", "") or "19700101") + time.strip().replace(":", ""))
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction = found.groups()
    try:
        at = datetime(int(year), int(month), int(day), int(hour), int(minute or 0), tzinfo=UTC)
    except ValueError:
        return None
    # A leap second has no datetime of its own.
    seconds = timedelta(seconds=int(second or 0), microseconds=int((fraction or "0").ljust(6, "0")))
    return (at - _EPOCH + seconds) // timedelta(microseconds=1)


def _diffusion(ds: HeaderLike, group: HeaderLike | None) -> tuple[float | None, tuple[float, ...] | None]:
    if group is not None:
        directions: Any = group.get("DiffusionGradientDirectionSequence") or []
        b_value = _number(group, "DiffusionBValue")
        if b_value is None and text_of(group, "DiffusionDirectionality") == "NONE":
            b_value = 0.0
        return b_value, _direction(next(iter(directions), None))
    return _first_number(_b_values(ds)), _direction(ds) or _direction_of_siemens(ds)


def _b_values(ds: HeaderLike) -> Iterable[float | None]:
    """A b-value is told by its attribute, or by a private one of Siemens, Philips or GE."""
    yield _number(ds, "DiffusionBValue")
    yield _as_number(private_of(ds, 0x0019, "SIEMENS MR HEADER", 0x0C))
    yield _as_number(private_of(ds, 0x2001, "Philips Imaging DD 001", 0x03))
    of_ge = _as_number(private_of(ds, 0x0043, "GEMS_PARM_01", 0x39))
    if of_ge is not None:
        of_ge %= _GE_NO_B_VALUE
        yield of_ge if of_ge < _MOST_B_VALUE else None


def _direction(ds: HeaderLike | None) -> tuple[float, ...] | None:
    return None if ds is None else numbers_of(ds, "DiffusionGradientOrientation", 3)


def _direction_of_siemens(ds: HeaderLike) -> tuple[float, ...] | None:
    """Siemens told the direction in the patient before the Standard did."""
    told = numbers_of({"value": private_of(ds, 0x0019, "SIEMENS MR HEADER", 0x0E)}, "value", 3)
    return told if told is not None and abs(sum(one * one for one in told) - 1) <= _TO_GRADIENT else None


def _quantity(group: Macro) -> str:
    """What a frame of a parametric map measures: the label of its mapping to real values."""
    is_map = group("ParametricMapFrameTypeSequence") is not None
    return text_of(group("RealWorldValueMappingSequence"), "LUTLabel") if is_map else ""


def _component(ds: HeaderLike) -> str:
    told = text_of(ds, "ComplexImageComponent")
    if told:
        return told
    of_ge = _as_number(private_of(ds, 0x0043, "GEMS_PARM_01", 0x2F))
    return "" if of_ge is None else _GE_COMPONENTS.get(int(of_ge), "")


def _no_group(_: str) -> None:
    return None


def _first(group: Macro, *keywords: str) -> HeaderLike | None:
    return next((found for keyword in keywords if (found := group(keyword)) is not None), None)


def _first_number(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def _number(ds: HeaderLike | None, keyword: str) -> float | None:
    found = None if ds is None else numbers_of(ds, keyword, 1)
    return None if found is None else found[0]


def _integer(ds: HeaderLike | None, keyword: str) -> int | None:
    value = _number(ds, keyword)
    return int(value) if value is not None and value.is_integer() and abs(value) < _MOST_INTEGER else None


def _either(value: int | None, ds: HeaderLike, keyword: str) -> int | None:
    return _integer(ds, keyword) if value is None else value


def _as_number(value: Any) -> float | None:
    """The first number of a private value."""
    return _number({"value": value[0] if isinstance(value, list | tuple) and value else value}, "value")
