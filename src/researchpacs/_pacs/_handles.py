"""Handles: light stand-ins for a patient, study, series or instance, made of a UID and a catalog row."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from researchpacs._pacs._lookup import Later, instance_rows, is_indexed
from researchpacs._pacs._pickled import reopened, travelling
from researchpacs.archive import Subject
from researchpacs.catalog import LABEL_KEYS
from researchpacs.dicom import keywords
from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.model import Frame, Level, Location

if TYPE_CHECKING:
    from pydicom import Dataset

    from researchpacs._pacs._facade import Pacs
    from researchpacs.dicom.geometry import Geometry
    from researchpacs.search import Search
    from researchpacs.viewer import Viewer, Window

__all__ = ["Handle", "Instance", "Patient", "Series", "Study", "apart", "as_handle", "as_handles"]


class Handle:
    """What all four levels share: attributes by keyword, with the types of the catalog.

    An attribute absent from the object is None; a keyword that the data dictionary does not know raises AttributeError.
    """

    level: ClassVar[Level]
    uid_keyword: ClassVar[str]
    identity: ClassVar[tuple[str, ...]]
    """Columns that tell it from all others."""
    shown: ClassVar[tuple[str, ...]]
    """Attributes of the repr: none that names a person."""

    def __init__(self, pacs: "Pacs", row: Mapping[str, Any], *, later: Later | None = None) -> None:
        self._pacs = pacs
        self._known = dict(row)
        self._later = later
        """Gives the whole row, where only a part of it is known yet."""
        self._process = os.getpid()

    @property
    def _row(self) -> Mapping[str, Any]:
        if self._later is not None:
            # A forked process cannot ask through what it inherited, and opens the archive itself.
            inherited = os.getpid() != self._process
            row = reopened(*travelling(self)).attributes() if inherited else self._later()
            self._known, self._later = dict(row), None
        return self._known

    @property
    def uid(self) -> str:
        """The UID (of a patient: the PatientID)."""
        return str(self._known[self.uid_keyword] or "")

    @property
    def key(self) -> str:
        """What the archive calls it where several objects may share its UID."""
        return self.uid

    @property
    def labels(self) -> list[str]:
        """Its own labels, in alphabetical order."""
        return self._pacs.archive.labels.of(self.subject)

    @property
    def subject(self) -> Subject:
        """What the archive knows it by where something is kept beside it."""
        return Subject(self.level, "/".join(str(self._known[name]) for name in LABEL_KEYS[self.level]))

    def attributes(self) -> Mapping[str, object]:
        """The catalog's columns of this object by name."""
        return self._row

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._known:
            return _as_none_if_null(self._known[name])
        if name in self._row:
            return _as_none_if_null(self._row[name])
        if name in self._tags:
            return self._tags[name]
        if keywords.is_keyword(name):
            return None
        near = keywords.nearest(name)
        raise AttributeError(f"{name!r} is no DICOM keyword" + (f"; did you mean {near!r}?" if near else ""))

    @cached_property
    def _tags(self) -> dict[str, Any]:
        tags = self._row.get("tags")
        return json.loads(tags) if isinstance(tags, str) else {}

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._row, *self._tags})

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Handle) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash((type(self), self._identity))

    def __reduce__(self) -> tuple[Any, ...]:
        return reopened, travelling(self)

    @property
    def _identity(self) -> tuple[Any, ...]:
        return self._pacs.home, *self._kinship.values()

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self._shown_values())
        return f"<{type(self).__name__} {', '.join(shown)}>"

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(str(value))}</td></tr>"
            for name, value in self._shown_values()
        )
        return f"<table><caption style='text-align:left'>{type(self).__name__}</caption>{cells}</table>"

    def _shown_values(self) -> list[tuple[str, Any]]:
        values = ((name, getattr(self, name)) for name in self.shown)
        return [(name, value) for name, value in values if value is not None]

    def below(self, level: Level, **options: Any) -> "Search[Any]":
        """Search what belongs to it; options are those of `Pacs.search`."""
        return self._pacs.search(level, **self._kinship, **options)

    @property
    def _kinship(self) -> dict[str, Any]:
        """Its own identity: a UID alone may be in use under another patient."""
        return {name: self._known[name] for name in self.identity}


class Patient(Handle):
    """One patient."""

    level: ClassVar[Level] = "patient"
    uid_keyword = "PatientID"
    identity = ("patient_key",)
    shown = ("study_count", "series_count", "instance_count")

    @property
    def key(self) -> str:
        """What the archive calls the patient, with or without a PatientID."""
        return str(self._known["patient_key"])

    @property
    def studies(self) -> list["Study"]:
        """The patient's studies."""
        return list(self.below("study", order="StudyDate"))


