"""A measurement: a number, its unit, and where in the patient it was taken. Points are (x, y, z) LPS mm."""

import getpass
import html
import math
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from researchpacs.annotation._told import as_algorithm, as_author, as_text, as_utc, require_code
from researchpacs.dicom.codes import Code
from researchpacs.dicom.uids import derived_uid
from researchpacs.errors import InvalidInputError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Kind", "Measurement", "Number", "Point", "default_author"]

Point = tuple[float, float, float]
Kind = Literal["length", "angle", "cobb", "bidirectional", "ellipse", "polygon", "probe"]
"""What the points are, and the value is.

length: both ends. angle: end, vertex, end; degrees. cobb: both ends of a line, then of the other; degrees, at most 90.
bidirectional: ends of the long axis, then of the short one; the value is the long axis. ellipse: ends of an axis, then
of the other; polygon: its corners in order, the first not repeated; the value of both is the area. probe: one point and
the value there.
"""

_DECIMALS = 6
"""Of a value in mm: fits a decimal string (VR DS) of 16 characters up to a kilometre."""


@dataclass(frozen=True, slots=True)
class Number:
    """A further number of a measurement, such as the mean beneath an area."""

    code: Code
    value: float
    unit: str
    """UCUM."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _as_value(self.value))


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measurement on a series; made by `Measurement.length`, or drawn in a viewer.

    Equal content is an equal measurement with equal UIDs, whenever it is made: saving it again stores nothing new.
    """

    kind: Kind
    points_lps: tuple[Point, ...]
    """Rounded to single precision, as SCOORD3D keeps them: at most 0.00002 mm off within 500 mm."""
    value: float
    unit: str
    """UCUM."""
    label: str
    series_uid: str
    """SeriesInstanceUID of what was measured."""
    frame_of_reference_uid: str
    author: str
    """Who measured: a person's or a login name; ``^`` separates the parts of a DICOM name."""
    finding: Code | None = None
    site: Code | None = None
    algorithm: str | None = None
    """Name and version of the program that measured, such as ``"nnU-Net 2.5"``; None: a person did."""
    created_at: datetime | None = None
    """When it was measured, UTC; None: not told. It is content: measured again later, it is another measurement."""
    more: tuple[Number, ...] = ()
    """Further numbers of the same shape, each of another kind."""
    tracking_uid: str = field(default="")
    """Derived from all of the above unless given."""

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "points_lps", tuple(_single(_as_point(point)) for point in self.points_lps))
        set_field(self, "value", _as_value(self.value))
        set_field(self, "label", as_text(self.label, "label of a measurement"))
        set_field(self, "author", as_author(self.author))
        set_field(self, "algorithm", as_algorithm(self.algorithm))
        set_field(self, "created_at", as_utc(self.created_at))
        for name in ("finding", "site"):
            require_code(getattr(self, name), name)
        if not self.tracking_uid:
            set_field(self, "tracking_uid", derived_uid("tracking", *self._content()))

    @classmethod
    def length(
        cls,
        vol: "xr.DataArray",
        p_lps: Sequence[float],
        q_lps: Sequence[float],
        *,
        label: str | Code,
        author: str | None = None,
        finding: Code | None = None,
        site: Code | None = None,
        algorithm: str | None = None,
        created_at: datetime | None = None,
    ) -> "Measurement":
        """Measure the distance between two points.

        Parameters
        ----------
        vol
            The volume the points were chosen in: gives the series and the Frame of Reference.
        p_lps, q_lps
            ``(x, y, z)`` mm.
        label
            A name for it, or a code: then its meaning is the name and it is the finding too.
        author
            Who measured; unless given ``RESEARCHPACS_AUTHOR`` from the environment, else the login name.
        finding, site
            What was measured, and where.
        algorithm
            Name and version of the program that chose the points, ``"NAME VERSION"``.
        created_at
            When, with a time zone. Left out, nothing is claimed about it, and running a notebook twice gives the same
            measurement.

        Raises
        ------
        InvalidInputError
            Points that are not three finite numbers each or fall together, an empty label, no author to be found.
        GeometryError
            An array that does not know its series or its geometry.
        """
        geometry, (p, q) = _geometry_of(vol), _as_ends(p_lps, q_lps)
        if isinstance(label, Code):
            finding = finding or label
            label = label.meaning
        return cls(
            kind="length",
            points_lps=(p, q),
            value=math.dist(p, q),
            unit="mm",
            label=label,
            series_uid=geometry.series,
            frame_of_reference_uid=geometry.frame_of_reference_uid,
            author=author if author is not None else default_author(),
            finding=finding,
            site=site,
            algorithm=algorithm,
            created_at=created_at,
        )

    def __repr__(self) -> str:
        return (
            f"<Measurement {self.kind} {self.value:g} {self.unit} {self.label!r} on series ...{self.series_uid[-8:]}>"
        )

    def _repr_html_(self) -> str:
        points = "<br>".join(", ".join(f"{value:.1f}" for value in point) for point in self.points_lps)
        cells = {
            self.kind: f"{self.value:.1f} {html.escape(self.unit)}",
            **{html.escape(n.code.meaning): f"{n.value:.1f} {html.escape(n.unit)}" for n in self.more},
            "label": html.escape(self.label),
            "points (LPS mm)": points,
            "series": f"...{html.escape(self.series_uid[-12:])}",
            "author": html.escape(self.author),
        }
        rows = "".join(f"<tr><th style='text-align:left'>{key}</th><td>{cell}</td></tr>" for key, cell in cells.items())
        return f"<table>{rows}</table>"

    def _content(self) -> list[str]:
        parts = (self.series_uid, self.frame_of_reference_uid, self.kind, self.points_lps, self.value, self.unit)
        told = (self.label, self.finding, self.site, self.author, self.algorithm, self.created_at)
        more = [part for number in self.more for part in (number.code, number.value, number.unit)]
        return [str(part) for part in (*parts, *told, *more)]


def default_author() -> str:
    """Who measures: ``RESEARCHPACS_AUTHOR`` from the environment, else the login name.

    Raises
    ------
    InvalidInputError
        There is neither.
    """
    if author := os.environ.get("RESEARCHPACS_AUTHOR"):
        return author
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError) as error:
        raise InvalidInputError("no login name to be found; pass author=... or set RESEARCHPACS_AUTHOR") from error


def _geometry_of(vol: "xr.DataArray") -> Any:
    geometry = getattr(vol, "dicom", None)
    if geometry is None:
        raise InvalidInputError(
            f"cannot measure on a {type(vol).__name__}; give a volume as open_volume and read_volume return it"
        )
    return geometry


def _as_ends(p_lps: Sequence[float], q_lps: Sequence[float]) -> tuple[Point, Point]:
    p, q = _as_point(p_lps), _as_point(q_lps)
    if p == q:
        raise InvalidInputError("both ends of the length are the same point; give two")
    return p, q


def _as_point(values: Iterable[float]) -> Point:
    try:
        numbers = [] if isinstance(values, str | bytes) else [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise InvalidInputError(f"a point has three finite numbers, x, y and z in LPS mm; this one is {values!r}")
    return numbers[0], numbers[1], numbers[2]


def _single(point: Point) -> Point:
    try:
        x, y, z = struct.unpack("<3f", struct.pack("<3f", *point))
    except OverflowError:
        raise InvalidInputError(f"the point {point} is further away than a report can say; points are in mm") from None
    return x, y, z


def _as_value(value: float) -> float:
    if not math.isfinite(value):
        raise InvalidInputError(f"a measured value is a finite number; this one is {value!r}")
    return round(float(value), _DECIMALS)
