"""Keep and return instances: the `Archive` protocol and its back ends."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from researchpacs.archive._attachments import Attachment
from researchpacs.archive._backup import BackupReport, back_up
from researchpacs.archive._cohorts import CohortLedger
from researchpacs.archive._conflicts import Conflict
from researchpacs.archive._embedded import EmbeddedArchive
from researchpacs.archive._facts import Kept
from researchpacs.archive._job import Job, JobStoppedError
from researchpacs.archive._jobs import Jobs
from researchpacs.archive._labels import LabelChange
from researchpacs.archive._metadata import Revision
from researchpacs.archive._origins import Origin, OriginChange
from researchpacs.archive._peers import Peer, Peers, Tls
from researchpacs.archive._restore import RestoreReport, restore
from researchpacs.archive._stored import Stored
from researchpacs.archive._subject import Subject
from researchpacs.archive._verify import Problem, VerifyReport
from researchpacs.archive._worker import Worker
from researchpacs.model import Changes, Find, Incoming, Level, Location, Outcome, Row
from researchpacs.storage.home import Home

if TYPE_CHECKING:
    from researchpacs.archive._remote import RemoteArchive
    from researchpacs.archive._remote_frames import RemoteFrame
    from researchpacs.config import Settings
    from researchpacs.dicom.frame_record import Record
    from researchpacs.dicom.pixels import PixelLayout
    from researchpacs.model import Frame

__all__ = [
    "Archive",
    "Attachment",
    "BackupReport",
    "CohortLedger",
    "Conflict",
    "EmbeddedArchive",
    "Job",
    "JobStoppedError",
    "Jobs",
    "Kept",
    "LabelChange",
    "Origin",
    "OriginChange",
    "Peer",
    "Peers",
    "Problem",
    "RestoreReport",
    "Revision",
    "Stored",
    "Subject",
    "Tls",
    "VerifyReport",
    "Worker",
    "back_up",
    "open_archive",
    "open_remote",
    "read_remote_frame",
    "read_remote_header",
    "restore",
]


class Archive(Protocol):
    """The joint between the archive and everything else.

    An instance is named by its SOPInstanceUID or by its `Identity.key`. A UID that several patients, studies or series
    share names none of them: InvalidInputError. What is not there: NotFoundError.
    """

    @property
    def capabilities(self) -> frozenset[str]:
        """What this back end can do beside the minimum, such as ``"delete"``, ``"verify"``.

        With ``"byte-ranges"`` a part of a file is read without moving the others; else frames are asked for by number.
        """
        ...

    def store(self, items: Iterable[Incoming]) -> Iterator[Outcome]:
        """Keep instances; an outcome is given out only when it is durable, and not always in the order of the items."""
        ...

    def read(self, uid: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an instance's file; fewer than `length` only where the file ends."""
        ...

    def header(self, uid: str) -> bytes:
        """An instance up to its pixel data, as `Stored` describes it: a file's bytes, or what stands for them."""
        ...

    def locate(self, uids: Sequence[str]) -> Sequence[Location]:
        """Where instances are, in the order asked for."""
        ...

    def rows(self, keys: Sequence[str]) -> Mapping[str, Stored]:
        """What is known of instances, by `Identity.key`; those that are not there any more are left out."""
        ...

    def find(self, query: Find) -> Iterator[Row]:
        """Main attributes of what matches, its parents' included, one row per object of the level."""
        ...

    def conflicts(self) -> Sequence[Conflict]:
        """What was kept aside because its identity had another content already, in the order in which it came."""
        ...

    def facts(self, keys: Sequence[str]) -> Mapping[str, Kept]:
        """What was taken from the headers of instances when they came, by `Identity.key`, as far as it is kept.

        Asked only of what keeps ``"facts"``.
        """
        ...

    def forget_facts(self, last: int) -> None:
        """Drop the facts of what was stored up to change `last` of the feed: the catalog has them."""
        ...

    def frames(self, series_uid: str) -> "list[Frame] | None":
        """All frames of a series, in no order, from what is kept; None where those of an instance are not known yet.

        Asked only of what keeps ``"frames"``.
        """
        ...

    def remember_frames(self, series_uid: str, records: "Mapping[str, Record]", seq: int) -> None:
        """Keep the frames of instances of a series by SOPInstanceUID, as they were at change `seq` of the feed."""
        ...

    def look_up(self, level: Level, uid: str) -> list[tuple[str, ...]]:
        """Patient key and UIDs of the studies or series of a UID, else of those whose UID begins so; two at most.

        Asked only of what has a ``"uid-index"``.
        """
        ...

    def instances_of(self, owner: tuple[str, ...]) -> list[tuple[str, str]]:
        """Key and SOPInstanceUID of the instances of a series by InstanceNumber; it is named as `look_up` does."""
        ...

    def changes(self, since: int, limit: int) -> Changes:
        """What was stored and deleted after sequence number `since`.

        What has been superseded is left out: a deletion may name an instance that was never announced.
        """
        ...

    def label_changes(self, since: int) -> "Sequence[LabelChange]":
        """The labels of the objects whose labels changed after `since`; asked only of what can ``"label-feed"``."""
        ...

    def origin_changes(self, since: int) -> "Sequence[OriginChange]":
        """The origins of the series whose origin changed after `since`; asked only of what keeps ``"origins"``."""
        ...

    def cohorts_announced(self, since: int, last: int) -> "Sequence[Mapping[str, Any]]":
        """The cohorts frozen by changes after `since` up to `last`; asked only of what keeps ``"cohorts"``."""
        ...

    def last_change(self) -> tuple[str, int]:
        """The feed's id and its highest sequence number, cheap enough to ask before every query."""
        ...

    def refresh(self) -> None:
        """Find out what others changed that the change feed does not tell by itself."""
        ...

    def delete(self, level: Level, uid: str) -> int:
        """Remove an object and all below it; the number of instances removed."""
        ...


def open_archive(settings: "Settings") -> EmbeddedArchive:
    """Open the archive that the settings name, making it where there is none yet."""
    return EmbeddedArchive(Home.open(settings.home))


def open_remote(settings: "Settings", url: str) -> "RemoteArchive":
    """Open the archive behind a server's API; what is seen of it is kept below the home that the settings name.

    Parameters
    ----------
    settings
        Where that home is.
    url
        Such as ``orthanc+http://user:secret@host:8042/`` or ``dicomweb+https://host/dicom-web``.
    """
    from researchpacs.archive._remote import RemoteArchive
    from researchpacs.archive._remote_address import as_address

    address = as_address(url)
    place = Home.open(settings.home).path / "remotes"
    return RemoteArchive(Home.open(place / address.digits), address)


def read_remote_frame(location: Location, index: int, layout: "PixelLayout") -> "RemoteFrame":
    """Read one frame of an instance whose location has a URL, in any process."""
    from researchpacs.archive._remote_frames import read_frame

    return read_frame(location, index, layout)


def read_remote_header(location: Location) -> bytes:
    """Read an instance whose location has a URL up to its pixel data, in any process."""
    from researchpacs.archive._remote_frames import read_header

    return read_header(location)
