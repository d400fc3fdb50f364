"""One stored instance -> its rows: the instance, its frames, what it says beside, its issues."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from pydicom.dataset import Dataset

from researchpacs.archive import Archive, Kept, Stored
from researchpacs.catalog._frames import Placed
from researchpacs.catalog._objects import object_rows, reference_rows, says_more
from researchpacs.catalog._recalled import Bases, misfits_elsewhere
from researchpacs.catalog._rows import Written, as_json
from researchpacs.catalog._tables import tables
from researchpacs.catalog._typed import flattened, typed_columns
from researchpacs.dicom.encapsulation import frame_ranges
from researchpacs.dicom.frame_record import unpack
from researchpacs.dicom.frame_traits import Traits
from researchpacs.dicom.frames import FrameRow, frames_of
from researchpacs.dicom.header import read_header, read_trailer
from researchpacs.dicom.pixels import PixelLayout, layout_of
from researchpacs.dicom.references import object_references
from researchpacs.dicom.values import Memory, read_tags, reading_quietly
from researchpacs.errors import PixelDataError
from researchpacs.model import Identity

__all__ = ["InstanceRows", "is_recalled", "read_instance", "recall_instance"]

Row = dict[str, Any]

_DEFLATED = "1.2.840.10008.1.2.1.99"
_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_SEQUENCE_DELIMITER = 8
_UNREAD = "the file could not be read for the catalog ({})"
_MISFIT = "does not fit its value representation: its column is empty, tags has it as it is"


@dataclass(slots=True)
class InstanceRows:
    """The rows of one instance."""

    instance: Row
    """``tags`` is still a dict."""
    frames: list[Row] = field(default_factory=list)
    objects: dict[str, list[Row]] = field(default_factory=dict)
    """What it says beside, by table."""
    issues: list[Row] = field(default_factory=list)

    def note(self, keyword: str, problem: str) -> None:
        """Add an issue, once."""
        names = ("patient_key", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "instance_key")
        row = {**{name: self.instance[name] for name in names}, "keyword": keyword, "problem": problem}
        if row not in self.issues:
            self.issues.append(row)


def is_recalled(kept: Kept | None) -> bool:
    """Whether what the archive kept of a header has all that its file would tell."""
    return kept is not None and kept.frames.is_complete and not says_more(kept.sop_class_uid)


def recall_instance(key: str, identity: Identity, kept: Kept, bases: Bases) -> InstanceRows:
    """Make the rows of an instance from what the archive kept of its header."""
    known = _identity(key, identity) | _told_of(kept)
    rows = InstanceRows(known)
    for keyword, problem in (*kept.issues, *kept.problems):
        rows.note(keyword, problem)
    try:
        frames = unpack(kept.frames)[1]
        known["frame_count"] = len(frames)
        tags, values = bases.recall(kept)
        if values is None:
            rows.instance = _nothing() | known
            _set_tags(rows, tags)
        else:
            values.update(known)
            values["tags"] = tags
            rows.instance = values
        rows.frames = [_frame_row(rows.instance, frame) for frame in frames]
        if references := bases.references(tags):
            rows.objects["object_references"] = reference_rows(rows.instance, references)
    except Exception as error:  # as of one that cannot be read
        rows = InstanceRows(_nothing() | known | {"frame_count": 0, "tags": {}}, issues=rows.issues)
        rows.note("", _UNREAD.format(type(error).__name__))
    return rows


def read_instance(archive: Archive, stored: Stored, memory: Memory) -> InstanceRows:
    """Make the rows of an instance from its file.

    An instance whose file cannot be read keeps what the archive knows of it, and an issue that says so.
    """
    rows = InstanceRows(_nothing() | _identity(stored.key, stored.identity) | _told_of(stored) | {"tags": {}})
    for issue in stored.issues:
        rows.note(issue.keyword, issue.problem)
    try:
        with reading_quietly():
            _read_file(rows, archive, stored, memory)
    except Exception as error:  # one instance that cannot be read never stops the catalog
        rows.note("", _UNREAD.format(type(error).__name__))
    return rows


def _read_file(rows: InstanceRows, archive: Archive, stored: Stored, memory: Memory) -> None:
    header = archive.header(stored.key)
    ds = read_header(header, dataset_offset=stored.dataset_offset, transfer_syntax_uid=stored.transfer_syntax_uid)
    _add_frames(rows, archive, stored, ds)
    _add_tags(rows, archive, stored, ds, memory)
    for frame in rows.frames:
        frame["InstanceNumber"] = rows.instance["InstanceNumber"]
    if says_more(stored.sop_class_uid):
        rows.objects |= object_rows(archive, stored, ds, rows.note)
    if references := object_references(rows.instance["tags"]):
        rows.objects["object_references"] = reference_rows(rows.instance, references)


def _told_of(stored: Stored | Kept) -> Row:
    """What the archive says of an instance."""
    told: Row = {"frame_count": 0, "size_bytes": stored.size, "stored_at": _stored_at(stored.stored_at)}
    if stored.sop_class_uid:
        told["SOPClassUID"] = stored.sop_class_uid
    if stored.transfer_syntax_uid:
        told["TransferSyntaxUID"] = stored.transfer_syntax_uid
    if stored.sha256:
        told["sha256"] = stored.sha256
    return told


@cache
def _nothing() -> Row:
    return dict.fromkeys(column.name for column in tables()["instances"].columns)


def _identity(key: str, identity: Identity) -> Row:
    """What the archive tells instances apart by; it stands whatever the data set says beside."""
    told = {
        "instance_key": key,
        "patient_key": identity.patient_key,
        "StudyInstanceUID": identity.study_uid,
        "SeriesInstanceUID": identity.series_uid,
        "SOPInstanceUID": identity.sop_uid,
    }
    if identity.patient_id:
        told["PatientID"] = identity.patient_id
    return told


def _add_tags(rows: InstanceRows, archive: Archive, stored: Stored, ds: Dataset, memory: Memory) -> None:
    tags, oddities = read_tags(ds, memory)
    trailer = _trailer(archive, stored, rows.frames)
    if trailer is not None:
        more, odder = read_tags(trailer)
        tags, oddities = {**tags, **more}, (*oddities, *odder)
    for oddity in oddities:
        rows.note(oddity.keyword, oddity.problem)
    _set_tags(rows, tags)


def _set_tags(rows: InstanceRows, tags: Mapping[str, Any]) -> None:
    values, misfits = typed_columns(flattened(tags), tables()["instances"].columns)
    # What stands in other tables has to fit there too; the issue is the instance's that has it.
    for keyword in dict.fromkeys([*misfits, *misfits_elsewhere(tags)]):
        rows.note(keyword, _MISFIT)
    known = {name: value for name, value in rows.instance.items() if value is not None}
    rows.instance |= values | known | {"tags": tags}


def _add_frames(rows: InstanceRows, archive: Archive, stored: Stored, ds: Dataset) -> None:
    layout = layout_of(ds, stored.transfer_syntax_uid)
    if layout is None or not _has_pixels(stored, ds):
        return
    ranges = None
    try:
        # Elsewhere frames are asked for by number, and reading on would move pixels.
        if "byte-ranges" in archive.capabilities:
            ranges = frame_ranges(
                lambda offset, length: archive.read(stored.key, offset, length),
                stored.header_length,
                stored.size,
                layout,
            )
    except PixelDataError:
        rows.note(layout.pixel_keyword, "does not hold the frames that the header declares")
    if layout.table_bits == 0:
        table = "RedPaletteColorLookupTableDescriptor" if layout.is_palette else "ModalityLUTSequence"
        rows.note(table, "is no look-up table: volumes open with their stored values only")
    rows.frames = [_frame_row(rows.instance, frame) for frame in frames_of(ds, layout, ranges)]
    rows.instance["frame_count"] = len(rows.frames)


def _has_pixels(stored: Stored, ds: Dataset) -> bool:
    if stored.transfer_syntax_uid == _DEFLATED:
        return any(keyword in ds for keyword in _PIXEL_KEYWORDS)
    return stored.header_length < stored.size


def _frame_row(instance: Row, frame: FrameRow) -> Row:
    row = Placed(_shared_by(frame.traits, frame.layout))
    row.frame = frame
    timing = frame.timing
    row["patient_key"] = instance["patient_key"]
    row["StudyInstanceUID"] = instance["StudyInstanceUID"]
    row["SeriesInstanceUID"] = instance["SeriesInstanceUID"]
    row["SOPInstanceUID"] = instance["SOPInstanceUID"]
    row["InstanceNumber"] = instance.get("InstanceNumber")
    row["frame_index"] = frame.index
    row["position"] = frame.position
    row["orientation"] = frame.orientation
    row["pixel_spacing"] = frame.pixel_spacing
    row["rescale_slope"] = frame.rescale_slope
    row["rescale_intercept"] = frame.rescale_intercept
    row["temporal_position"] = timing.temporal_position
    row["acquisition_number"] = timing.acquisition_number
    row["acquired_at"] = timing.acquired_us
    row["trigger_ms"] = timing.trigger_ms
    row["dimension_indices"] = frame.dimension_indices
    row["byte_offset"] = frame.byte_offset
    row["byte_length"] = frame.byte_length
    return row


def _shared_by(traits: Traits, layout: PixelLayout) -> Row:
    """What all rows of frames with these have; frames that were kept have the very same objects."""
    known = _met.get((id(traits), id(layout)))
    if known is None:
        if len(_met) >= _MOST_MET:
            _met.clear()
        # Kept with what they are known by, so that no other object gets their numbers.
        known = _met[id(traits), id(layout)] = (_shared(traits, layout), traits, layout)
    return known[0]


_met: dict[tuple[int, int], tuple[Row, Traits, PixelLayout]] = {}
_MOST_MET = 256


@lru_cache(maxsize=256)
def _shared(traits: Traits, layout: PixelLayout) -> Row:
    told = {name: None if value == "" else value for name, value in asdict(traits).items()}
    written = asdict(layout)
    return {**told, "stack": 0, "pixel_layout": Written(written, as_json(written))}


def _trailer(archive: Archive, stored: Stored, frames: Sequence[Row]) -> Dataset | None:
    """The attributes after the pixel data, where there are any."""
    ends = [row["byte_offset"] + row["byte_length"] for row in frames if row["byte_offset"] is not None]
    if not ends or len(ends) != len(frames):
        return None
    start = max(ends) + max(ends) % 2
    if archive.read(stored.key, start, 4) == b"\xfe\xff\xdd\xe0":
        start += _SEQUENCE_DELIMITER
    if start + _SEQUENCE_DELIMITER > stored.size:
        return None
    data = archive.read(stored.key, start)
    return read_trailer(data, transfer_syntax_uid=stored.transfer_syntax_uid)


@lru_cache(maxsize=1024)
def _stored_at(text: str) -> datetime:
    """Many are stored within a millisecond."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
