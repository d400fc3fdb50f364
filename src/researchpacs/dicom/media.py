"""The directory of a set of files on a medium: DICOMDIR (PS3.3 F, PS3.10 8.6)."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from io import BytesIO
from pathlib import Path

from pydicom import Dataset
from pydicom.fileset import FileInstance, FileSet
from pydicom.multival import MultiValue

from researchpacs.dicom._content_items import BROKEN, items
from researchpacs.dicom._walk import Walk
from researchpacs.dicom._walk_opening import read_opening
from researchpacs.dicom._walk_window import Window
from researchpacs.dicom.header import read_header
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import InvalidInputError

__all__ = ["is_directory", "listed_files", "write_directory"]

_SOP_CLASS = b"1.2.840.10008.1.3.10"
_SET_ID = "RESEARCHPACS"
_PIXELS = (0x7FE00001, 0x7FE00002, 0x7FE00003, 0x7FE00008, 0x7FE00009, 0x7FE00010)
# What a record needs and an object may leave out; whoever makes the directory has to give a value (PS3.3 F.5).
_DEFAULTS = {
    "PatientID": "UNKNOWN",
    "StudyID": "1",
    "StudyDate": "19000101",
    "StudyTime": "000000",
    "Modality": "OT",
    "SeriesNumber": 0,
    "InstanceNumber": 0,
    "ContentDate": "19000101",
    "ContentTime": "000000",
}
# What a record may have beside (type 3), by its type: enough to show and lay out images without reading them.
_EXTENDED = {
    "PATIENT": ("PatientBirthDate", "PatientSex"),
    "STUDY": ("ReferringPhysicianName", "InstitutionName"),
    "SERIES": ("SeriesDescription", "SeriesDate", "SeriesTime", "BodyPartExamined", "Manufacturer"),
    "IMAGE": (
        "ImageType",
        "FrameOfReferenceUID",
        "Rows",
        "Columns",
        "NumberOfFrames",
        "PixelSpacing",
        "ImagePositionPatient",
        "ImageOrientationPatient",
    ),
}


def write_directory(
    headers: Iterable[Dataset], tmp: Path, *, extended: bool = False
) -> tuple[bytes, Mapping[str, str]]:
    """Make the directory of instances.

    Parameters
    ----------
    headers
        Data sets without pixels, each with its File Meta Information.
    tmp
        An empty folder, which is left with small files in it.
    extended
        Write into the records also what they may have beside, such as descriptions, sizes and positions.

    Returns
    -------
    directory
        The bytes of the DICOMDIR.
    names
        Where each instance's file has to lie, by SOPInstanceUID, with ``/``.

    Raises
    ------
    InvalidInputError
        Two instances have one SOPInstanceUID.
    """
    files = FileSet()
    files.ID = _SET_ID
    with reading_quietly(), closing(_Stage(files)):
        count = 0
        for ds in headers:
            added = files.add(_complete(ds))
            if extended:
                _extend(added, ds)
            count += 1
        if len(files) != count:
            raise InvalidInputError("two of the instances share a SOPInstanceUID, which a medium cannot hold")
        files.write(tmp)
        names = {str(one.SOPInstanceUID): str(one.FileID).replace("\\", "/") for one in files}
    return (tmp / "DICOMDIR").read_bytes(), names


def is_directory(start: bytes) -> bool:
    """Whether a file is a directory, from its first 512 bytes."""
    return start[128:132] == b"DICM" and _SOP_CLASS in start


def listed_files(data: bytes) -> list[tuple[str, ...]]:
    """Read which files a directory lists, in its order.

    Parameters
    ----------
    data
        The file of the directory.

    Returns
    -------
    files
        Of each the names of its folders and of itself, below where the directory lies; not checked: a name from
        outside may be any text.

    Raises
    ------
    InvalidInputError
        Its structure is not sound.
    """
    window = Window(BytesIO(data))
    opening = read_opening(window)
    if opening.deflated:
        raise InvalidInputError("a directory of files is never deflated")
    Walk(
        window,
        opening.walk_offset,
        implicit=opening.implicit,
        little_endian=opening.little_endian,
        wanted=frozenset(),
    ).run()
    ds = read_header(data, dataset_offset=opening.dataset_offset, transfer_syntax_uid=opening.transfer_syntax_uid)
    with reading_quietly():
        found = [_file_id(record) for record in items(ds, "DirectoryRecordSequence")]
    return [names for names in dict.fromkeys(found) if names]


def _file_id(record: Dataset) -> tuple[str, ...]:
    """Referenced File ID; empty for a record of a patient, study or series."""
    try:
        value = record["ReferencedFileID"].value
    except BROKEN:
        return ()
    parts = value if isinstance(value, MultiValue) else [value]
    return tuple(str(part).strip() for part in parts) if value else ()


class _Stage:
    """The folder that a FileSet stages files in, which it leaves to the garbage collector otherwise."""

    def __init__(self, files: FileSet) -> None:
        self._files = files

    def close(self) -> None:
        # Writing may have put another one in the place of the first.
        self._files._stage["t"].cleanup()


def _extend(added: FileInstance, ds: Dataset) -> None:
    """Write more into the records of an instance and of what is above it; the first instance speaks for those."""
    node = added.node
    while node is not None and not node.is_root:
        record = node._record
        for keyword in _EXTENDED.get(str(record.DirectoryRecordType), ()):
            if keyword in ds and keyword not in record:
                record[keyword] = ds[keyword]
        node = node.parent


def _complete(ds: Dataset) -> Dataset:
    for tag in _PIXELS:
        if tag in ds:
            del ds[tag]
    for keyword, value in _DEFAULTS.items():
        if ds.get(keyword) in (None, ""):
            setattr(ds, keyword, value)
    return ds