class Study(Handle):
    """One study."""

    level: ClassVar[Level] = "study"
    uid_keyword = "StudyInstanceUID"
    identity = ("patient_key", "StudyInstanceUID")
    shown = ("StudyInstanceUID", "StudyDate", "StudyDescription", "series_count", "instance_count")

    @property
    def series(self) -> list["Series"]:
        """The study's series."""
        return list(self.below("series", order="SeriesNumber"))

    def view(self, *, window: "Window | str | None" = None, layout: str | None = None) -> "Viewer":
        """Show one of its series in the cell, with a menu of the others."""
        return self._pacs.view(self, window=window, layout=layout)


class Series(Handle):
    """One series: also what `open_volume`, `view` and the others take (a `researchpacs.model.SeriesSource`)."""

    level: ClassVar[Level] = "series"
    uid_keyword = "SeriesInstanceUID"
    identity = ("patient_key", "StudyInstanceUID", "SeriesInstanceUID")
    shown = ("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "instance_count")

    @property
    def study(self) -> Study:
        """The study it belongs to."""
        found: Study = self._pacs.search("study", **{name: self._known[name] for name in Study.identity}).one()
        return found

    @property
    def instances(self) -> list["Instance"]:
        """Its instances by InstanceNumber."""
        if is_indexed(self._pacs):
            return [Instance(self._pacs, row, later=later) for row, later in instance_rows(self._pacs, self._known)]
        return list(self.below("instance", order="InstanceNumber"))

    def frames(self) -> Sequence[Frame]:
        """All frames of the series."""
        return self._pacs.catalog.frames(self.uid)

    def locate(self, sop_uids: Sequence[str]) -> Sequence[Location]:
        """Where the instances' bytes are."""
        return self._pacs.archive.locate(sop_uids)

    @property
    def geometry(self) -> "Geometry":
        """What the series physically is: kind, reasons, shape, spacing, affine_lps."""
        from researchpacs.dicom.stacks import geometry_of, split

        frames = self.frames()
        return geometry_of(frames, split(frames))

    def header(self) -> "Dataset":
        """Dataset of the first instance by InstanceNumber, without pixels."""
        instances = self.instances
        if not instances:
            raise NotFoundError(f"series {self.uid} has no instance any more; it was deleted")
        return instances[0].header()

    def view(self, *, window: "Window | str | None" = None, layout: str | None = None) -> "Viewer":
        """Show it in the cell: as a volume, or as frames where it is none."""
        return self._pacs.view(self, window=window, layout=layout)


class Instance(Handle):
    """One instance."""

    level: ClassVar[Level] = "instance"
    uid_keyword = "SOPInstanceUID"
    identity = ("instance_key",)
    shown = ("SOPInstanceUID", "SOPClassUID", "InstanceNumber")

    @property
    def series(self) -> Series:
        """The series it belongs to."""
        found: Series = self._pacs.search("series", **{name: self._known[name] for name in Series.identity}).one()
        return found

    @property
    def key(self) -> str:
        """What the archive calls it where several instances share its UID."""
        return str(self._known["instance_key"])

    def header(self) -> "Dataset":
        """Its Dataset without pixels."""
        from pydicom import dcmread

        header = self._pacs.archive.header(self.key)
        return dcmread(BytesIO(header), force=True, stop_before_pixels=True)


_KINDS: dict[Level, type[Handle]] = {"patient": Patient, "study": Study, "series": Series, "instance": Instance}


def as_handle(pacs: "Pacs", level: Level, row: Mapping[str, Any], *, later: Later | None = None) -> Handle:
    """Make the handle of a catalog row; or of what tells the object apart, and what gives the whole row later."""
    return _KINDS[level](pacs, row, later=later)


def as_handles(target: object, *, of: Path | None = None) -> list[Handle]:
    """One handle or several as a list.

    Parameters
    ----------
    target
        What the user gave.
    of
        The home of the archive that they have to be of: another one may have objects of the same UIDs.
    """
    given = [target] if isinstance(target, str) or not isinstance(target, Iterable) else list(target)
    handles = [one for one in given if isinstance(one, Handle)]
    if len(handles) < len(given):
        raise InvalidInputError(
            "handles are expected, as pacs.study(uid), pacs.series(uid) and pacs.search(...) give them, or their list"
        )
    if of is not None and any(getattr(one._pacs, "home", None) != of for one in handles):
        raise InvalidInputError("these are another archive's; take its own object, or retrieve() them first")
    return handles


def apart(target: object, *, of: Path | None = None) -> tuple[list[Handle], int]:
    """Leave out handles that others include; give the rest, and the number of instances they have in all."""
    levels = list(_KINDS)
    chosen: list[Handle] = []
    taken: set[str] = set()
    for handle in sorted(dict.fromkeys(as_handles(target, of=of)), key=lambda one: levels.index(one.level)):
        keys = set(handle.below("instance").df(columns=["instance_key"])["instance_key"])
        if not keys or keys - taken:
            chosen.append(handle)
        taken |= keys
    return chosen, len(taken)


def _as_none_if_null(value: Any) -> Any:
    """Give None for the nulls of data frames (NaN, NaT), which are the only values unequal to themselves."""
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124
