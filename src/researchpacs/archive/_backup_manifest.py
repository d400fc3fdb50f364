"""`backup.json`: what makes a folder a backup, written last and whole; without it there is none."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from researchpacs.errors import InvalidInputError, UnsupportedError
from researchpacs.storage.durable import write_atomically

__all__ = ["FORMAT", "Manifest", "read_manifest", "write_manifest"]

FORMAT = 1
"""The version of the layout that this program reads and writes."""
_NAME = "backup.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds."""

    made_at: str
    """UTC, ISO 8601: everything acknowledged before is in it."""
    feed_id: str
    """Of the archive that it was made of."""
    ledger: str
    """Name of the ledger's copy beside the manifest."""
    ledger_sha256: str
    instances: int
    files: int
    """Those of instances, of attachments and of what was kept aside."""
    size: int
    """Bytes of the files."""
    references: int
    """Files outside the archive, which are not in the backup."""
    left_out: tuple[str, ...]
    """SOPInstanceUIDs of instances whose files were missing or altered when the backup was made."""


def read_manifest(folder: Path) -> Manifest | None:
    """Read a backup's manifest; None where there is no complete backup.

    Raises
    ------
    InvalidInputError
        It is damaged.
    UnsupportedError
        A newer version made it.
    """
    path = folder / _NAME
    try:
        found = json.loads(path.read_bytes())
        version = found.pop("format")
        if not isinstance(version, int) or version > FORMAT:
            raise UnsupportedError(
                f"{folder} holds a backup of format {version!r}, this version of researchpacs reads {FORMAT}. "
                "Upgrade with: pip install --upgrade researchpacs"
            )
        return Manifest(**{**found, "left_out": tuple(found["left_out"])})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(f"{path} cannot be read as the list of a backup; it is damaged") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make what is in a folder the backup that it holds, in place of an older one."""
    write_atomically(folder / _NAME, json.dumps({"format": FORMAT, **asdict(manifest)}, indent=2).encode())
