"""What the ledger knows of one instance."""

import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from researchpacs.model import Identity, Issue, Location, Reference

__all__ = ["PLACE_COLUMNS", "Owner", "Stored", "blob_path", "location_of", "refers", "stored_of"]

Owner: TypeAlias = Literal["instances", "conflicts"]
"""A table whose rows own files."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance of an archive."""

    key: str
    identity: Identity
    sop_class_uid: str
    transfer_syntax_uid: str
    size: int
    header_length: int
    dataset_offset: int
    sha256: str | None
    """Of the whole file; None for a reference not read in full yet."""
    dataset_sha256: str | None
    """Of the bytes from `dataset_offset` on; None where nobody has needed it yet."""
    reference: Reference | None
    issues: tuple[Issue, ...]
    stored_at: str
    """UTC, ISO 8601."""
    path: Path
    """Where the bytes are."""

    @property
    def location(self) -> Location:
        """Where the bytes are, in the form that leaves the process."""
        return Location(
            sop_uid=self.identity.sop_uid,
            path=str(self.path),
            size=self.size,
            header_length=self.header_length,
            mtime_ns=self.reference.mtime_ns if self.reference else None,
        )


def stored_of(row: sqlite3.Row, archive: Path) -> Stored:
    """Read a row of the table ``instances``; `archive` is the folder of the blobs."""
    reference = None
    if row["reference_path"] is not None:
        reference = Reference(
            path=Path(os.fsdecode(row["reference_path"])),
            mtime_ns=row["reference_mtime_ns"],
            header_sha256=row["reference_header_sha256"],
        )
    return Stored(
        key=row["key"],
        identity=Identity(
            patient_id=row["patient_id"],
            issuer=row["issuer"],
            study_uid=row["study_uid"],
            series_uid=row["series_uid"],
            sop_uid=row["sop_uid"],
        ),
        sop_class_uid=row["sop_class_uid"],
        transfer_syntax_uid=row["transfer_syntax_uid"],
        size=row["size"],
        header_length=row["header_length"],
        dataset_offset=row["dataset_offset"],
        sha256=row["sha256"],
        dataset_sha256=row["dataset_sha256"],
        reference=reference,
        issues=tuple(Issue(keyword, problem) for keyword, problem in json.loads(row["issues"])),
        stored_at=row["stored_at"],
        path=reference.path if reference else blob_path(archive, row["sha256"]),
    )


PLACE_COLUMNS = ("key", "sop_uid", "size", "header_length", "sha256", "reference_path", "reference_mtime_ns")
"""What `location_of` needs of a row."""


def location_of(row: sqlite3.Row, archive: str) -> Location:
    """Read where the bytes are, as `Stored.location` has it, without the rest: a volume asks for thousands."""
    reference = row["reference_path"]
    sha256 = row["sha256"]
    return Location(
        sop_uid=row["sop_uid"],
        path=os.path.join(archive, sha256[:2], f"{sha256}.dcm") if reference is None else os.fsdecode(reference),
        size=row["size"],
        header_length=row["header_length"],
        mtime_ns=row["reference_mtime_ns"],
    )


def blob_path(archive: Path, sha256: str) -> Path:
    """Where the archive keeps the file with this hash."""
    return archive / sha256[:2] / f"{sha256}.dcm"


def refers(con: sqlite3.Connection, table: Owner, sha256: str) -> bool:
    """Whether a row needs the file with this hash."""
    query = f"select 1 from {table} where sha256 = ? and reference_path is null"  # noqa: S608 - a Literal
    return con.execute(query, (sha256,)).fetchone() is not None
