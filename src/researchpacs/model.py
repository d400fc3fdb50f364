"""The nouns that pass between rooms, frozen, and the `SeriesSource` that rooms take where users pass a handle.

Those that every file of an ingest brings from a worker say how they are pickled: dataclasses with slots take long.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from researchpacs.dicom.frame_traits import UNKNOWN, UNTIMED, Timing, Traits
from researchpacs.dicom.pixels import PixelLayout

if TYPE_CHECKING:
    from researchpacs.dicom.facts import Facts

__all__ = [
    "Change",
    "Changes",
    "Find",
    "Frame",
    "Identity",
    "Incoming",
    "Issue",
    "Level",
    "Location",
    "Outcome",
    "OutcomeKind",
    "Reference",
    "Refusal",
    "Row",
    "SeriesSource",
]

Level = Literal["patient", "study", "series", "instance"]
OutcomeKind = Literal["stored", "duplicate", "conflict", "refused"]
_DEPTH: Mapping[Level, int] = {"patient": 1, "study": 2, "series": 3, "instance": 4}
Row = Mapping[str, str]
"""Main attributes of one patient, study, series or instance: keyword to text."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes an instance itself: its patient, study, series and SOP Instance UID.

    An empty PatientID is one patient per study.
    """

    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    study_uid: str
    series_uid: str
    sop_uid: str

    def __reduce__(self) -> tuple[Any, ...]:
        return Identity, (self.patient_id, self.issuer, self.study_uid, self.series_uid, self.sop_uid)

    @property
    def key(self) -> str:
        """The 40 hex digits under which archive and catalog know the instance."""
        text = "\0".join((self.patient_key, self.study_uid, self.series_uid, self.sop_uid))
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def orthanc_id(self, level: Level) -> str:
        """The name under which Orthanc and its clients know the object of this level.

        SHA-1 of PatientID and the UIDs down to the level, in five groups of eight hex digits. The issuer is no part of
        it, so that patients of two issuers may share one.
        """
        names = (self.patient_id, self.study_uid, self.series_uid, self.sop_uid)
        text = "|".join(names[: _DEPTH[level]])
        found = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        return f"{found[:8]}-{found[8:16]}-{found[16:24]}-{found[24:32]}-{found[32:]}"

    @property
    def patient_key(self) -> str:
        """The 40 hex digits of the patient."""
        return _patient_key(*((self.patient_id, self.issuer) if self.patient_id else ("", self.study_uid)))


@lru_cache(maxsize=256)
def _patient_key(*owner: str) -> str:
    return hashlib.sha1("\0".join(owner).encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Issue:
    """Something odd but safe in a stored instance."""

    keyword: str
    """The attribute's keyword, ``"(gggg,eeee)"`` for one without, empty for the file as a whole."""
    problem: str
    """One sentence without patient data."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A file that stays where it is; the archive never writes or deletes it."""

    path: Path
    mtime_ns: int
    header_sha256: str

    def __reduce__(self) -> tuple[Any, ...]:
        return _reference, (str(self.path), self.mtime_ns, self.header_sha256)


def _reference(path: str, mtime_ns: int, header_sha256: str) -> Reference:
    return Reference(Path(path), mtime_ns, header_sha256)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A checked instance on its way into an archive."""

    source: str
    """Where it came from, for the report: a path, ``archive.zip!member``, ``<dataset>``."""
    identity: Identity
    sop_class_uid: str
    transfer_syntax_uid: str
    size: int
    """Bytes of the whole file."""
    header_length: int
    """Bytes before the pixel data element; `size` where there is none or the data set is deflated."""
    dataset_offset: int
    """First byte after the File Meta Information."""
    blob: Path | None
    """A complete file in the home's ``tmp/`` that the archive syncs and may rename; None for a reference."""
    sha256: str | None
    """Of the whole file; None for a reference not read in full."""
    dataset_sha256: str | None
    """Of the bytes from `dataset_offset` on; None where nobody has needed it yet."""
    reference: Reference | None = None
    attributes: Row = field(default_factory=dict, repr=False)
    """Attributes that an archive indexes (`researchpacs.dicom.keywords.INDEXED`), decoded text; empty where they are
    present without a value."""
    issues: tuple[Issue, ...] = ()
    facts: "Facts | None" = field(default=None, repr=False)
    """What a catalog wants to know of it, where its header is plain."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Incoming, _INCOMING(self)


_INCOMING = attrgetter(*(one.name for one in fields(Incoming)))


@dataclass(frozen=True, slots=True)
class Refusal:
    """An input that is not taken, with the reason."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one input."""

    source: str
    kind: OutcomeKind
    reason: str = ""
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """Where the bytes of an instance are: picklable, without a secret; what a dask task carries."""

    sop_uid: str
    path: str = field(repr=False)
    """Of a reference it may hold a name, and schedulers log what their tasks carry."""
    size: int
    header_length: int
    mtime_ns: int | None = None
    """Set for a reference: the file must still have it."""
    url: str | None = None
    """Of the server that has it, without credentials; `path` is then the instance's below it, and its version."""
    series_uid: str = ""
    """Set where `url` is."""


@dataclass(frozen=True, slots=True)
class Find:
    """A question to an archive: attributes of one level by keyword.

    Values match exactly; ``*`` and ``?`` are wildcards, a list is any-of, a ``(low, high)`` tuple is an inclusive range
    with None for an open end.
    """

    level: Level
    filters: Mapping[str, str | Sequence[str] | tuple[str | None, str | None]] = field(default_factory=dict)
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of an archive's change feed."""

    seq: int
    kind: Literal["stored", "deleted"]
    key: str
    """`Identity.key` of the instance."""
    identity: Identity


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of the change feed; another `feed_id` than last time means a full resync."""

    feed_id: str
    items: tuple[Change, ...]
    last: int
    """The highest sequence number of this page; `since` where it is empty."""
    done: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of an image, as the catalog knows it: enough to place, find and decode it without opening a file."""

    sop_uid: str
    index: int
    """Zero-based in its instance."""
    instance_number: int | None
    position: tuple[float, float, float] | None
    """Image Position (Patient): LPS mm of the centre of the first pixel."""
    orientation: tuple[float, float, float, float, float, float] | None
    """Image Orientation (Patient): LPS cosines of increasing column index, then of increasing row index."""
    pixel_spacing: tuple[float, float] | None
    """mm between rows, mm between columns."""
    rescale_slope: float
    rescale_intercept: float
    byte_offset: int | None
    """In the file. For encapsulated pixel data the item tag of the frame's first fragment. None where the
    data set is deflated: the whole instance has to be read."""
    byte_length: int | None
    """For encapsulated pixel data up to the end of the frame's last fragment, item headers included."""
    layout: PixelLayout
    traits: Traits = UNKNOWN
    """What tells it from others at the same place."""
    timing: Timing = UNTIMED


class SeriesSource(Protocol):
    """A series as rooms see it where users pass a handle."""

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        ...

    def attributes(self) -> Mapping[str, object]:
        """The series' catalog columns by keyword (Modality, FrameOfReferenceUID, StudyInstanceUID, ...)."""
        ...

    def frames(self) -> Sequence[Frame]:
        """All frames of the series, in no particular order."""
        ...

    def locate(self, sop_uids: Sequence[str]) -> Sequence[Location]:
        """Where the instances' bytes are, in the order asked for."""
        ...
