"""A segmentation: named segments of a series, as masks on its grid; a DICOM SEG once it is stored.

What is written comes back voxel for voxel. A fractional segmentation keeps 256 steps from 0 to 1 and says so in its
header where that rounded anything.
"""

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from researchpacs.annotation import _segment_values as values
from researchpacs.annotation._on_grid import grid_of, history_of, series_of, values_on
from researchpacs.annotation._segment_voxels import Made, Part, Voxels, cropped
from researchpacs.annotation._told import as_algorithm, as_author, as_text, as_utc, require_code
from researchpacs.annotation.masks import fill, spatial
from researchpacs.annotation.measurement import default_author
from researchpacs.dicom.codes import Code
from researchpacs.dicom.seg import Segment
from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.volume.frame import frame_of

__all__ = ["Kind", "Segmentation"]

Kind = Literal["BINARY", "FRACTIONAL", "LABELMAP"]
"""Segmentation Type (0062,0001)."""
Label = str | Code
"""A name, or a code: then its meaning is the name and it is what the segment is."""


class _Told(NamedTuple):
    """What a user says of all segments."""

    algorithm: str | None
    author: str | None
    sites: Mapping[Label, Code]
    created_at: datetime | None


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """Segments of one series; made by `from_mask`, `from_masks`, `from_labels`, `from_nifti`, or read back."""

    kind: Kind
    segments: tuple[Segment, ...]
    """Number, label, codes, algorithm of each."""
    series_uid: str
    """SeriesInstanceUID of what was segmented."""
    frame_of_reference_uid: str
    author: str | None
    """Who made it; None where an object does not say."""
    created_at: datetime | None
    """When, UTC; None: not told."""
    voxels: Voxels = field(repr=False)
    history: tuple[str, ...] = ()
    """What was done to the masks before, as the arrays said; it goes into the object's header."""
    rle: bool = False
    """Whether pixels are compressed when it is stored, without loss."""
    sop_instance_uid: str | None = None
    """Of the object it was read from."""

    @classmethod
    def from_mask(
        cls,
        mask: Any,
        *,
        label: Label,
        like: xr.DataArray | None = None,
        kind: Literal["BINARY", "FRACTIONAL"] = "BINARY",
        algorithm: str | None = None,
        author: str | None = None,
        site: Code | None = None,
        created_at: datetime | None = None,
        rle: bool = False,
    ) -> "Segmentation":
        """Make a segmentation of one segment.

        Parameters
        ----------
        mask
            On the grid of `like` or a part of it: a DataArray as `Segmentation.mask` and arithmetic on volumes give
            it, or an array (z, y, x) of the shape of `like`. Booleans, or 0 and 1; of a fractional one 0 to 1.
        label
            A name for it, or a code: then its meaning is the name and it says what the segment is.
        like
            The volume that was segmented; may be left out where the mask itself knows its series and place.
        kind
            ``"BINARY"``, or ``"FRACTIONAL"`` for probabilities, kept in 255 steps.
        algorithm
            Name and version of the program that made it, ``"NAME VERSION"``; None: a person did.
        author
            Who made it; unless given ``RESEARCHPACS_AUTHOR`` from the environment, else the login name.
        site
            Where in the body it is.
        created_at
            When, with a time zone. Left out, nothing is claimed, and running a notebook twice stores nothing new.
        rle
            Compress, without loss, when it is stored; a binary one cannot be.

        Raises
        ------
        GeometryError
            Another shape, grid or Frame of Reference than the volume.
        InvalidInputError
            Values that are no mask, or none above zero; words that do not fit.
        """
        return cls.from_masks(
            {label: mask},
            like=like,
            kind=kind,
            algorithm=algorithm,
            author=author,
            sites={} if site is None else {label: site},
            created_at=created_at,
            rle=rle,
        )

    @classmethod
    def from_masks(
        cls,
        masks: Mapping[Label, Any],
        *,
        like: xr.DataArray | None = None,
        kind: Literal["BINARY", "FRACTIONAL"] = "BINARY",
        algorithm: str | None = None,
        author: str | None = None,
        sites: Mapping[Label, Code] | None = None,
        created_at: datetime | None = None,
        rle: bool = False,
    ) -> "Segmentation":
        """Make a segmentation of several masks, which may overlap; arguments as for `from_mask`."""
        if not isinstance(masks, Mapping) or not masks:
            raise InvalidInputError("masks= is a dict from label to mask, with one at least")
        if kind not in ("BINARY", "FRACTIONAL"):
            raise InvalidInputError(
                f"kind={kind!r}: masks make 'BINARY' or 'FRACTIONAL'; from_labels() makes labelmaps"
            )
        given = like if like is not None else next(iter(masks.values()))
        grid = grid_of(given)
        parts, rounded = [], False
        for number, (label, mask) in enumerate(masks.items(), start=1):
            placed = values_on(mask, like, grid)
            if kind == "BINARY":
                parts.append(cropped(values.as_mask(placed, _name(label)), number))
            else:
                stored, is_rounded = values.as_fractions(placed, _name(label))
                parts.append(cropped(stored, number))
                rounded |= is_rounded
        history = [line for mask in masks.values() for line in history_of(mask)]
        if rounded:
            history.append("fractions rounded to 1/255")
        told = _Told(algorithm, author, sites or {}, created_at)
        return _made(kind, dict(enumerate(masks, start=1)), grid, parts, told=told, history=history, rle=rle)

    @classmethod
    def from_labels(
        cls,
        labels: Any,
        names: Mapping[int, Label],
        *,
        like: xr.DataArray | None = None,
        kind: Literal["BINARY", "LABELMAP"] = "BINARY",
        algorithm: str | None = None,
        author: str | None = None,
        sites: Mapping[Label, Code] | None = None,
        created_at: datetime | None = None,
        rle: bool = False,
    ) -> "Segmentation":
        """Make a segmentation of an array of numbers, one for each segment, 0 for none.

        Parameters
        ----------
        labels
            On the grid of `like`, as a mask is for `from_mask`; whole numbers.
        names
            By number of the array, what it stands for. A binary segmentation counts its segments from 1 in this order,
            a labelmap keeps the numbers.
        kind
            ``"BINARY"``, which every program reads, or ``"LABELMAP"``, which is smaller and new to many.
        like, algorithm, author, sites, created_at, rle
            As for `from_mask`.

        Raises
        ------
        InvalidInputError
            The array has a number without a name, or none that has one.
        GeometryError
            As for `from_mask`.
        """
        if kind not in ("BINARY", "LABELMAP"):
            raise InvalidInputError(f"kind={kind!r}: labels make 'BINARY' or 'LABELMAP'")
        numbers = values.as_numbers(names)
        grid = grid_of(like if like is not None else labels)
        placed = values.as_labels(values_on(labels, like, grid), numbers)
        if kind == "LABELMAP":
            parts = [cropped(placed, None)]
            named = {number: names[number] for number in numbers}
        else:
            parts = [cropped(placed == number, at) for at, number in enumerate(numbers, start=1)]
            named = {at: names[number] for at, number in enumerate(numbers, start=1)}
        told = _Told(algorithm, author, sites or {}, created_at)
        return _made(kind, named, grid, parts, told=told, history=history_of(labels), rle=rle)

    @classmethod
    def from_nifti(
        cls, path: str | os.PathLike[str], names: Mapping[int, Label], *, like: xr.DataArray, **more: Any
    ) -> "Segmentation":
        """Make a segmentation of a NIfTI file of labels, as segmentation programs write them.

        Its affine is compared with the volume's: axes in another order or direction are put right, another grid is
        refused. Arguments as for `from_labels`.

        Raises
        ------
        GeometryError
            The file has no affine, or another grid than the volume.
        InvalidInputError
            It is no NIfTI file, or damaged; and as for `from_labels`.
        """
        from researchpacs.annotation._nifti_labels import read_labels

        grid = grid_of(like)
        found = grid.copy(deep=False, data=read_labels(path, grid))
        return cls.from_labels(found.assign_attrs(history=()), names, like=like, **more)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its segments, each once, in their order."""
        return tuple(dict.fromkeys(one.label or f"segment {one.number}" for one in self.segments))

    def mask(self, label: Label | int, *, like: xr.DataArray | None = None, clip: bool = False) -> xr.DataArray:
        """Give a segment as a mask.

        Parameters
        ----------
        label
            Name, code or number of the segment; several of one name are one mask.
        like
            The volume whose grid the mask is to have; every pixel of the segment has to fall on one of its voxels,
            whatever their order and direction. Left out, the segmentation's own grid.
        clip
            Leave out what of the segment is beyond the volume, instead of refusing.

        Returns
        -------
        mask
            bool, (z, y, x). Of a fractional segment the voxels that are filled by half or more.

        Raises
        ------
        GeometryError
            Another Frame of Reference, another grid, or a segment that reaches out of the volume.
        InvalidInputError
            There is no such segment.
        PixelDataError
            The stored object cannot be decoded.
        """
        half = self.voxels.highest / 2
        return self._filled(label, like, np.dtype(np.bool_), lambda pixels: pixels >= half, clip=clip)

    def fractions(self, label: Label | int, *, like: xr.DataArray | None = None, clip: bool = False) -> xr.DataArray:
        """Give how far each voxel belongs to a segment, 0 to 1, float32; arguments and errors as for `mask`."""
        highest = np.float32(self.voxels.highest)
        return self._filled(label, like, np.dtype(np.float32), lambda pixels: pixels / highest, clip=clip)

    def _filled(
        self, label: Label | int, like: xr.DataArray | None, dtype: Any, of_pixels: Any, *, clip: bool
    ) -> xr.DataArray:
        numbers, name = self._numbers(label)
        vol = spatial(self.voxels.grid() if like is None else like)
        if frame_of(vol).uid != self.frame_of_reference_uid:
            raise GeometryError("the segmentation has another Frame of Reference than the volume; register them first")
        array = np.zeros(vol.shape, dtype)
        fill({name: array}, self.voxels.placed(numbers), {name: numbers}, vol, of_pixels=of_pixels, clip=clip)
        found = vol.copy(deep=False, data=array)
        found.name = name
        found.attrs = {"SeriesInstanceUID": self.series_uid} if self.series_uid else {}
        return found

    def _numbers(self, label: Label | int) -> "tuple[frozenset[int], str]":
        if isinstance(label, Code):
            found = [one for one in self.segments if one.type == label]
        else:
            found = [one for one in self.segments if label in (one.label, one.number)]
        if not found:
            raise InvalidInputError(f"the segmentation has no segment {label!s}; it has {', '.join(self.labels)}")
        return frozenset(one.number for one in found), found[0].label or f"segment {found[0].number}"

    def __repr__(self) -> str:
        return f"<Segmentation {self.kind} of {len(self.segments)} segments on series ...{self.series_uid[-8:]}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{one.number}</td><td>{html.escape(one.label or '')}</td>"
            f"<td>{html.escape(one.type.meaning if one.type else '')}</td>"
            f"<td>{html.escape(one.algorithm or one.algorithm_type or '')}</td></tr>"
            for one in self.segments
        )
        return f"<table><caption style='text-align:left'>{html.escape(repr(self))}</caption>{rows}</table>"


def _made(
    kind: Kind,
    names: Mapping[int, Label],
    grid: xr.DataArray,
    parts: Sequence[Part],
    *,
    told: _Told,
    history: Sequence[str],
    rle: bool,
) -> Segmentation:
    if not any(part.values.size for part in parts):
        raise InvalidInputError("no voxel is above zero: there is nothing to segment")
    if rle and kind == "BINARY":
        raise InvalidInputError("a binary segmentation packs eight voxels in a byte, which RLE cannot; leave out rle=")
    unknown = [str(label) for label in told.sites if label not in names.values()]
    if unknown:
        raise InvalidInputError(f"sites= names {', '.join(unknown)}, which is no label of a segment")
    series_uid = series_of(grid)
    found = tuple(_segment(number, label, kind, series_uid, told=told) for number, label in names.items())
    if len({one.label for one in found}) < len(found):
        raise InvalidInputError("two segments have the same label; give each its own")
    return Segmentation(
        kind=kind,
        segments=found,
        series_uid=series_uid,
        frame_of_reference_uid=frame_of(grid).uid,
        author=as_author(told.author if told.author is not None else default_author()),
        created_at=as_utc(told.created_at),
        voxels=Made(grid, tuple(parts), values.STEPS if kind == "FRACTIONAL" else 1),
        history=tuple(dict.fromkeys(history)),
        rle=rle,
    )


def _segment(number: int, label: Label, kind: Kind, series_uid: str, *, told: _Told) -> Segment:
    site, algorithm = told.sites.get(label), as_algorithm(told.algorithm)
    require_code(site, "site")
    return Segment(
        number=number,
        label=_name(label),
        description=None,
        segmentation_type=kind,
        algorithm_type="AUTOMATIC" if algorithm else "MANUAL",
        algorithm=algorithm,
        category=None,
        type=label if isinstance(label, Code) else None,
        site=site,
        tracking_id=None,
        tracking_uid=None,
        series_uid=series_uid,
        study_uid=None,
        frame_count=None,
        author=None,
        created_at=None,
    )


def _name(label: Label) -> str:
    name = as_text(label.meaning if isinstance(label, Code) else label, "label of a segment")
    if len(name) > values.LONGEST_LABEL:
        raise InvalidInputError(f"a label has at most {values.LONGEST_LABEL} characters; this one has {len(name)}")
    return name
