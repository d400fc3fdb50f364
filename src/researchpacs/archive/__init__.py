"""Keep and return instances: the `Archive` protocol and its back ends."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from researchpacs.archive._attachments import Attachment
from researchpacs.archive._embedded import EmbeddedArchive
from researchpacs.archive._jobs import Job, Jobs, JobStoppedError, Worker
from researchpacs.archive._labels import LabelChange
from researchpacs.archive._metadata import Revision
from researchpacs.archive._stored import Stored
from researchpacs.archive._subject import Subject
from researchpacs.archive._verify import Problem, VerifyReport
from researchpacs.model import Changes, Find, Incoming, Level, Location, Outcome, Row
from researchpacs.storage.home import Home

if TYPE_CHECKING:
    from researchpacs.config import Settings

__all__ = [
    "Archive",
    "Attachment",
    "EmbeddedArchive",
    "Job",
    "JobStoppedError",
    "Jobs",
    "LabelChange",
    "Problem",
    "Revision",
    "Stored",
    "Subject",
    "VerifyReport",
    "Worker",
    "open_archive",
]


class Archive(Protocol):
    """The joint between the archive and everything else.

    An instance is named by its SOPInstanceUID or by its `Identity.key`. A UID that several patients, studies or series
    share names none of them: InvalidInputError. What is not there: NotFoundError.
    """

    @property
    def capabilities(self) -> frozenset[str]:
        """What this back end can do beside the minimum, such as ``"delete"``, ``"change-feed"``, ``"verify"``."""
        ...

    def store(self, items: Iterable[Incoming]) -> Iterator[Outcome]:
        """Keep instances; an outcome is given out only when it is durable, and not always in the order of the items."""
        ...

    def read(self, uid: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an instance's file; fewer than `length` only where the file ends."""
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

    def changes(self, since: int, limit: int) -> Changes:
        """What was stored and deleted after sequence number `since`.

        What has been superseded is left out: a deletion may name an instance that was never announced.
        """
        ...

    def label_changes(self, since: int) -> "Sequence[LabelChange]":
        """The labels of the objects whose labels changed after `since`; asked only of what can ``"label-feed"``."""
        ...

    def last_change(self) -> tuple[str, int]:
        """The feed's id and its highest sequence number, cheap enough to ask before every query."""
        ...

    def delete(self, level: Level, uid: str) -> int:
        """Remove an object and all below it; the number of instances removed."""
        ...


def open_archive(settings: "Settings") -> EmbeddedArchive:
    """Open the archive that the settings name, making it where there is none yet."""
    return EmbeddedArchive(Home.open(settings.home))
