"""A region drawn as contours: polygons in planes of a series; part of a DICOM RT structure set once it is stored.

Points are (x, y, z) LPS mm. A contour that is made of a mask runs along the edges of its voxels, and gives the mask
back voxel for voxel.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from researchpacs.annotation._contour_mask import mask_of_contours
from researchpacs.annotation._on_grid import grid_of, history_of, series_of, values_on
from researchpacs.annotation._segment_values import LONGEST_LABEL, as_mask
from researchpacs.annotation._segment_voxels import plane_at
from researchpacs.annotation._told import as_algorithm, as_author, as_text, as_utc
from researchpacs.annotation.masks import spatial
from researchpacs.annotation.measurement import default_author
from researchpacs.dicom.codes import Code
from researchpacs.dicom.contours import AREAS
from researchpacs.dicom.outlines import outlines
from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.volume.frame import frame_of

__all__ = ["Contour"]

Colour = tuple[int, int, int]
_RED: Colour = (255, 0, 0)
_TYPES = 16
"""Characters of an RT ROI Interpreted Type (VR CS)."""


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One region of interest of a series; made by `from_mask`, or read back."""

    label: str
    """ROI Name (3006,0026)."""
    points_lps: tuple[NDArray[np.float64], ...] = field(repr=False)
    """One array ``(n, 3)`` for each closed polygon, mm; empty for a region that is named only."""
    series_uid: str | None
    """SeriesInstanceUID of the images it was drawn on; None where it is not one series."""
    frame_of_reference_uid: str | None
    colour: Colour | None = None
    """Red, green, blue, 0 to 255."""
    number: int = 1
    """ROI Number (3006,0022)."""
    roi_type: str | None = None
    """RT ROI Interpreted Type, such as PTV, ORGAN or EXTERNAL."""
    type: Code | None = None
    """What it is."""
    geometric_types: tuple[str | None, ...] = field(default=(), repr=False)
    """Contour Geometric Type of each polygon."""
    author: str | None = None
    algorithm: str | None = None
    """Name and version of the program that drew it; None: a person did, or nobody says."""
    created_at: datetime | None = None
    history: tuple[str, ...] = ()
    """What was done to the mask it was traced on, as that said."""
    sop_instance_uid: str | None = None
    """Of the structure set it was read from."""

    @classmethod
    def from_mask(
        cls,
        mask: Any,
        *,
        label: str | Code,
        like: xr.DataArray | None = None,
        colour: Sequence[int] = _RED,
        roi_type: str | None = None,
        algorithm: str | None = None,
        author: str | None = None,
        created_at: datetime | None = None,
    ) -> "Contour":
        """Trace a mask along the edges of its voxels, slice by slice.

        Parameters
        ----------
        mask, label, like, algorithm, author, created_at
            As for `Segmentation.from_mask`.
        colour
            Red, green and blue of 0 to 255.
        roi_type
            Such as ``"ORGAN"``, ``"GTV"``, ``"PTV"`` or ``"EXTERNAL"``.

        Raises
        ------
        GeometryError
            Another shape, grid or Frame of Reference than the volume.
        InvalidInputError
            Values that are no mask, or none above zero; words that do not fit.
        """
        grid = grid_of(like if like is not None else mask)
        name = as_text(label.meaning if isinstance(label, Code) else label, "label of a contour")
        if len(name) > LONGEST_LABEL:
            raise InvalidInputError(f"a label has at most {LONGEST_LABEL} characters; this one has {len(name)}")
        values = as_mask(values_on(mask, like, grid), name)
        if not values.any():
            raise InvalidInputError("no voxel is above zero: there is nothing to trace")
        points = tuple(
            polygon for at in np.flatnonzero(values.any(axis=(1, 2))).tolist() for polygon in _traced(values, at, grid)
        )
        return cls(
            label=name,
            points_lps=points,
            series_uid=series_of(grid),
            frame_of_reference_uid=frame_of(grid).uid,
            colour=_as_colour(colour),
            roi_type=_as_type(roi_type),
            type=label if isinstance(label, Code) else None,
            geometric_types=("CLOSED_PLANAR",) * len(points),
            author=as_author(author if author is not None else default_author()),
            algorithm=as_algorithm(algorithm),
            created_at=as_utc(created_at),
            history=history_of(mask),
        )

    def mask(self, *, like: xr.DataArray, clip: bool = False) -> xr.DataArray:
        """Fill the contours: the voxels whose centre they enclose.

        On each plane all contours count together, even-odd: one within another is a hole.

        Parameters
        ----------
        like
            The volume whose grid the mask is to have, in the same Frame of Reference; the contours have to lie on its
            slices, in whatever order these are.
        clip
            Leave out what is beyond the volume, instead of refusing.

        Returns
        -------
        mask
            bool, (z, y, x).

        Raises
        ------
        GeometryError
            Another Frame of Reference; a contour that lies between slices or beyond the volume, has less than three
            points, or encloses no area; a region without contours.
        """
        vol = spatial(like)
        frame = frame_of(vol)
        if self.frame_of_reference_uid != frame.uid:
            raise GeometryError("the contours have another Frame of Reference than the volume; register them first")
        if not self.points_lps:
            raise GeometryError(f"the region {self.label!r} is named in its structure set, but has no contours")
        others = sorted({str(one) for one in self.geometric_types} - AREAS)
        if others:
            raise GeometryError(f"the region {self.label!r} is drawn as {', '.join(others)}, which encloses no area")
        array = mask_of_contours(self.points_lps, vol, name=repr(self.label), clip=clip)
        found = vol.copy(deep=False, data=array)
        found.name = self.label
        found.attrs = {"history": (f"filled from contours of {self.label}",)}
        if self.series_uid:
            found.attrs["SeriesInstanceUID"] = self.series_uid
        return found

    def __repr__(self) -> str:
        on = f" on series ...{self.series_uid[-8:]}" if self.series_uid else ""
        return f"<Contour {self.label!r} of {len(self.points_lps)} polygons{on}>"

    def _repr_html_(self) -> str:
        colour = "#{:02x}{:02x}{:02x}".format(*self.colour) if self.colour else "transparent"
        return (
            f"<span style='display:inline-block;width:1em;height:1em;background:{colour}'></span> "
            f"{html.escape(repr(self))}"
        )


def _traced(values: NDArray[np.bool_], at: int, grid: xr.DataArray) -> list[NDArray[np.float64]]:
    """The outlines in a slice, in LPS mm."""
    plane = plane_at(grid, (at, 0, 0), None)
    right, down = np.reshape(plane.orientation, (2, 3))
    steps = np.stack([down * plane.pixel_spacing[0], right * plane.pixel_spacing[1]])
    return [np.asarray(plane.position) + polygon @ steps for polygon in outlines(values[at])]


def _as_colour(colour: Sequence[int]) -> Colour:
    try:
        red, green, blue = (int(value) for value in colour)
    except (TypeError, ValueError):
        red = green = blue = -1
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise InvalidInputError(f"a colour is red, green and blue of 0 to 255, not {colour!r}")
    return red, green, blue


def _as_type(text: str | None) -> str | None:
    if text is None:
        return None
    found = as_text(text, "roi_type").upper()
    if len(found) > _TYPES or not all(
        character.isascii() and (character.isalnum() or character in " _") for character in found
    ):
        raise InvalidInputError(f"roi_type is a word such as 'ORGAN', 'GTV' or 'PTV'; this one is {text!r}")
    return found
