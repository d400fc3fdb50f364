"""One instance of a remote archive as it was seen: its identity and its header, which passed the guarded scan."""

import hashlib
from dataclasses import dataclass, field
from io import BytesIO

from researchpacs.dicom.scan import scan
from researchpacs.ingest.identified import clean_text, identified
from researchpacs.model import Identity, Issue, Row

__all__ = ["Fetched", "Seen", "seen_of"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a server sent of one instance."""

    name: str
    """What its server calls it: the path of the instance below the server's address."""
    version: str
    """Changes with the instance's content; empty where the server tells nothing of the kind."""
    header: bytes = field(repr=False)
    """A file's bytes up to its pixel data."""
    size: int
    """Bytes of the whole file."""
    transfer_syntax_uid: str | None = None
    """Of the stored file where the header does not say it; empty where the server does not either."""
    problems: tuple[tuple[str, str], ...] = ()
    """Keyword and phrase of what could not be taken over into `header`."""
    failure: str = ""
    """Why there is nothing else, where the server failed to give it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An instance that its server holds."""

    name: str
    version: str
    identity: Identity
    sop_class_uid: str
    transfer_syntax_uid: str
    size: int
    header_length: int
    dataset_offset: int
    attributes: Row = field(repr=False)
    issues: tuple[Issue, ...]
    header: bytes = field(repr=False)


def seen_of(fetched: Fetched) -> Seen:
    """Read what a server sent with the same guarded scan as a file.

    Raises
    ------
    InvalidInputError
        It is unsafe to parse, or without identity.
    """
    found = scan(BytesIO(fetched.header))
    identity, attributes = identified(found)
    declared = fetched.transfer_syntax_uid
    return Seen(
        name=fetched.name,
        version=fetched.version or hashlib.sha256(fetched.header).hexdigest()[:32],
        identity=identity,
        sop_class_uid=attributes["SOPClassUID"] or clean_text(found.text("MediaStorageSOPClassUID")),
        transfer_syntax_uid=found.transfer_syntax_uid if declared is None else declared,
        size=fetched.size,
        header_length=len(fetched.header),
        dataset_offset=found.dataset_offset,
        attributes={keyword: value for keyword, value in attributes.items() if value},
        issues=(
            *(Issue(oddity.keyword, oddity.problem) for oddity in found.issues),
            *(Issue(keyword, problem) for keyword, problem in fetched.problems),
        ),
        header=fetched.header,
    )
