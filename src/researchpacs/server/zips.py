"""Zip archives of instances, written member by member while they are sent: memory stays flat whatever their size.

Names of members come from attributes of strangers, so only plain letters, digits and a few signs pass.
"""

import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from researchpacs.archive import Stored
from researchpacs.dicom.header import read_header
from researchpacs.dicom.media import write_directory
from researchpacs.dicom.preamble import safe_preamble
from researchpacs.errors import InvalidInputError, PixelDataError
from researchpacs.server.transcoding import transcoded

if TYPE_CHECKING:
    from pydicom import Dataset

    from researchpacs._pacs import Pacs

__all__ = ["Member", "instance_bytes", "instance_members", "media_members", "stream_zip"]

_CHUNK = 1 << 20
_LONGEST = 64
_UNFIT = re.compile(r"[^A-Za-z0-9 ._-]+")
# Compressing again what is compressed gains nothing.
_NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"})


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a zip archive."""

    name: str
    chunks: Callable[[], Iterator[bytes]]
    moment: tuple[int, int, int, int, int, int]
    """Year to second."""
    deflate: bool


class _Sink:
    """Collects what `zipfile` writes until it is taken away; it cannot be sought in."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def stream_zip(members: Iterable[Member]) -> Iterator[bytes]:
    """Write a zip archive (with 64-bit sizes where needed) and give it out as it grows."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]  # a write-only file will do
        for member in members:
            info = zipfile.ZipInfo(member.name, member.moment)
            info.compress_type = zipfile.ZIP_DEFLATED if member.deflate else zipfile.ZIP_STORED
            info.external_attr = 0o644 << 16
            info._compresslevel = 1  # type: ignore[attr-defined]  # public from Python 3.13 on; more costs time, not bytes
            with archive.open(info, "w", force_zip64=True) as file:
                for chunk in member.chunks():
                    file.write(chunk)
                    if data := sink.take():
                        yield data
    yield sink.take()


def instance_bytes(pacs: "Pacs", stored: Stored, to: str | None = None, *, strict: bool = True) -> Iterator[bytes]:
    """The file of an instance, with a harmless preamble, in another transfer syntax where that is asked for.

    Parameters
    ----------
    strict
        False gives an instance that cannot be transcoded as it is stored.
    """
    if to is not None and to != stored.transfer_syntax_uid:
        try:
            yield transcoded(stored, to)
        except PixelDataError:
            if strict:
                raise
        else:
            return
    for offset in range(0, stored.size, _CHUNK):
        chunk = pacs.archive.read(stored.key, offset, _CHUNK)
        yield chunk if offset else safe_preamble(chunk)


def instance_members(pacs: "Pacs", instances: Sequence[Stored], to: str | None = None) -> Iterator[Member]:
    """Name instances by patient, study and series: ``ID Name/Accession Description/CT Description/CT000000.dcm``.

    What cannot be transcoded comes as it is stored.
    """
    folders = _Folders(pacs)
    counts: dict[str, int] = {}
    for stored in instances:
        folder, modality = folders.of(stored)
        number = counts.get(folder, 0)
        counts[folder] = number + 1
        yield _member(pacs, stored, f"{folder}/{modality}{number:06d}.dcm", to, strict=False)


def media_members(
    pacs: "Pacs", instances: Sequence[Stored], tmp: Path, to: str | None = None, *, extended: bool = False
) -> Iterator[Member]:
    """Lay instances out as a medium, the directory first.

    Parameters
    ----------
    tmp
        An empty folder for the headers that the directory is made of.
    extended
        As for `write_directory`.
    """
    headers = (_header(pacs, stored, to) for stored in instances)
    try:
        directory, names = write_directory(headers, tmp, extended=extended)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # Its message may quote a value.
        raise InvalidInputError(
            "an instance lacks what a DICOMDIR needs of it, such as its SOP class; take an archive instead of a medium"
        ) from error
    moment = max((_moment(stored) for stored in instances), default=(1980, 1, 1, 0, 0, 0))
    yield Member("DICOMDIR", lambda: iter([directory]), moment, deflate=True)
    for stored in instances:
        yield _member(pacs, stored, names[stored.identity.sop_uid], to, strict=True)


def _member(pacs: "Pacs", stored: Stored, name: str, to: str | None, *, strict: bool) -> Member:
    native = (to or stored.transfer_syntax_uid) in _NATIVE
    return Member(name, lambda: instance_bytes(pacs, stored, to, strict=strict), _moment(stored), deflate=native)


def _header(pacs: "Pacs", stored: Stored, to: str | None) -> "Dataset":
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    data = pacs.archive.read(stored.key, 0, stored.header_length)
    ds = read_header(data, dataset_offset=stored.dataset_offset, transfer_syntax_uid=stored.transfer_syntax_uid)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(to or stored.transfer_syntax_uid)
    ds.file_meta.MediaStorageSOPClassUID = UID(stored.sop_class_uid)
    ds.file_meta.MediaStorageSOPInstanceUID = UID(stored.identity.sop_uid)
    return ds


class _Folders:
    """Names of the folders of series, each its own."""

    def __init__(self, pacs: "Pacs") -> None:
        self._pacs = pacs
        self._known: dict[str, tuple[str, str]] = {}
        self._taken: dict[str, str] = {}

    def of(self, stored: Stored) -> tuple[str, str]:
        """Folder of an instance's series, and the beginning of the names of its files."""
        series_id = stored.identity.orthanc_id("series")
        if series_id not in self._known:
            self._known[series_id] = self._named(stored, series_id)
        return self._known[series_id]

    def _named(self, stored: Stored, series_id: str) -> tuple[str, str]:
        series = self._pacs.archive.resources.one("series", series_id)
        values = {} if series is None else {k: v for row in series.attributes.values() for k, v in row.items()}
        modality = _fit(values.get("Modality", "")) or "IM"
        parts = (
            ("patient", f"{values.get('PatientID', '')} {values.get('PatientName', '')}"),
            ("study", f"{values.get('AccessionNumber', '')} {values.get('StudyDescription', '')}"),
            ("series", f"{values.get('Modality', '')} {values.get('SeriesDescription', '')}"),
        )
        folder = ""
        for level, text in parts:
            owner = stored.identity.orthanc_id(level)  # type: ignore[arg-type]
            folder = self._own(folder, _fit(text) or f"Unknown {level}", owner)
        return folder, modality[:2]

    def _own(self, above: str, name: str, owner: str) -> str:
        """A path that no other object has."""
        path, number = f"{above}/{name}".lstrip("/"), 1
        while self._taken.setdefault(path.lower(), owner) != owner:
            number += 1
            path = f"{above}/{name}-{number}".lstrip("/")
        return path


def _fit(text: str) -> str:
    """What of a text may stand in the name of a file on every system."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return " ".join(_UNFIT.sub(" ", plain).split())[:_LONGEST].strip(" .")


def _moment(stored: Stored) -> tuple[int, int, int, int, int, int]:
    text = stored.stored_at
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    return max(year, 1980), month, day, int(text[11:13]), int(text[14:16]), int(text[17:19])
